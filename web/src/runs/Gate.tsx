import type { GateRow } from "@/api/schema";
import { useWords, type Words } from "@/i18n";
import { figure, interval } from "./words";

/** The checks of the reward model before a policy is tuned against it. */
export function Gate({ rows }: { rows: GateRow[] }) {
  const words = useWords();
  const say = words.runs;
  const titles: Readonly<Record<string, string>> = say.checks;
  if (rows.length === 0) return <p className="empty">{say.nothingYet}</p>;
  return (
    <section aria-labelledby="gate">
      <h2 id="gate" className="unseen">
        {say.stages.gate}
      </h2>
      <p className="note">{say.gateHelp}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className="table" aria-label={say.stages.gate} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{say.check}</th>
              <th scope="col" className="right">
                {say.figure}
              </th>
              <th scope="col">{say.limit}</th>
              <th scope="col">{say.verdict}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, of, measure, limit, verdict }) => (
              <tr key={name}>
                <th scope="row" title={of}>
                  {titles[name] ?? name}
                </th>
                <td className="right">
                  {figure(measure.value, "points", words.code, false)}
                  <small>{interval(measure, "points", words.code).replaceAll("+", "")}</small>
                </td>
                <td>{limitOf(limit, words)}</td>
                <td className={`verdict ${verdict}`}>{say.verdicts[verdict]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </section>
  );
}

/** "at least 0.60", "at most 0.10" or "within 0.30 of 0", in the reader's words. */
function limitOf(limit: string, words: Words): string {
  const [, kind, value] = /^(at least|at most|within) ([\d.]+)/.exec(limit) ?? [];
  const number = figure(Number(value), "points", words.code, false);
  switch (kind) {
    case "at least":
      return words.runs.atLeast(number);
    case "at most":
      return words.runs.atMost(number);
    case "within":
      return words.runs.within(number);
  }
  return limit;
}
