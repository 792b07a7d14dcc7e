import { Fragment } from "react";
import { useWords } from "@/i18n";
import { letter } from "./ranking";

/** Which keys rank, for those who have some. */
export function Keys({ answers }: { answers: number }) {
  const say = useWords().labelling.compare.keys;
  const keys = [
    [`A–${letter(answers - 1)}`, say.choose],
    [`1–${answers}`, say.place],
    ["↑ ↓", say.move],
    ["⌫", say.takeOut],
    ["X", say.allBad],
    ["U", say.undo],
    ["Ctrl+Enter", say.submit],
  ] as const;
  return (
    <p className="keys">
      {keys.map(([key, what]) => (
        <Fragment key={key}>
          <span>
            <kbd>{key}</kbd> {what}
          </span>{" "}
        </Fragment>
      ))}
    </p>
  );
}
