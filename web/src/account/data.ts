// What the account page asks of the service.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "@/api/client";
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

/** What is left comes back by itself, and is used elsewhere: it is looked at again and again. */
export const useOwnLimits = () =>
  useQuery({
    queryKey: ["limits"],
    queryFn: () => dataOf(api.GET("/api/me/limits")),
    refetchInterval: 15_000,
  });

export const useEverybodysUsage = (days: number) =>
  useQuery({
    queryKey: ["usage", "everybody", days],
    queryFn: () => dataOf(api.GET("/api/usage", { params: { query: { days } } })),
  });

/** What needs the password once more. */
export function usePersonChanges() {
  const client = useQueryClient();
  return {
    changePassword: (old: string, password: string) => api.PUT("/api/me/password", { body: { old, new: password } }),
    remove: async (password: string) => {
      await api.DELETE("/api/me", { body: { password } });
      forgetSession(client);
    },
  };
}
