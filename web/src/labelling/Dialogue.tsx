import type { DraftMessage } from "@/api/schema";
import { useWords } from "@/i18n";
import { Markdown } from "@/markdown/Markdown";

/** A conversation, to be read. */
export function Dialogue({ messages }: { messages: readonly DraftMessage[] }) {
  const say = useWords().labelling.roles;
  return (
    <ol className="dialogue">
      {messages.map(({ role, content }, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: it does not change
        <li key={place} className={role}>
          <strong>{say[role]}</strong>
          {role === "assistant" ? (
            <Markdown text={content} />
          ) : (
            <p className="as-is" dir="auto">
              {content}
            </p>
          )}
        </li>
      ))}
    </ol>
  );
}
