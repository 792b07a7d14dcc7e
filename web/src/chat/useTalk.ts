import { useRef, useState } from "react";
import { useLocation } from "wouter";
import { Failure } from "@/api/client";
import { useChanges } from "./data";

/** Saying things: what is on its way, and what went wrong with the last try. */
export function useTalk(id: string | null, consent: boolean) {
  const [, go] = useLocation();
  const changes = useChanges();
  const [pending, setPending] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const made = useRef<string | null>(null); // begun for a first message that did not come through

  const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
    setBusy(true);
    setFailure(null);
    try {
      await work();
      return true;
    } catch (error) {
      setFailure(error);
      if (id && error instanceof Failure && error.status === 409) await changes.reload(id).catch(() => {});
      return false;
    } finally {
      setBusy(false);
      setPending(null);
    }
  };
  const begin = async (question: string) => {
    made.current ??= await changes.create(consent);
    await changes.ask(made.current, question);
    go(`/chat/${made.current}`);
    made.current = null;
  };

  return {
    pending,
    busy,
    failure,
    ask: (question: string) => {
      setPending(question);
      return attempt(() => (id ? changes.ask(id, question) : begin(question)));
    },
    edit: (message: string, text: string) => attempt(() => changes.edit(id ?? "", message, text)),
    again: (message: string) => attempt(() => changes.again(id ?? "", message)),
    show: (message: string) => attempt(() => changes.show(id ?? "", message)),
    stop: (generation: string) => attempt(() => changes.stop(id ?? "", generation)),
    allow: (given: boolean) => attempt(() => changes.change(id ?? "", { consent: given })),
    forget: () => setFailure(null),
  };
}
