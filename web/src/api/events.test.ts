import { afterEach, expect, it, vi } from "vitest";
import { type Event, follow, type Lost, parse, retryNow } from "./events";

const delta = (id: number, text: string) => `id: ${id}\ndata: {"type":"delta","text":"${text}"}\n\n`;
const done = (id: number) =>
  `id: ${id}\ndata: {"type":"done","finish":"stop","prompt_tokens":1,"answer_tokens":1,"turns_left_out":0}\n\n`;

/** A server that answers one request after the other with these, and notes what was asked. */
function serve(...answers: (string[] | number | "unreachable")[]) {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (address: string) => {
    asked.push(address);
    const answer = answers.shift();
    if (answer === undefined || answer === "unreachable") throw new TypeError("network");
    if (typeof answer === "number") return new Response('{"error":{"message":"no"}}', { status: answer });
    const encoder = new TextEncoder();
    const body = new ReadableStream({
      start(control) {
        for (const piece of answer) control.enqueue(encoder.encode(piece));
        control.close();
      },
    });
    return new Response(body);
  });
  return asked;
}

async function all(signal = new AbortController().signal): Promise<(Event | Lost)[]> {
  const found: (Event | Lost)[] = [];
  for await (const event of follow("/events", signal)) {
    found.push(event);
    if (event.type === "lost") setTimeout(retryNow);
  }
  return found;
}

const said = (events: (Event | Lost)[]) => events.map((event) => (event.type === "delta" ? event.text : event.type));

afterEach(() => {
  vi.unstubAllGlobals();
});

it("reads an answer to its end, however it is cut into pieces", async () => {
  const text = `: ping\n\ndata: {"type":"waiting","ahead":2}\n\n${delta(0, "né")}${delta(1, "e")}${done(2)}`;
  for (const size of [1, 3, 1000]) {
    serve(text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? []);
    expect(said(await all())).toEqual(["waiting", "né", "e", "done"]);
  }
});

it("goes on after the last event that came, when the connection is lost", async () => {
  const asked = serve([delta(0, "a"), delta(1, "b")], "unreachable", 502, [delta(2, "c"), done(3)]);
  expect(said(await all())).toEqual(["a", "b", "lost", "lost", "lost", "c", "done"]);
  expect(asked).toEqual(["/events?start=0", "/events?start=2", "/events?start=2", "/events?start=2"]);
});

it("waits longer after each failure, but not for ever, and less once it works", async () => {
  serve("unreachable", "unreachable", "unreachable", "unreachable", "unreachable", [delta(0, "a")], [done(1)]);
  const pauses = (await all()).flatMap((event) => (event.type === "lost" ? [event.seconds] : []));
  expect(pauses).toEqual([1, 2, 4, 8, 15, 1]);
});

it("gives up what another try would not mend", async () => {
  serve(404);
  await expect(all()).rejects.toMatchObject({ status: 404 });
});

it("ends when nobody reads any more", async () => {
  const control = new AbortController();
  control.abort();
  expect(await all(control.signal)).toEqual([]);
});

it("takes signs of life for what they are", () => {
  expect(parse(": ping")).toBeNull();
});
