import { useState } from "react";
import { Link, useLocation } from "wouter";
import type { DemonstrationView } from "@/api/schema";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { beginDemonstration, useDemonstrations, useHandedIn } from "./data";
import { GuidelinesBeside } from "./Guidelines";

/** The trainer's dialogues: those to go on with, and those handed in. */
export function WritePage() {
  const words = useWords();
  const say = words.labelling.write;
  const [, go] = useLocation();
  const { data, error, isPending, refetch } = useDemonstrations();
  const handedIn = useHandedIn("demonstration");
  const [failure, setFailure] = useState<unknown>(null);
  const all = data?.demonstrations ?? [];
  const drafts = all.filter((one) => one.state === "open");
  const done = all.filter((one) => one.state === "submitted");
  const begin = async () => {
    setFailure(null);
    try {
      go(`/label/write/${(await beginDemonstration()).id}`);
    } catch (error) {
      setFailure(error);
    }
  };
  return (
    <main className="writing">
      <div className="paper">
        <h1>{say.title}</h1>
        <p className="note">{say.intro}</p>
        {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
        <button type="button" className="main" onClick={begin}>
          <Icon name="plus" /> {say.begin}
        </button>
        {error && <Notice action={{ label: words.retry, onClick: () => refetch() }}>{sayFailure(error, words)}</Notice>}
        {isPending && !error && <p className="note">{words.loading}</p>}
        <List title={say.drafts} items={drafts} />
        <List title={say.handedIn(handedIn)} items={done} />
      </div>
      <GuidelinesBeside kind="demonstrations" />
    </main>
  );
}

function List({ title, items }: { title: string; items: DemonstrationView[] }) {
  const words = useWords();
  const say = words.labelling.write;
  const time = new Intl.DateTimeFormat(words.code, { dateStyle: "medium", timeStyle: "short" });
  if (items.length === 0) return null;
  return (
    <section>
      <h2>{title}</h2>
      <ul className="works">
        {items.map(({ id, value, saved_at }) => (
          <li key={id}>
            <Link href={`/label/write/${id}`}>
              <span dir="auto">{value.messages?.[0]?.content.trim() || say.empty}</span>
              <small>
                {[value.messages?.length && say.turns(value.messages.length), time.format(new Date(saved_at))]
                  .filter(Boolean)
                  .join(" · ")}
              </small>
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}
