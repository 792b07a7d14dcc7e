import type { VerdictView } from "@/api/schema";
import { useWords, type Words } from "@/i18n";
import { Notice } from "@/parts/Notice";

/** What the filter said of a message. */
export function Verdicts({ verdicts, side }: { verdicts: VerdictView[]; side: "user" | "model" }) {
  const words = useWords();
  return verdicts
    .filter((verdict) => verdict.action !== "allow")
    .map((verdict) => {
      const what = named(verdict, words);
      const blocked = side === "user" ? words.filter.questionBlocked : words.filter.answerBlocked;
      return (
        <Notice key={what + verdict.action} kind="filter">
          {verdict.action === "block" ? blocked(what) : words.filter.warned(what)}
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
