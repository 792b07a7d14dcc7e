import { useEffect, useRef } from "react";
import { retryNow } from "@/api/events";
import type { MessageView } from "@/api/schema";
import { Feedback } from "@/feedback/Feedback";
import { useWords, type Words } from "@/i18n";
import { Markdown } from "@/markdown/Markdown";
import { useAnnounce } from "@/parts/Announcer";
import { CopyButton } from "@/parts/CopyButton";
import { ErrorBoundary } from "@/parts/ErrorBoundary";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import type { Actions } from "./actions";
import { type Live, useLive } from "./useLive";
import { Verdicts } from "./Verdicts";
import { Versions } from "./Versions";

type Props = { conversation: string; message: MessageView; actions: Actions };

/** What the model said, or is saying. */
export function Answer({ conversation, message, actions }: Props) {
  const words = useWords();
  const made = message.generation;
  const running = made?.status === "running";
  const live = useLive(conversation, running ? made.id : null);
  const text = running ? live.text : message.content;
  useSpoken(running, text);
  return (
    <article className="answer" aria-label={words.answer} aria-busy={running}>
      <ErrorBoundary instead={<p className="as-is">{text}</p>}>
        <Markdown text={text} open={running} />
      </ErrorBoundary>
      {running ? <Phase phase={live.phase} /> : <Ending message={message} />}
      <Verdicts verdicts={running ? live.verdicts : message.verdicts} of={{ conversation, message: message.id }} />
      {!running && (
        <div className="actions">
          <Versions id={message.id} siblings={message.siblings} onShow={actions.show} />
          {text && <CopyButton text={text} />}
          <button
            type="button"
            className="quiet small"
            disabled={actions.busy}
            onClick={() => actions.again(message.id)}
          >
            <Icon name="again" />
            <span>{words.regenerate}</span>
          </button>
          <Feedback conversation={conversation} message={message} />
        </div>
      )}
    </article>
  );
}

function Phase({ phase }: { phase: Live["phase"] }) {
  const words = useWords();
  switch (phase.type) {
    case "starting":
      return <span className="pulse" />;
    case "waiting":
      return (
        <p className="note" role="status">
          {words.waiting(phase.ahead)}
        </p>
      );
    case "lost":
      return <Notice action={{ label: words.tryNow, onClick: retryNow }}>{words.lost(phase.seconds)}</Notice>;
    case "writing":
      return null;
  }
}

/** How it ended, where that is not plain from the words themselves. */
function Ending({ message: { content, generation: made } }: { message: MessageView }) {
  const words = useWords();
  if (!made) return null;
  const notes = [howItEnded(made.status, made.finish, content === "", words), made.turns_left_out ? words.leftOut : ""];
  const failed = made.status === "failed" || made.status === "lost";
  return (
    <>
      {failed && <Notice>{made.status === "lost" ? words.processDied : words.answerFailed(made.error ?? "")}</Notice>}
      {notes.filter(Boolean).map((note) => (
        <p key={note} className="note">
          {note}
        </p>
      ))}
    </>
  );
}

function howItEnded(status: string, finish: string | null, empty: boolean, words: Words): string {
  if (status === "stopped") return empty ? words.stoppedEarly : words.stopped;
  if (status !== "done" || finish === "content_filter") return "";
  if (finish === "length") return words.atLimit;
  return empty ? words.saidNothing : "";
}

/** Readers by ear hear that an answer is on its way, and at its end the whole of it. */
function useSpoken(running: boolean, text: string) {
  const words = useWords();
  const announce = useAnnounce();
  const was = useRef(false);
  useEffect(() => {
    if (running && !was.current) announce(words.answering);
    if (!running && was.current) announce(text);
    was.current = running;
  }, [running, text, announce, words]);
}
