import { useState } from "react";
import type { Choice, MessageView } from "@/api/schema";
import { useChanges } from "@/chat/data";
import { useWords } from "@/i18n";
import { useChosen, useSaying } from "./data";

type Props = { conversation: string; message: MessageView; onFailure: (error: unknown) => void };

const ORDER = ["better", "same", "worse", "bothBad"] as const;
const PREFERRED = { better: "right", same: "tie", worse: "left", bothBad: "neither" } as const;

/** Whether an answer is better than the version before it; where there is none, sometimes the offer to get one. */
export function Preference({ conversation, message: { id, siblings }, onFailure }: Props) {
  const before = siblings[siblings.indexOf(id) - 1];
  if (before) return <Compared conversation={conversation} before={before} id={id} onFailure={onFailure} />;
  if (siblings.length > 1 || !isOffered(id)) return null;
  return <Offer conversation={conversation} id={id} onFailure={onFailure} />;
}

/** Of one answer in eight, always the same: ids are random. */
export const isOffered = (message: string) => /^msg_[A-H]/.test(message);

type PairProps = { conversation: string; id: string; onFailure: (error: unknown) => void };

function Offer({ conversation, id, onFailure }: PairProps) {
  const say = useWords().feedback;
  const { again } = useChanges();
  const [busy, setBusy] = useState(false);
  const ask = () => {
    setBusy(true);
    again(conversation, id)
      .catch(onFailure)
      .finally(() => setBusy(false));
  };
  return (
    <button type="button" className="quiet small offer" disabled={busy} onClick={ask}>
      {say.offer}
    </button>
  );
}

function Compared({ conversation, before, id, onFailure }: PairProps & { before: string }) {
  const say = useWords().feedback;
  const given = useChosen(conversation, before, id);
  const { choose, withdraw } = useSaying(conversation);
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
export function seenFrom({ left, preferred }: Choice, before: string): Choice["preferred"] {
  if (left === before || preferred === "tie" || preferred === "neither") return preferred;
  return preferred === "left" ? "right" : "left";
}
