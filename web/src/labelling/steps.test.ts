import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Failure } from "@/api/client";
import { type Held, type Progress, Steps } from "./steps";

type Work = Held<string>;
const begun: Work = { state: "open", revision: 0, undo_steps: 0, value: "" };

/** A server that keeps a text with its history, and can be told to fail the next requests. */
function server() {
  let now = begun;
  const history: string[] = [];
  const asked: string[] = [];
  const failures: (number | "afterwards")[] = [];
  const answer = async (what: string, revision: number, work: () => Partial<Work>): Promise<Work> => {
    asked.push(what);
    const failure = failures.shift();
    if (typeof failure === "number") throw new Failure(failure);
    if (revision !== now.revision || now.state !== "open") throw new Failure(409);
    now = { ...now, ...work(), revision: revision + 1, undo_steps: history.length };
    if (failure === "afterwards") throw new Failure(0);
    return now;
  };
  const calls = {
    open: async () => now,
    save: (revision: number, value: string) =>
      answer(`save ${value}`, revision, () => {
        history.push(now.value);
        return { value };
      }),
    undo: (revision: number) => answer("undo", revision, () => ({ value: history.pop() ?? "" })),
    submit: (revision: number, value: string) =>
      answer(`submit ${value}`, revision, () => ({ value, state: "submitted" })),
    skip: (revision: number) => answer("skip", revision, () => ({ state: "skipped" })),
  };
  return { asked, failures, calls, elsewhere: (change: Partial<Work>) => (now = { ...now, ...change, revision: 9 }) };
}

function work(with_: ReturnType<typeof server>) {
  const seen: Progress<Work>[] = [];
  const steps = new Steps<Work>(begun, with_.calls, (progress) => seen.push(progress));
  return { steps, now: () => seen.at(-1) as Progress<Work> };
}

const settled = () => vi.advanceTimersByTimeAsync(60_000);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("saves each step in order, whatever is slow", async () => {
  const there = server();
  const { steps, now } = work(there);
  for (const value of ["a", "b", "c"]) steps.change(value);
  expect(now().value).toBe("c");
  expect(now().saved).toBe(false);
  await settled();
  expect(there.asked).toEqual(["save a", "save b", "save c"]);
  expect(now()).toMatchObject({ saved: true, failure: null, view: { revision: 3, value: "c" } });
});

it("saves what is typed after a pause, and at once before anything else", async () => {
  const there = server();
  const { steps } = work(there);
  steps.type("h");
  steps.type("hi");
  await settled();
  steps.type("hi t");
  steps.undo();
  await settled();
  expect(there.asked).toEqual(["save hi", "save hi t", "undo"]);
});

it("shows what was there before a step that is undone", async () => {
  const { steps, now } = work(server());
  steps.change("a");
  steps.change("b");
  steps.undo();
  await settled();
  expect(now().value).toBe("a");
});

it("tries again until the server is there, and says meanwhile that nothing is safe yet", async () => {
  const there = server();
  there.failures.push(0, 503);
  const { steps, now } = work(there);
  steps.change("a");
  steps.change("b");
  await vi.advanceTimersByTimeAsync(500);
  expect(now()).toMatchObject({ saved: false, failure: { status: 0 } });
  await settled();
  expect(there.asked).toEqual(["save a", "save a", "save a", "save b"]);
  expect(now()).toMatchObject({ saved: true, failure: null, value: "b" });
});

it("knows a step that came through though its answer was lost", async () => {
  const there = server();
  there.failures.push("afterwards");
  const { steps, now } = work(there);
  steps.change("a");
  await settled();
  expect(now()).toMatchObject({ saved: true, failure: null, view: { revision: 1 } });
});

it("takes over what another window did, and drops what was meant for before", async () => {
  const there = server();
  const { steps, now } = work(there);
  there.elsewhere({ value: "theirs" });
  steps.change("a");
  steps.change("b");
  await settled();
  expect(now()).toMatchObject({ value: "theirs", saved: true, failure: { status: 409 } });
  steps.change("theirs and mine");
  await settled();
  expect(now()).toMatchObject({ failure: null, view: { value: "theirs and mine" } });
});

it("says when somebody else has the work by now", async () => {
  const there = server();
  const { steps, now } = work(there);
  there.elsewhere({ state: "expired" });
  steps.change("a");
  await settled();
  expect(now().view.state).toBe("expired");
});

it("gives up what the server refuses", async () => {
  const there = server();
  there.failures.push(400);
  const { steps, now } = work(there);
  steps.submit();
  await settled();
  expect(there.asked).toEqual(["submit "]);
  expect(now()).toMatchObject({ failure: { status: 400 }, view: { state: "open" } });
});

it("sends what was typed last when the page is left", async () => {
  const there = server();
  const { steps } = work(there);
  steps.type("almost lost");
  steps.leave();
  await settled();
  expect(there.asked).toEqual(["save almost lost"]);
});
