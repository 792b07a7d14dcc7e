import { type ReactNode, useState } from "react";
import { useWords } from "@/i18n";

const AT_FIRST = 10;

type Row = { id: string; cells: ReactNode[]; requests: number; prompt_tokens: number; answer_tokens: number };
type Props = { title: string; columns: string[]; rows: Row[] };

/** Counters, in the order of the service; a long table opens on demand. */
export function UsageTable({ title, columns, rows }: Props) {
  const words = useWords();
  const say = words.account.usage;
  const [whole, setWhole] = useState(false);
  const number = new Intl.NumberFormat(words.code);
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className="table" aria-label={title} tabIndex={0}>
        <table>
          <thead>
            <tr>
              {[...columns, say.requests, say.prompt, say.answer].map((column, place) => (
                <th key={column} scope="col" className={place < columns.length ? undefined : "right"}>
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {(whole ? rows : rows.slice(0, AT_FIRST)).map((row) => (
              <tr key={row.id}>
                {row.cells.map((cell, place) => (
                  <td key={columns[place]}>{cell}</td>
                ))}
                <td className="right">{number.format(row.requests)}</td>
                <td className="right">{number.format(row.prompt_tokens)}</td>
                <td className="right">{number.format(row.answer_tokens)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {!whole && rows.length > AT_FIRST && (
        <button type="button" className="quiet small" onClick={() => setWhole(true)}>
          {say.all(number.format(rows.length))}
        </button>
      )}
    </>
  );
}
