import { useWords } from "@/i18n";
import { ceiling, type Day, tokens } from "./days";

const HEIGHT = 100;

/** A bar for each day: answer tokens on prompt tokens. It is one picture; its numbers are in the table. */
export function DayChart({ days }: { days: Day[] }) {
  const words = useWords();
  const say = words.account.usage;
  const number = new Intl.NumberFormat(words.code);
  const short = new Intl.NumberFormat(words.code, { notation: "compact" });
  const date = new Intl.DateTimeFormat(words.code, { day: "numeric", month: "short", timeZone: "UTC" });
  const shown = ({ day }: Day) => date.format(new Date(day));
  const most = days.reduce((best, day) => (tokens(day) > tokens(best) ? day : best));
  const all = days.reduce((sum, day) => sum + tokens(day), 0);
  const top = ceiling(tokens(most));
  const [first, last] = [days[0], days.at(-1)];
  return (
    <figure
      className="chart"
      role="img"
      aria-label={say.chart(number.format(all), number.format(tokens(most)), shown(most))}
    >
      <span className="top">{short.format(top)}</span>
      <svg viewBox={`0 0 ${days.length} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        {days.map((day, place) => {
          const prompt = (HEIGHT * day.prompt_tokens) / top;
          const answer = (HEIGHT * day.answer_tokens) / top;
          const bar = { x: place + 0.14, width: 0.72 };
          return (
            <g key={day.day}>
              <title>
                {`${shown(day)} · ${say.prompt}: ${number.format(day.prompt_tokens)} · ${say.answer}: ${number.format(day.answer_tokens)}`}
              </title>
              <rect className="reach" x={place} width={1} height={HEIGHT} />
              <rect className="read" {...bar} y={HEIGHT - prompt} height={prompt} />
              <rect className="written" {...bar} y={HEIGHT - prompt - answer} height={answer} />
            </g>
          );
        })}
      </svg>
      <span>{first && shown(first)}</span>
      <span>{last && shown(last)}</span>
    </figure>
  );
}
