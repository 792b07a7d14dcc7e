import { type KeyboardEvent, useLayoutEffect, useRef } from "react";
import type { DraftMessage } from "@/api/schema";
import { useWords } from "@/i18n";

type Props = {
  role: DraftMessage["role"];
  text: string;
  autoFocus: boolean;
  onFocus: () => void;
  onType: (text: string) => void;
  /** Ctrl+Enter: this turn is written. */
  onEnd: () => void;
  /** Alt and a number: take that suggestion. */
  onTake: (choice: number) => void;
};

/** One turn of a dialogue, as tall as what is in it. */
export function Turn({ role, text, autoFocus, onFocus, onType, onEnd, onTake }: Props) {
  const say = useWords().labelling;
  const area = useRef<HTMLTextAreaElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: as tall as what is in it
  useLayoutEffect(() => {
    if (!area.current) return;
    area.current.style.height = "auto";
    area.current.style.height = `${area.current.scrollHeight + 2}px`;
  }, [text]);
  const onKeyDown = (event: KeyboardEvent) => {
    const digit = /^Digit([1-4])$/.exec(event.code);
    if (event.altKey && digit) onTake(Number(digit[1]) - 1);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onEnd();
    else return;
    event.preventDefault();
  };
  return (
    <label className={`turn ${role}`}>
      <strong>{say.roles[role]}</strong>
      <textarea
        ref={area}
        // biome-ignore lint/a11y/noAutofocus: it is the one thing to do on a page that was opened to write
        autoFocus={autoFocus}
        rows={2}
        dir="auto"
        maxLength={100_000}
        value={text}
        placeholder={role === "user" ? say.write.askHere : say.write.answerHere}
        onFocus={onFocus}
        onChange={(event) => onType(event.target.value)}
        onKeyDown={onKeyDown}
      />
    </label>
  );
}
