import type { VerdictView } from "@/api/schema";
import type { Subject } from "@/feedback/data";
import { useObjection } from "@/feedback/useObjection";
import { useWords, type Words } from "@/i18n";
import { Notice } from "@/parts/Notice";

/** What the filter said of a message: what it kept back, or only warns of. */
export function Verdicts({ verdicts, of }: { verdicts: VerdictView[]; of: Subject }) {
  return verdicts.map((verdict) => <Verdict key={verdict.id} verdict={verdict} of={of} />);
}

function Verdict({ verdict, of }: { verdict: VerdictView; of: Subject }) {
  const words = useWords();
  const { action, note } = useObjection(of, verdict);
  const kept = verdict.side === "user" ? words.filter.questionBlocked : words.filter.answerBlocked;
  const say = verdict.withheld ? kept : words.filter.warned;
  return (
    <Notice kind="filter" action={action}>
      {say(named(verdict, words))} {note}
    </Notice>
  );
}

/** The categories of a verdict, the most probable first. */
export function named({ categories }: VerdictView, words: Words): string {
  const names: Record<string, string> = words.categories;
  const found = Object.entries(categories).sort(([, a], [, b]) => b - a);
  return found.map(([category]) => names[category] ?? category).join(", ") || words.filter.unnamed;
}
