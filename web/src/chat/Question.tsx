import { type KeyboardEvent, useRef, useState } from "react";
import type { MessageView } from "@/api/schema";
import { useWords } from "@/i18n";
import { CopyButton } from "@/parts/CopyButton";
import { Icon } from "@/parts/Icon";
import type { Actions } from "./actions";
import { Verdicts } from "./Verdicts";
import { Versions } from "./Versions";

type Props = { conversation: string; message: MessageView; actions: Actions };

/** What the user said, with the way to say it otherwise. */
export function Question({ conversation, message, actions }: Props) {
  const words = useWords();
  const [editing, setEditing] = useState(false);
  const pencil = useRef<HTMLButtonElement>(null);
  const close = () => {
    setEditing(false);
    requestAnimationFrame(() => pencil.current?.focus());
  };
  if (editing) {
    return (
      <Editor
        text={message.content}
        onCancel={close}
        onSend={async (text) => {
          if (await actions.edit(message.id, text)) setEditing(false);
        }}
      />
    );
  }
  return (
    <article className="question" aria-label={words.you}>
      <p dir="auto">{message.content}</p>
      <Verdicts verdicts={message.verdicts} of={{ conversation, message: message.id }} />
      <div className="actions">
        <Versions id={message.id} siblings={message.siblings} onShow={actions.show} />
        <CopyButton text={message.content} />
        <button
          ref={pencil}
          type="button"
          className="quiet small"
          disabled={actions.busy}
          onClick={() => setEditing(true)}
        >
          <Icon name="pencil" />
          <span>{words.edit}</span>
        </button>
      </div>
    </article>
  );
}

type EditorProps = { text: string; onCancel: () => void; onSend: (text: string) => void };

function Editor({ text, onCancel, onSend }: EditorProps) {
  const words = useWords();
  const [now, setNow] = useState(text);
  const send = () => now.trim() && onSend(now.trim());
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    }
    if (event.key === "Escape") {
      event.stopPropagation();
      onCancel();
    }
  };
  return (
    <div className="editor">
      <textarea
        // biome-ignore lint/a11y/noAutofocus: it stands where the reader has just pressed "Edit"
        autoFocus
        value={now}
        dir="auto"
        rows={Math.min(now.split("\n").length + 1, 12)}
        aria-label={words.editMessage}
        onChange={(event) => setNow(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div>
        <button type="button" className="plain" onClick={onCancel}>
          {words.cancel}
        </button>
        <button type="button" className="main" disabled={!now.trim()} onClick={send}>
          {words.resend}
        </button>
      </div>
    </div>
  );
}
