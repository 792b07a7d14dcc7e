import type { AnswerMarks } from "@/api/schema";
import { useWords } from "@/i18n";
import { Markdown } from "@/markdown/Markdown";
import { letter } from "./ranking";

type Flag = NonNullable<AnswerMarks["flags"]>[number];
type Props = {
  number: number;
  text: string;
  place: number | null;
  selected: boolean;
  marks: AnswerMarks;
  onSelect: () => void;
  onMark: (change: AnswerMarks) => void;
};

const CRITERIA = ["helpful", "truthful", "harmless"] as const;

/** One of the answers, with what is said of it besides its place. */
export function AnswerCard({ number, text, place, selected, marks, onSelect, onMark }: Props) {
  const words = useWords();
  const say = words.labelling.compare;
  const name = say.chip(letter(number));
  const flags = marks.flags ?? [];
  const flip = (flag: Flag) =>
    onMark({ flags: flags.includes(flag) ? flags.filter((one) => one !== flag) : [...flags, flag] });
  return (
    <article className={selected ? "card selected" : "card"} aria-label={name}>
      <button type="button" className="letter" tabIndex={-1} onClick={onSelect}>
        <span className="chip">{letter(number)}</span>
        <span className="note">{place === null ? say.unranked : say.atPlace(place + 1)}</span>
      </button>
      <div className="text">
        <Markdown text={text} />
      </div>
      <div className="marks">
        {CRITERIA.map((criterion) => (
          <fieldset key={criterion}>
            <legend>{say.criteria[criterion]}</legend>
            {([true, false] as const).map((yes) => (
              <button
                key={String(yes)}
                type="button"
                className="plain small"
                aria-pressed={marks[criterion] === yes}
                onClick={() => onMark({ [criterion]: marks[criterion] === yes ? null : yes })}
              >
                {yes ? say.yes : say.no}
              </button>
            ))}
          </fieldset>
        ))}
        <details>
          <summary>{say.flagsOf(flags.length)}</summary>
          <div className="pills">
            {(Object.keys(say.flags) as Flag[]).map((flag) => (
              <button
                key={flag}
                type="button"
                className="plain small"
                aria-pressed={flags.includes(flag)}
                onClick={() => flip(flag)}
              >
                {say.flags[flag]}
              </button>
            ))}
          </div>
        </details>
      </div>
    </article>
  );
}
