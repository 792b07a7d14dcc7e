// What the chat asks of the service, and what of it is remembered.

import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "@/api/client";

const LIST = ["conversations"];
const one = (id: string) => ["conversation", id];
const at = (id: string) => ({ params: { path: { conversation_id: id } } });

const open = (id: string, end?: string) =>
  dataOf(
    api.GET("/api/conversations/{conversation_id}", {
      params: { path: { conversation_id: id }, ...(end && { query: { end } }) },
    }),
  );

/** Pages of conversations, those with `search` in them. */
export function useConversations(search: string) {
  return useInfiniteQuery({
    queryKey: [...LIST, search],
    queryFn: ({ pageParam }) =>
      dataOf(api.GET("/api/conversations", { params: { query: { search, ...(pageParam && { before: pageParam }) } } })),
    initialPageParam: "",
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
  });
}

/** The conversation with the last messages of its path. */
export function useConversation(id: string | null) {
  return useQuery({
    queryKey: one(id ?? ""),
    queryFn: () => open(id ?? ""),
    enabled: id !== null,
  });
}

/** The messages up to `end`, which never change below what is on the screen already. */
export function useEarlier(id: string, end: string, wanted: boolean) {
  return useQuery({
    queryKey: [...one(id), "earlier", end],
    queryFn: () => open(id, end),
    enabled: wanted,
  });
}

/** Everything that changes conversations; each resolves when the change is on the screen. */
export function useChanges() {
  const client = useQueryClient();
  const reload = (id: string) => client.refetchQueries({ queryKey: one(id), exact: true });
  const reloadAll = async (id: string) => {
    // What was said is said: when it cannot be shown now, the conversation itself tells why.
    await client.fetchQuery({ queryKey: one(id), queryFn: () => open(id) }).catch(() => {});
    client.invalidateQueries({ queryKey: LIST });
  };
  const message = (id: string, message_id: string) => ({ path: { conversation_id: id, message_id } });

  return {
    reload,
    create: async (consent: boolean) =>
      (await dataOf(api.POST("/api/conversations", { body: { title: "", system: "", consent } }))).id,
    ask: async (id: string, content: string) => {
      await api.POST("/api/conversations/{conversation_id}/messages", { ...at(id), body: { content } });
      await reloadAll(id);
    },
    edit: async (id: string, old: string, content: string) => {
      const params = message(id, old);
      await api.POST("/api/conversations/{conversation_id}/messages/{message_id}/edit", { params, body: { content } });
      await reloadAll(id);
    },
    again: async (id: string, old: string) => {
      const params = message(id, old);
      await api.POST("/api/conversations/{conversation_id}/messages/{message_id}/answers", { params, body: {} });
      await reloadAll(id);
    },
    show: async (id: string, message: string) => {
      await api.PUT("/api/conversations/{conversation_id}/path", { ...at(id), body: { message } });
      await reload(id);
    },
    stop: (id: string, generation_id: string) =>
      api.POST("/api/conversations/{conversation_id}/generations/{generation_id}/stop", {
        params: { path: { conversation_id: id, generation_id } },
      }),
    change: async (id: string, body: { title?: string; consent?: boolean }) => {
      await api.PATCH("/api/conversations/{conversation_id}", { ...at(id), body });
      await Promise.all([client.invalidateQueries({ queryKey: LIST }), reload(id)]);
    },
    remove: async (id: string) => {
      await api.DELETE("/api/conversations/{conversation_id}", at(id));
      client.removeQueries({ queryKey: one(id) });
      await client.invalidateQueries({ queryKey: LIST });
    },
  };
}
