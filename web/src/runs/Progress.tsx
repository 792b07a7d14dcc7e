import type { ProgressView } from "@/api/schema";
import { useWords } from "@/i18n";
import { span, stageTitle } from "./words";

/** How far a running round is, and how long its stage still takes. */
export function Progress({ progress }: { progress: ProgressView }) {
  const words = useWords();
  const say = words.runs;
  const { stage, done, total, seconds_left } = progress;
  const title = stage ? stageTitle(stage, words) : say.beginning;
  const number = new Intl.NumberFormat(words.code);
  return (
    <div className="progress">
      <p>
        <b>{title}</b>
        {total > 0 && <span>{say.steps(number.format(done), number.format(total))}</span>}
        {seconds_left !== null && <span>{say.left(span(seconds_left, words.code))}</span>}
      </p>
      <progress aria-label={title} max={1} {...(total > 0 && { value: done / total })} />
    </div>
  );
}
