import { type SyntheticEvent, useRef } from "react";
import type { Rating } from "@/api/schema";
import { useWords } from "@/i18n";
import { Pill } from "@/parts/Pill";

type Props = { rating: Rating; answer: string; onClose: () => void; onSave: (rating: Rating) => void };

const REASONS = ["harmful", "untrue", "not_helpful"] as const;

/** Why, and what the ideal answer would have been; all of it may be left out. */
export function RatingForm({ rating, answer, onClose, onSave }: Props) {
  const words = useWords();
  const say = words.feedback;
  const ideal = useRef<HTMLTextAreaElement>(null);
  const down = rating.thumb === "down";
  const submit = (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    onSave({
      ...rating,
      reasons: REASONS.filter((reason) => given.getAll("reason").includes(reason)),
      note: String(given.get("note")).trim(),
      ideal: String(given.get("ideal")).trim(),
    });
  };
  const begin = () => {
    if (!ideal.current) return;
    ideal.current.value = answer;
    ideal.current.focus();
  };
  return (
    <form
      className="panel"
      aria-label={say.about}
      onSubmit={submit}
      onKeyDown={(event) => event.key === "Escape" && onClose()}
    >
      {down && (
        <fieldset>
          <legend>{say.whatIsWrong}</legend>
          <div className="pills">
            {REASONS.map((reason) => (
              <Pill key={reason} name="reason" value={reason} defaultChecked={rating.reasons?.includes(reason)}>
                {say.reasons[reason]}
              </Pill>
            ))}
          </div>
        </fieldset>
      )}
      <label>
        {say.note}
        <textarea name="note" rows={2} dir="auto" maxLength={4000} defaultValue={rating.note} />
      </label>
      <label>
        {say.idealTitle}
        <textarea
          ref={ideal}
          name="ideal"
          rows={4}
          dir="auto"
          maxLength={100_000}
          defaultValue={rating.ideal}
          required={!rating.thumb}
        />
      </label>
      <div className="choices">
        <button type="button" className="quiet begin" onClick={begin}>
          {say.beginWithAnswer}
        </button>
        <button type="button" className="plain" onClick={onClose}>
          {words.close}
        </button>
        <button type="submit" className="main">
          {say.send}
        </button>
      </div>
    </form>
  );
}
