import { useState } from "react";
import type { FilterReport, VerdictView } from "@/api/schema";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { type Subject, useSaid, useSaying } from "./data";

type Category = NonNullable<FilterReport["categories"]>[number];

/** "This is wrong", to be said of what the filter found in a message, and taken back. */
export function useObjection(of: Subject, verdict: VerdictView) {
  const words = useWords();
  const say = words.feedback;
  const given = useSaid(of, "report");
  const { report, withdraw } = useSaying(of.conversation);
  const [failure, setFailure] = useState<unknown>(null);
  const found = Object.keys(verdict.categories) as Category[];
  const before = given?.said.fault === "false_positive" ? (given.said.categories ?? []) : [];
  const objected = found.length > 0 && found.every((category) => before.includes(category));
  const rest = before.filter((category) => !found.includes(category));
  const onClick = () => {
    setFailure(null);
    const work =
      objected && given && rest.length === 0
        ? withdraw(given.id)
        : report(of.message, {
            kind: "report",
            fault: "false_positive",
            categories: objected ? rest : [...rest, ...found],
            note: given?.said.note ?? "",
          });
    work.catch(setFailure);
  };
  return {
    action: { label: objected ? say.takeBack : say.wrong, onClick },
    note: failure !== null ? sayFailure(failure, words) : objected ? say.objected : "",
  };
}
