import { useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";
import { Failure } from "@/api/client";
import { useWords } from "@/i18n";
import { useAbout } from "@/parts/about";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import type { Actions } from "./actions";
import { Composer } from "./Composer";
import { Consent } from "./Consent";
import { useConversation } from "./data";
import { Thread, Unanswered } from "./Thread";
import { useFollow } from "./useFollow";
import { useTalk } from "./useTalk";
import { Welcome } from "./Welcome";
import "./chat.css";

type Props = { id: string | null; onOpenList: () => void };

/** One conversation, or the beginning of one. */
export function ChatPage({ id, onOpenList }: Props) {
  const words = useWords();
  const { data: about } = useAbout();
  const conversation = useConversation(id);
  const [consent, setConsent] = useState(false); // of the conversation that is not begun yet
  const talk = useTalk(id, consent);
  const scroller = useRef<HTMLDivElement>(null);
  const { away, toEnd, toStart } = useFollow(scroller);
  const page = id ? conversation.data : undefined;
  const running = page?.messages.find((message) => message.generation?.status === "running")?.generation?.id ?? null;
  const title = page?.conversation.title;

  useEffect(() => {
    document.title = [title, about?.title ?? "Accordant"].filter(Boolean).join(" · ");
  }, [title, about]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another conversation begins at its end, without old failures
  useEffect(() => {
    if (id) toEnd();
    else {
      toStart();
      setConsent(false);
    }
    talk.forget();
  }, [id]);

  useEffect(() => {
    if (!running) return;
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && talk.stop(running);
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  });

  const ask = (question: string) => {
    toEnd();
    return talk.ask(question);
  };
  const answering = running !== null || talk.busy;
  const actions: Actions = { busy: answering, edit: talk.edit, again: talk.again, show: talk.show };
  const fresh = !id && !talk.pending;

  return (
    <div className="page">
      <header className="bar">
        <button type="button" className="quiet round list-button" aria-label={words.openList} onClick={onOpenList}>
          <Icon name="menu" />
        </button>
        <p className="title">{title || about?.checkpoint}</p>
      </header>
      <main ref={scroller} className="scroller">
        <div className={fresh ? "column fresh" : "column"}>
          <h1 className="unseen">{title || words.newChat}</h1>
          {fresh && <Welcome onAsk={ask} />}
          {id && conversation.isPending && <p className="note">{words.loading}</p>}
          {id && conversation.isError && <Missing error={conversation.error} onRetry={() => conversation.refetch()} />}
          {page && <Thread page={page} actions={actions} />}
          {page && !answering && <Unanswered last={page.messages.at(-1)} actions={actions} />}
          {talk.pending && (
            <article className="question" aria-label={words.you}>
              <p dir="auto">{talk.pending}</p>
            </article>
          )}
        </div>
      </main>
      <footer className="foot">
        {away && !fresh && (
          <button type="button" className="to-end round" aria-label={words.toEnd} onClick={toEnd}>
            <Icon name="down" />
          </button>
        )}
        {talk.failure !== null && (
          <Notice action={{ label: words.close, onClick: talk.forget }}>{sayFailure(talk.failure, words)}</Notice>
        )}
        <Composer conversation={id} answering={answering} onSend={ask} onStop={() => running && talk.stop(running)} />
        <div className="fine">
          <span>{words.fine}</span>
          <Consent given={page?.conversation.consent ?? consent} onChange={id ? talk.allow : setConsent} />
        </div>
      </footer>
    </div>
  );
}

/** A conversation that cannot be shown: it is gone, or the server is. */
function Missing({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const words = useWords();
  const [, go] = useLocation();
  const gone = error instanceof Failure && error.status === 404;
  const action = gone ? { label: words.toStart, onClick: () => go("/chat") } : { label: words.retry, onClick: onRetry };
  return <Notice action={action}>{sayFailure(error, words)}</Notice>;
}
