import { useCallback, useEffect, useRef, useState } from "react";
import { api } from "@/api/client";
import { eventsOf } from "@/api/events";
import type { DraftMessage, paths } from "@/api/schema";
import { keep, kept } from "@/parts/kept";

type Stream = paths["/api/labelling/demonstrations/{annotation_id}/suggestions"]["post"]["responses"][200]["content"];
export type SuggestionEvent = Stream["text/event-stream"];

/** A way to go on; it can be taken once it is stored and has an id. */
export type Suggestion = { text: string; id: string | null };

export type Suggesting = {
  found: Suggestion[];
  busy: boolean;
  /** How many answers are made before these; 0 when they are being made. */
  ahead: number;
  failure: unknown;
};

const COUNT = 3;
const PAUSE = 900; // milliseconds without a key, after which the model is asked
const NONE: Suggesting = { found: [], busy: false, ahead: 0, failure: null };

/** What is suggested after one more event. */
export function after(now: Suggesting, event: SuggestionEvent): Suggesting {
  const change = (choice: number, how: (old: Suggestion) => Suggestion) => ({
    ...now,
    ahead: 0,
    found: now.found.map((one, number) => (number === choice ? how(one) : one)),
  });
  switch (event.type) {
    case "waiting":
      return { ...now, ahead: event.ahead };
    case "delta":
      return change(event.choice ?? 0, (old) => ({ ...old, text: old.text + event.text }));
    case "suggested":
      return change(event.choice, () => ({ text: event.text, id: event.id }));
    case "error":
      return { ...NONE, failure: new Error(event.message) };
    default:
      return now;
  }
}

/**
 * How the model would go on from where the trainer is: asked again after each pause in writing, if that is wanted.
 * `asked` is the dialogue up to the turn that is being written, null where nothing can be suggested.
 */
export function useSuggestions(demonstration: string, asked: DraftMessage[] | null, begun: string) {
  const [now, setNow] = useState(NONE);
  const [automatic, setAutomatic] = useState(() => kept("suggest") !== "no");
  const control = useRef<AbortController | null>(null);
  const place = asked && JSON.stringify([asked, begun.trimEnd()]);

  const ask = useCallback(
    async (place: string) => {
      const [messages, begun] = JSON.parse(place) as [DraftMessage[], string];
      control.current?.abort();
      const mine = new AbortController();
      control.current = mine;
      const tell = (how: (old: Suggesting) => Suggesting) => mine.signal.aborted || setNow(how);
      setNow({ ...NONE, busy: true, found: Array.from({ length: COUNT }, () => ({ text: begun, id: null })) });
      try {
        const { data } = await api.POST("/api/labelling/demonstrations/{annotation_id}/suggestions", {
          params: { path: { annotation_id: demonstration } },
          body: { messages, begun, count: COUNT },
          parseAs: "stream",
          signal: mine.signal,
        });
        if (data) for await (const { event } of eventsOf<SuggestionEvent>(data)) tell((old) => after(old, event));
        tell((old) => ({ ...old, busy: false, found: distinct(old.found) }));
      } catch (failure) {
        tell(() => ({ ...NONE, failure }));
      }
    },
    [demonstration],
  );

  // Suggestions stay while one types towards them, and after one was taken; those for another place are of no use.
  const found = useRef(now.found);
  found.current = now.found;
  useEffect(() => {
    control.current?.abort();
    const begun = place === null ? null : (JSON.parse(place)[1] as string);
    const stored = found.current.filter(({ id }) => begun !== null && id);
    const taken = stored.some(({ text }) => text.trimEnd() === begun);
    setNow({ ...NONE, found: taken ? stored : stored.filter(({ text }) => text.startsWith(begun ?? "")) });
    if (place === null || !automatic || taken) return;
    const timer = setTimeout(() => ask(place), PAUSE);
    return () => clearTimeout(timer);
  }, [place, automatic, ask]);
  useEffect(() => () => control.current?.abort(), []);

  return {
    ...now,
    automatic,
    setAutomatic: (wanted: boolean) => {
      keep("suggest", wanted ? "yes" : "no");
      setAutomatic(wanted);
    },
    ask: () => place !== null && ask(place),
  };
}

/** Those that were stored, each text once. */
const distinct = (found: Suggestion[]) =>
  found.filter(({ id, text }, place) => id && found.findIndex((other) => other.text === text) === place);
