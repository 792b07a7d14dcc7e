import { useState } from "react";
import { useWords } from "@/i18n";
import type { Series } from "./LineChart";

const MOST_ROWS = 200;

type Props = { title: string; along: string; series: Series[]; steps: number[]; say: (value: number) => string };

/** The values of a chart as a table, made when it is opened; of very many steps it has some, evenly spread. */
export function Numbers({ title, along, series, steps, say }: Props) {
  const words = useWords();
  const [open, setOpen] = useState(false);
  const apart = Math.ceil(steps.length / MOST_ROWS);
  const shown = steps.filter((_, place) => (steps.length - 1 - place) % apart === 0);
  const values = open ? series.map(({ points }) => new Map(points)) : [];
  return (
    <details className="numbers" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary aria-label={words.runs.tableOf(title)}>{words.runs.table}</summary>
      {open && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        <section className="table" aria-label={words.runs.tableOf(title)} tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{along}</th>
                {series.map(({ name }) => (
                  <th key={name} scope="col" className="right">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.map((step) => (
                <tr key={step}>
                  <td>{step}</td>
                  {series.map(({ name }, place) => {
                    const value = values[place]?.get(step);
                    return (
                      <td key={name} className="right">
                        {value === undefined ? "–" : say(value)}
                      </td>
                    );
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </details>
  );
}
