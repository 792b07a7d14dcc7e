import { useState } from "react";
import { Link } from "wouter";
import type { ConversationView } from "@/api/schema";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { Menu, MenuItem } from "@/parts/Menu";
import { useChanges } from "./data";

type Props = { conversation: ConversationView; current: boolean; onGone: () => void };

/** A conversation in the list, with what can be done to it as a whole. */
export function ConversationRow({ conversation, current, onGone }: Props) {
  const words = useWords();
  const { change, remove } = useChanges();
  const [doing, setDoing] = useState<"rename" | "delete" | null>(null);
  const title = conversation.title || words.untitled;
  const done = () => setDoing(null);
  const exported = (form: string) => `/api/conversations/${conversation.id}/export?form=${form}`;
  return (
    <li className={current ? "current" : undefined}>
      <Link href={`/chat/${conversation.id}`} aria-current={current ? "page" : undefined} title={title} dir="auto">
        {title}
      </Link>
      <Menu label={words.optionsOf(title)}>
        <MenuItem icon="pencil" onChoose={() => setDoing("rename")}>
          {words.rename}
        </MenuItem>
        <MenuItem icon="download" href={exported("markdown")}>
          {words.exportMarkdown}
        </MenuItem>
        <MenuItem icon="download" href={exported("json")}>
          {words.exportJson}
        </MenuItem>
        <MenuItem icon="trash" danger onChoose={() => setDoing("delete")}>
          {words.delete}
        </MenuItem>
      </Menu>
      {doing === "rename" && (
        <Asking
          title={words.rename}
          verb={words.rename}
          onClose={done}
          onDo={(given) => change(conversation.id, { title: String(given.get("title")) })}
        >
          <input name="title" defaultValue={conversation.title} maxLength={200} required aria-label={words.newTitle} />
        </Asking>
      )}
      {doing === "delete" && (
        <Asking
          title={words.deleteTitle}
          verb={words.delete}
          danger
          onClose={done}
          onDo={async () => {
            await remove(conversation.id);
            onGone();
          }}
        >
          <p>{words.deleteText(title)}</p>
        </Asking>
      )}
    </li>
  );
}
