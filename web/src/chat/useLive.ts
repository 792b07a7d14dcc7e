import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { type Event, follow, type Lost } from "@/api/events";
import type { VerdictView, Waiting } from "@/api/schema";

/** An answer that is being written. */
export type Live = {
  text: string;
  verdicts: VerdictView[];
  /** What is going on: nothing yet, a place in line, words coming, no connection. */
  phase: { type: "starting" } | Waiting | { type: "writing" } | Lost;
};

const START: Live = { text: "", verdicts: [], phase: { type: "starting" } };

/** What an answer looks like after one more event. */
export function after(live: Live, event: Event | Lost): Live {
  switch (event.type) {
    case "delta":
      return { ...live, text: live.text + event.text, phase: { type: "writing" } };
    case "flagged":
      return { ...live, verdicts: [...live.verdicts, event] };
    case "waiting":
    case "lost":
      return { ...live, phase: event };
    default:
      return live;
  }
}

/** Read along with an answer, from its beginning, wherever it stands now; its conversation is loaded again at its end. */
export function useLive(conversation: string, generation: string | null): Live {
  const client = useQueryClient();
  const [live, setLive] = useState(START);
  useEffect(() => {
    setLive(START);
    if (!generation) return;
    const control = new AbortController();
    let now = START;
    let frame = 0;
    const read = async () => {
      const address = `/api/conversations/${conversation}/generations/${generation}/events`;
      for await (const event of follow(address, control.signal)) {
        now = after(now, event);
        // However fast words come, the page changes once a frame.
        frame ||= requestAnimationFrame(() => {
          frame = 0;
          setLive(now);
        });
      }
    };
    const over = () => {
      if (!control.signal.aborted) client.invalidateQueries({ queryKey: ["conversation", conversation], exact: true });
    };
    read().then(over, over); // what cannot be read any more, the conversation itself will tell
    return () => {
      control.abort();
      cancelAnimationFrame(frame);
    };
  }, [client, conversation, generation]);
  return live;
}
