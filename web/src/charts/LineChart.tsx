import { type PointerEvent, useId, useMemo, useRef, useState } from "react";
import { Numbers } from "./Numbers";
import { airy, MANY, nearest, type Point, rangeOf, runningMean, thinned, ticks } from "./scale";
import { useWidth } from "./useWidth";
import "./charts.css";

/** One curve; `sparse` ones are measured now and then, and show each point; `exact` ones have no noise to mean over. */
export type Series = { name: string; points: readonly Point[]; colour: number; sparse?: boolean; exact?: boolean };
type Props = {
  title: string;
  unit: string;
  /** What stands along the bottom, such as "step". */
  along: string;
  series: Series[];
  /** A number in words, and how ticks are written. */
  say: (value: number) => string;
};

const HEIGHT = 168;
const EDGE = { top: 8, right: 10, bottom: 22, left: 46 };

/** Curves over steps. A value is read with the pointer, or with the arrow keys; a table has all of them. */
export function LineChart({ title, unit, along, series, say }: Props) {
  const [plot, width] = useWidth<HTMLDivElement>(340);
  const [read, setRead] = useState<number | null>(null);
  const heading = useId();
  const shown = series.filter(({ points }) => points.length > 0);
  const steps = useMemo(() => stepsOf(series), [series]);
  const place = Math.min(read ?? steps.length - 1, steps.length - 1);
  const step = steps[place] ?? 0;
  const valueAt = ({ points, sparse }: Series) => {
    const [x, y] =
      points[
        nearest(
          points.map(([one]) => one),
          step,
        )
      ] ?? [];
    return x === step || (sparse && read === null) ? y : undefined;
  };
  const values = shown.map((one) => [one, valueAt(one)] as const);
  const several = series.length > 1;
  const said = values
    .filter(([, value]) => value !== undefined)
    .map(([one, value]) => `${several ? `${one.name} ` : ""}${say(value ?? 0)}`)
    .join(", ");

  const across = rangeOf(steps);
  const up = airy(rangeOf(shown.flatMap(({ points }) => points.map(([, y]) => y))));
  const x = (value: number) =>
    EDGE.left + ((value - across[0]) / (across[1] - across[0])) * (width - EDGE.left - EDGE.right);
  const y = (value: number) =>
    HEIGHT - EDGE.bottom - ((value - up[0]) / (up[1] - up[0])) * (HEIGHT - EDGE.top - EDGE.bottom);

  // The pointer moves often, and curves may be long.
  // biome-ignore lint/correctness/useExhaustiveDependencies: x and y follow from these
  const curves = useMemo(
    () => shown.map((one) => <Curve key={one.name} series={one} x={x} y={y} most={2 * width} />),
    [series, width],
  );

  const frame = useRef<HTMLDivElement>(null);
  const point = (event: PointerEvent) => {
    const left = frame.current?.getBoundingClientRect().left ?? 0;
    const share = (event.clientX - left - EDGE.left) / (width - EDGE.left - EDGE.right);
    setRead(nearest(steps, across[0] + share * (across[1] - across[0])));
  };

  return (
    <figure className="curves" aria-labelledby={heading}>
      <figcaption>
        <h3 id={heading}>{title}</h3>
        <span className="unit">{unit}</span>
      </figcaption>
      <p className="reading" aria-hidden="true">
        {values.map(([one, value]) => (
          <span key={one.name} className={`s${one.colour}`}>
            <i className={one.sparse ? "dot sparse" : "dot"} />
            {several && <span className="name">{one.name}</span>} <b>{value === undefined ? "–" : say(value)}</b>
          </span>
        ))}
        <span className="at">
          {along} {step}
        </span>
      </p>
      <div ref={frame} className="plot" onPointerMove={point} onPointerLeave={() => setRead(null)}>
        <div ref={plot}>
          <svg width={width} height={HEIGHT} aria-hidden="true">
            {ticks(up, 4).map((value) => (
              <g key={value} className="tick">
                <line x1={EDGE.left} x2={width - EDGE.right} y1={y(value)} y2={y(value)} />
                <text x={EDGE.left - 8} y={y(value)} dy="0.32em" textAnchor="end">
                  {say(value)}
                </text>
              </g>
            ))}
            {ticks(across, width / 80, true).map((value) => (
              <text key={value} className="step" x={x(value)} y={HEIGHT - 6} textAnchor="middle">
                {value}
              </text>
            ))}
            {read !== null && (
              <line className="cursor" x1={x(step)} x2={x(step)} y1={EDGE.top} y2={HEIGHT - EDGE.bottom} />
            )}
            {curves}
            {values.map(
              ([one, value]) =>
                value !== undefined &&
                (read !== null || !(one.sparse || isMany(one))) && (
                  <circle key={one.name} className={`now s${one.colour}`} cx={x(step)} cy={y(value)} r={3.5} />
                ),
            )}
          </svg>
        </div>
        <input
          type="range"
          min={0}
          max={steps.length - 1}
          value={place}
          aria-label={`${title}, ${unit}`}
          aria-valuetext={`${along} ${step}: ${said}`}
          onChange={(event) => setRead(Number(event.target.value))}
          onBlur={() => setRead(null)}
        />
      </div>
      <Numbers title={title} along={along} series={shown} steps={steps} say={say} />
    </figure>
  );
}

type CurveProps = { series: Series; x: (value: number) => number; y: (value: number) => number; most: number };

const isMany = ({ points, sparse, exact }: Series) => !sparse && !exact && points.length >= MANY;

/** As in the report: many points are faint behind their running mean. */
function Curve({ series, x, y, most }: CurveProps) {
  const { points, colour, sparse } = series;
  const path = (some: readonly Point[]) =>
    thinned(some, most)
      .map(([a, b], place) => `${place ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`)
      .join("");
  const many = isMany(series);
  return (
    <g className={`s${colour}`}>
      {many && <path className="faint" d={path(points)} />}
      <path className={sparse ? "between" : "line"} d={path(many ? runningMean(points) : points)} />
      {sparse && points.map(([a, b]) => <circle key={a} className="point" cx={x(a)} cy={y(b)} r={3.5} />)}
    </g>
  );
}

/** Every step at which any curve has a value, in order. */
function stepsOf(series: Series[]): number[] {
  const all = new Set(series.flatMap(({ points }) => points.map(([step]) => step)));
  return [...all].sort((a, b) => a - b);
}
