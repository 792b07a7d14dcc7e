import type { Choice, MessageView } from "@/api/schema";
import { useWords } from "@/i18n";
import { useChosen, useSaying } from "./data";

type Props = { conversation: string; message: MessageView; onFailure: (error: unknown) => void };

const ORDER = ["better", "same", "worse", "bothBad"] as const;
const PREFERRED = { better: "right", same: "tie", worse: "left", bothBad: "neither" } as const;

/** Whether an answer is better than the version before it, where there is one. */
export function Preference({ conversation, message: { id, siblings }, onFailure }: Props) {
  const say = useWords().feedback;
  const before = siblings[siblings.indexOf(id) - 1] ?? "";
  const given = useChosen(conversation, before, id);
  const { choose, withdraw } = useSaying(conversation);
  if (!before) return null;
  const chosen = given && seenFrom(given.said, before);
  const press = (how: (typeof ORDER)[number]) => {
    const said: Choice = { kind: "choice", left: before, right: id, preferred: PREFERRED[how] };
    const work = given && chosen === said.preferred ? withdraw(given.id) : choose(said);
    work.catch(onFailure);
  };
  return (
    <fieldset className="preference">
      <legend>{say.compared}</legend>
      {ORDER.map((how) => (
        <button
          key={how}
          type="button"
          className="plain small"
          aria-pressed={chosen === PREFERRED[how]}
          onClick={() => press(how)}
        >
          {say.comparedAs[how]}
        </button>
      ))}
    </fieldset>
  );
}

/** What was preferred, with `before` on the left. */
function seenFrom({ left, preferred }: Choice, before: string): Choice["preferred"] {
  if (left === before || preferred === "tie" || preferred === "neither") return preferred;
  return preferred === "left" ? "right" : "left";
}
