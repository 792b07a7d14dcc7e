// Work that is saved at each step: what is on the screen goes ahead of the server, in order, and nothing is lost on the way.

import { Failure } from "@/api/client";
import { pause } from "@/api/events";

/** Work as the server has it. */
export type Held<Value> = {
  state: "open" | "submitted" | "skipped" | "expired";
  revision: number;
  undo_steps: number;
  value: Value;
};

export type Calls<View extends Held<unknown>> = {
  open: () => Promise<View>;
  save: (revision: number, value: View["value"]) => Promise<View>;
  undo: (revision: number) => Promise<View>;
  submit: (revision: number, value: View["value"]) => Promise<View>;
  skip: (revision: number, reason: string) => Promise<View>;
};

export type Progress<View extends Held<unknown>> = {
  /** As the server had it last. */
  view: View;
  /** As it is on the screen. */
  value: View["value"];
  saved: boolean;
  /** Why the last step did not come through; steps that may still do so are tried again. */
  failure: unknown;
};

type Step<View> = {
  send: (revision: number) => Promise<View>;
  /** Whether the server had taken it, though its answer was lost. */
  taken: (view: View) => boolean;
  /** Whether the screen follows the server after it. */
  follow: boolean;
};

const PAUSE = 700; // milliseconds without a key, after which what was typed is saved
const LONGEST_WAIT = 15; // seconds

export class Steps<View extends Held<unknown>> {
  private readonly queue: Step<View>[] = [];
  private readonly gone = new AbortController();
  private typed: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private now: Progress<View>;

  constructor(
    first: View,
    private readonly calls: Calls<View>,
    private readonly tell: (progress: Progress<View>) => void,
  ) {
    this.now = { view: first, value: first.value, saved: true, failure: null };
  }

  /** Show it, and save it as a step of its own. */
  change(value: View["value"]) {
    this.show({ value });
    this.push(this.saving(value));
  }

  /** Show it, and save it once nothing is typed any more. */
  type(value: View["value"]) {
    this.show({ value, saved: false });
    clearTimeout(this.typed);
    this.typed = setTimeout(() => this.change(this.now.value), PAUSE);
  }

  /** Save what was typed without waiting any longer. */
  flush() {
    if (this.typed !== undefined) this.change(this.now.value);
  }

  undo() {
    this.flush();
    this.push({ send: (revision) => this.calls.undo(revision), taken: () => false, follow: true });
  }

  submit() {
    const { value } = this.now;
    this.push({
      send: (revision) => this.calls.submit(revision, value),
      taken: ({ state }) => state === "submitted",
      follow: false,
    });
  }

  skip(reason: string) {
    this.push({
      send: (revision) => this.calls.skip(revision, reason),
      taken: ({ state }) => state === "skipped",
      follow: false,
    });
  }

  /** Begin the lease anew. */
  renew() {
    this.push(this.saving(this.now.value));
  }

  /** The page is left: what was typed is still sent, but nothing is tried twice. */
  leave() {
    this.flush();
    this.gone.abort();
  }

  private saving(value: View["value"]): Step<View> {
    return {
      send: (revision) => this.calls.save(revision, value),
      taken: (view) => view.state === "open" && JSON.stringify(view.value) === JSON.stringify(value),
      follow: false,
    };
  }

  private push(step: Step<View>) {
    clearTimeout(this.typed);
    this.typed = undefined;
    this.queue.push(step);
    this.show({ saved: false });
    if (!this.running) this.run();
  }

  private async run() {
    this.running = true;
    for (let tries = 0; this.queue[0]; ) {
      const step = this.queue[0];
      try {
        this.done(step, await this.sent(step));
        tries = 0;
      } catch (failure) {
        if (this.gone.signal.aborted) break;
        this.show({ failure });
        if (mayPass(failure)) await pause(Math.min(2 ** tries++, LONGEST_WAIT), this.gone.signal);
        else this.queue.length = 0; // what follows builds on it
      }
    }
    this.running = false;
  }

  private async sent(step: Step<View>): Promise<View> {
    try {
      return await step.send(this.now.view.revision);
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.status !== 409) throw failure;
      const view = await this.calls.open();
      if (step.taken(view)) return view;
      this.show({ view, value: view.value, saved: true });
      throw failure;
    }
  }

  private done(step: Step<View>, view: View) {
    this.queue.shift();
    const last = this.queue.length === 0 && this.typed === undefined;
    this.show({ view, failure: null, saved: last, ...(last && step.follow && { value: view.value }) });
  }

  private show(change: Partial<Progress<View>>) {
    this.now = { ...this.now, ...change };
    if (!this.gone.signal.aborted) this.tell(this.now);
  }
}

/** Whether the same may come through later. */
export const mayPass = (failure: unknown) =>
  failure instanceof Failure && (failure.status === 0 || failure.status === 429 || failure.status >= 500);
