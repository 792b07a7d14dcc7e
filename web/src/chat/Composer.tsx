import { type KeyboardEvent, type SyntheticEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useWords } from "@/i18n";
import { Icon } from "@/parts/Icon";

type Props = {
  conversation: string | null;
  answering: boolean;
  /** Resolves to whether the message was taken; one that was not comes back into the box. */
  onSend: (text: string) => Promise<boolean>;
  onStop: () => void;
};

const touch = () => matchMedia("(hover: none)").matches; // there a focus would open the keyboard unasked

/** Where messages are written. */
export function Composer({ conversation, answering, onSend, onStop }: Props) {
  const words = useWords();
  const [text, setText] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another conversation is another thing to write
  useEffect(() => {
    if (!touch()) box.current?.focus();
  }, [conversation]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: as tall as what is in it
  useLayoutEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [text]);

  const send = async (event?: SyntheticEvent) => {
    event?.preventDefault();
    const question = text.trim();
    if (!question || answering) return;
    setText("");
    if (!(await onSend(question))) setText((since) => since || question);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  const stop = () => {
    onStop();
    if (!touch()) box.current?.focus();
  };
  return (
    <form className="composer" onSubmit={send}>
      <textarea
        id="message"
        ref={box}
        rows={1}
        value={text}
        dir="auto"
        placeholder={words.writeMessage}
        aria-label={words.message}
        autoComplete="off"
        enterKeyHint="send"
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {answering ? (
        <button type="button" className="main round" aria-label={words.stop} onClick={stop}>
          <Icon name="stop" />
        </button>
      ) : (
        <button type="submit" className="main round" aria-label={words.send} disabled={!text.trim()}>
          <Icon name="up" />
        </button>
      )}
    </form>
  );
}
