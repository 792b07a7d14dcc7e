// What the reader said of the answers of a conversation.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api, dataOf } from "@/api/client";
import type { Choice, FeedbackView, FilterReport, Rating } from "@/api/schema";

/** A message, and the conversation that it is in. */
export type Subject = { conversation: string; message: string };
type Kinds = { rating: Rating; report: FilterReport };
export type Given<Kind> = { id: string; said: Kind };

const key = (conversation: string) => ["feedback", conversation];

function useAll(conversation: string): FeedbackView[] {
  const { data } = useQuery({
    queryKey: key(conversation),
    queryFn: () =>
      dataOf(
        api.GET("/api/conversations/{conversation_id}/feedback", {
          params: { path: { conversation_id: conversation } },
        }),
      ),
    staleTime: Number.POSITIVE_INFINITY, // nobody else changes it
  });
  return data?.feedback ?? [];
}

/** What was said of a message, of one kind. */
export function useSaid<Kind extends keyof Kinds>(of: Subject, kind: Kind): Given<Kinds[Kind]> | undefined {
  const found = useAll(of.conversation).find((one) => one.message === of.message && one.said.kind === kind);
  return found && { id: found.id, said: found.said as Kinds[Kind] };
}

/** Which of two answers was called better. */
export function useChosen(conversation: string, one: string, other: string): Given<Choice> | undefined {
  const all = useAll(conversation);
  for (const { id, said } of all) {
    if (said.kind === "choice" && [said.left, said.right].sort().join() === [one, other].sort().join())
      return { id, said };
  }
}

/** Everything that can be said; each resolves once it is stored and on the screen. */
export function useSaying(conversation: string) {
  const client = useQueryClient();
  const change = (how: (all: FeedbackView[]) => FeedbackView[]) =>
    client.setQueryData(key(conversation), (old?: { feedback: FeedbackView[] }) => ({
      feedback: how(old?.feedback ?? []),
    }));
  const keep = (given: FeedbackView) => change((all) => [...all.filter((one) => one.id !== given.id), given]);
  const at = (message: string) => ({ params: { path: { conversation_id: conversation, message_id: message } } });
  return {
    rate: async (message: string, body: Rating) => {
      const path = "/api/conversations/{conversation_id}/messages/{message_id}/rating";
      keep(await dataOf(api.PUT(path, { ...at(message), body })));
    },
    report: async (message: string, body: FilterReport) => {
      const path = "/api/conversations/{conversation_id}/messages/{message_id}/report";
      keep(await dataOf(api.PUT(path, { ...at(message), body })));
    },
    choose: async (body: Choice) => {
      const params = { path: { conversation_id: conversation } };
      keep(await dataOf(api.PUT("/api/conversations/{conversation_id}/choice", { params, body })));
    },
    withdraw: async (id: string) => {
      await api.DELETE("/api/feedback/{feedback_id}", { params: { path: { feedback_id: id } } });
      change((all) => all.filter((one) => one.id !== id));
    },
  };
}
