// What the account page asks of the service.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api, dataOf, Failure } from "@/api/client";
import type { Limits } from "@/api/schema";
import { forgetSession } from "./session";

const KEYS = ["keys"];

export const useKeys = () => useQuery({ queryKey: KEYS, queryFn: () => dataOf(api.GET("/api/keys")) });

/** Everything that changes keys. */
export function useKeyChanges() {
  const client = useQueryClient();
  const reload = () => client.invalidateQueries({ queryKey: KEYS });
  const at = (key_id: string) => ({ params: { path: { key_id } } });
  return {
    create: async (name: string, limits: Limits) => {
      const { key } = await dataOf(api.POST("/api/keys", { body: { name, limits } }));
      reload();
      return key;
    },
    change: async (id: string, name: string, limits: Limits) => {
      await api.PATCH("/api/keys/{key_id}", { ...at(id), body: { name, limits } });
      await reload();
    },
    revoke: async (id: string) => {
      await api.DELETE("/api/keys/{key_id}", at(id));
      await reload();
    },
  };
}

export const useOwnUsage = (days: number) =>
  useQuery({
    queryKey: ["usage", days],
    queryFn: () => dataOf(api.GET("/api/me/usage", { params: { query: { days } } })),
  });

export const useEverybodysUsage = (days: number) =>
  useQuery({
    queryKey: ["usage", "everybody", days],
    queryFn: () => dataOf(api.GET("/api/usage", { params: { query: { days } } })),
  });

/** What needs the password once more; `wrong` is what a wrong one is called. */
export function usePersonChanges(wrong: string) {
  const client = useQueryClient();
  const proven = async (call: Promise<unknown>) => {
    try {
      await call;
    } catch (error) {
      throw error instanceof Failure && error.status === 403 ? new Failure(403, wrong) : error;
    }
  };
  return {
    changePassword: (old: string, password: string) =>
      proven(api.PUT("/api/me/password", { body: { old, new: password } })),
    remove: async (password: string) => {
      await proven(api.DELETE("/api/me", { body: { password } }));
      forgetSession(client);
    },
  };
}
