import type { AlphaView, ShareView } from "@/api/schema";
import { useWords } from "@/i18n";
import { useNames, useQuality } from "../data";
import { isWide } from "../isWide";

/** How well people agree, and each one's speed and trust. */
export function Quality() {
  const words = useWords();
  const say = words.labelling.review;
  const nameOf = useNames();
  const { data } = useQuality();
  if (!data || data.annotators.length === 0) return null;
  const number = new Intl.NumberFormat(words.code, { maximumFractionDigits: 2 });
  const percent = new Intl.NumberFormat(words.code, { style: "percent", maximumFractionDigits: 0 });
  const alpha = ({ alpha, units }: AlphaView) => (alpha === null ? "–" : `${number.format(alpha)} (${units})`);
  const names: Record<string, string> = words.labelling.compare.criteria;
  return (
    <details className="quality" open={isWide()}>
      <summary>{say.quality}</summary>
      <dl>
        <div>
          <dt>{say.ranking}</dt>
          <dd>{alpha(data.ranking)}</dd>
        </div>
        {Object.entries(data.criteria).map(([name, found]) => (
          <div key={name}>
            <dt>{names[name] ?? name}</dt>
            <dd>{alpha(found)}</dd>
          </div>
        ))}
      </dl>
      <p className="note">{say.alphaHelp}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className="table" aria-label={say.annotators} tabIndex={0}>
        <table>
          <thead>
            <tr>
              {say.columns.map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {data.annotators.map((one) => (
              <tr key={one.user}>
                <th scope="row">{nameOf(one.user)}</th>
                <td>{one.submitted}</td>
                <td>{one.skipped}</td>
                <td>{one.rejected}</td>
                <td>{one.median_seconds === null ? "–" : say.seconds(Math.round(one.median_seconds))}</td>
                <Share of={one.others} />
                <Share of={one.themselves} />
                <Share of={one.gold} />
                <td>{one.trust === null ? "–" : percent.format(one.trust)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}

/** How many of the pairs were put in the same order, with the interval, which says how sure that is. */
function Share({ of: { alike, pairs, low, high } }: { of: ShareView }) {
  const words = useWords();
  const percent = new Intl.NumberFormat(words.code, { style: "percent", maximumFractionDigits: 0 });
  if (low === null || high === null) return <td>–</td>;
  return (
    <td>
      {percent.format(alike / pairs)}
      <small>{words.labelling.review.sure(percent.formatRange(low, high), pairs)}</small>
    </td>
  );
}
