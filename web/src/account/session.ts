import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, dataOf, Failure, setCsrf } from "@/api/client";
import type { Me } from "@/api/schema";

const KEY = ["me"];

/** Who is here; null when nobody is signed in. */
export function useSession() {
  return useQuery({
    queryKey: KEY,
    queryFn: async () => {
      try {
        const me = await dataOf(api.GET("/api/me"));
        setCsrf(me.csrf);
        return me;
      } catch (error) {
        if (error instanceof Failure && error.status === 401) return null;
        throw error;
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** Nobody is here any more, and nothing of theirs is left for the next. */
export function forgetSession(client: QueryClient) {
  client.setQueryData(KEY, null);
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== KEY[0] && queryKey[0] !== "about" });
}

export function useSignIn() {
  const client = useQueryClient();
  const enter = (me: Me) => {
    setCsrf(me.csrf);
    client.setQueryData(KEY, me);
  };
  return {
    signIn: async (name: string, password: string) =>
      enter(await dataOf(api.POST("/api/login", { body: { name, password } }))),
    signUp: async (name: string, password: string, invitation: string) =>
      enter(await dataOf(api.POST("/api/signup", { body: { name, password, invitation } }))),
    signOut: async () => {
      await api.POST("/api/logout");
      forgetSession(client);
    },
  };
}
