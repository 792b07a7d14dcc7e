import type { VerdictView } from "@/api/schema";
import { useWords, type Words } from "@/i18n";
import { Notice } from "@/parts/Notice";

/** What the filter said of a message: what it kept back, or only warns of. */
export function Verdicts({ verdicts }: { verdicts: VerdictView[] }) {
  const words = useWords();
  return verdicts.map((verdict) => {
    const kept = verdict.side === "user" ? words.filter.questionBlocked : words.filter.answerBlocked;
    const say = verdict.withheld ? kept : words.filter.warned;
    return (
      <Notice key={verdict.id} kind="filter">
        {say(named(verdict, words))}
      </Notice>
    );
  });
}

/** The categories of a verdict, the most probable first. */
export function named({ categories }: VerdictView, words: Words): string {
  const names: Record<string, string> = words.categories;
  const found = Object.entries(categories).sort(([, a], [, b]) => b - a);
  return found.map(([category]) => names[category] ?? category).join(", ") || words.filter.unnamed;
}
