// Events of an answer, read to their end over as many connections as it takes.

import { Failure, failureOf } from "./client";
import type { paths } from "./schema";

type Route = paths["/api/conversations/{conversation_id}/generations/{generation_id}/events"];
export type Event = Route["get"]["responses"][200]["content"]["text/event-stream"];

/** The connection is gone; it is tried again after so many seconds. */
export type Lost = { type: "lost"; seconds: number };

const LONGEST_SILENCE = 30_000; // the server gives a sign of life every ten seconds
const LONGEST_PAUSE = 15;

/** Events from the first on. Ends with `done` or `error`; throws what another try would not mend. */
export async function* follow(address: string, signal: AbortSignal): AsyncGenerator<Event | Lost> {
  let next = 0;
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const { id, event } of connection(`${address}?start=${next}`, signal)) {
        failures = 0;
        if (id !== null) next = id + 1;
        yield event;
        if (event.type === "done" || event.type === "error") return;
      }
      throw new Failure(0);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Failure && error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
      const seconds = Math.min(2 ** failures, LONGEST_PAUSE);
      failures += 1;
      yield { type: "lost", seconds };
      await pause(seconds, signal);
    }
  }
}

/** Do not wait any longer before trying again. */
export function retryNow() {
  window.dispatchEvent(new globalThis.Event("online"));
}

async function* connection(address: string, signal: AbortSignal) {
  const control = new AbortController();
  const end = () => control.abort();
  signal.addEventListener("abort", end);
  let silence = setTimeout(end, LONGEST_SILENCE);
  try {
    const response = await fetch(address, { signal: control.signal });
    if (!response.ok || !response.body) throw await failureOf(response);
    yield* eventsOf<Event>(response.body, () => {
      clearTimeout(silence);
      silence = setTimeout(end, LONGEST_SILENCE);
    });
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", end);
    control.abort();
  }
}

type Numbered<Kind> = { id: number | null; event: Kind };

/** Events of a stream as they come; `alive` is told of every sign of life. */
export async function* eventsOf<Kind>(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  alive = () => {},
): AsyncGenerator<Numbered<Kind>> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const parts = (rest + value).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const found = parse<Kind>(part);
      if (found) yield found;
    }
  }
}

/** One event of the stream; null for a sign of life. */
export function parse<Kind>(part: string): Numbered<Kind> | null {
  let id: number | null = null;
  let data: string | null = null;
  for (const line of part.split("\n")) {
    if (line.startsWith("id: ")) id = Number(line.slice(4));
    if (line.startsWith("data: ")) data = line.slice(6);
  }
  return data === null ? null : { id, event: JSON.parse(data) };
}

/** So many seconds, or until the machine is online again. */
export function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      window.removeEventListener("online", over);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, seconds * 1000);
    window.addEventListener("online", over);
    signal.addEventListener("abort", over);
  });
}
