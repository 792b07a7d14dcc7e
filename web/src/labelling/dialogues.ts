// A dialogue as it is written: what happens to it when turns come, go, or are taken from a suggestion.

import type { DemonstrationDraft, DraftMessage } from "@/api/schema";

export const turnsOf = (draft: DemonstrationDraft): DraftMessage[] =>
  draft.messages?.length ? draft.messages : [{ role: "user", content: "" }];

export function written(draft: DemonstrationDraft, turn: number, content: string): DemonstrationDraft {
  const turns = turnsOf(draft);
  const role = turns[turn]?.role ?? "user";
  return { ...draft, messages: turns.with(turn, { role, content }) };
}

export function withTurn(draft: DemonstrationDraft): DemonstrationDraft {
  const turns = turnsOf(draft);
  return { ...draft, messages: [...turns, { role: turns.length % 2 ? "assistant" : "user", content: "" }] };
}

export function withoutLast(draft: DemonstrationDraft): DemonstrationDraft {
  const messages = turnsOf(draft).slice(0, -1);
  return { messages, taken: (draft.taken ?? []).filter(({ message }) => message < messages.length) };
}

/** A suggestion becomes a turn's text; that it was taken is kept, however the text is changed afterwards. */
export function inserted(
  draft: DemonstrationDraft,
  turn: number,
  content: string,
  suggestion: string,
): DemonstrationDraft {
  const taken = draft.taken ?? [];
  const known = taken.some((one) => one.message === turn && one.suggestion === suggestion);
  return {
    ...written(draft, turn, content),
    taken: known ? taken : [...taken, { message: turn, suggestion }],
  };
}

/** Whether it can be handed in. */
export const isWhole = (draft: DemonstrationDraft) =>
  turnsOf(draft).every(({ content }) => content.trim()) && turnsOf(draft).at(-1)?.role === "assistant";

/** As much of a suggestion as its first sentence that is new. */
export function firstSentence(text: string, begun: string): string {
  const typed = text.startsWith(begun.trimEnd()) ? begun.trimEnd().length : 0;
  const [sentence = ""] = text.slice(typed).match(/^.*?(?:[.!?](?=\s|$)|[。！？]|$)/s) ?? [];
  return text.slice(0, typed) + sentence;
}
