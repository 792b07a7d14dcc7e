import type { Measure } from "@/api/schema";
import { airy, rangeOf } from "@/charts/scale";
import { useWords } from "@/i18n";
import { figure, interval } from "./words";

type Row = { name: string; measure: Measure; colour: number; said?: string };

/** Figures with their intervals of 95 per cent on one scale. Each is written out, so the drawing says nothing more. */
export function Intervals({ rows, zero = false }: { rows: Row[]; zero?: boolean }) {
  const words = useWords();
  const ends = rows.flatMap(({ measure: { value, low, high } }) => [value, low, high]);
  const [low, high] = airy(rangeOf([...(zero ? [0] : []), ...ends.filter((one) => typeof one === "number")]));
  const place = (value: number) => `${(100 * (value - low)) / (high - low)}%`;
  return (
    <ul className="intervals">
      {rows.map(({ name, measure, colour, said }) => (
        <li key={name} className={`s${colour}`}>
          <span className="name">{name}</span>
          <svg aria-hidden="true">
            <line className="base" x1="0" x2="100%" y1="50%" y2="50%" />
            {low < 0 && high > 0 && <line className="zero" x1={place(0)} x2={place(0)} y1="0" y2="100%" />}
            {typeof measure.low === "number" && typeof measure.high === "number" && (
              <line className="span" x1={place(measure.low)} x2={place(measure.high)} y1="50%" y2="50%" />
            )}
            {typeof measure.value === "number" && <circle cx={place(measure.value)} cy="50%" r="4.5" />}
          </svg>
          <span className="value">
            <b>{figure(measure.value, "points", words.code)}</b>{" "}
            <small>{interval(measure, "points", words.code)}</small>
            {said && <small className="said">{said}</small>}
          </span>
        </li>
      ))}
    </ul>
  );
}
