import type { EvaluationView, MetricRow, RunDetail } from "@/api/schema";
import "@/charts/charts.css";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { useEvaluation } from "./data";
import { Intervals } from "./Intervals";
import { figure, interval, stageTitle, systemTitle } from "./words";

/** The report: what the held-out prompts say of each system, with intervals. */
export function Results({ run }: { run: RunDetail }) {
  const words = useWords();
  const say = words.runs;
  const { data, error, isPending, refetch } = useEvaluation(run.name, run.evaluated);
  if (!run.evaluated) return <p className="empty">{say.notEvaluated}</p>;
  if (error) return <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>;
  if (isPending || !data) return <p className="note">{words.loading}</p>;
  const reward = data.metrics.find(({ name }) => name === "reward");
  const models = Object.entries(data.reward_models);
  return (
    <div className="results">
      {reward && (
        <section>
          <h2>{say.figures.reward}</h2>
          <p className="note">{say.rewardHelp(new Intl.NumberFormat(words.code).format(data.prompts))}</p>
          <Intervals
            rows={data.systems.flatMap((system, place) => {
              const measure = reward.measures[system];
              return measure ? [{ name: systemTitle(system, words), measure, colour: place % 6 }] : [];
            })}
          />
        </section>
      )}
      {data.differences.length > 0 && (
        <section>
          <h2>{say.differences}</h2>
          <p className="note">{say.differencesHelp}</p>
          <Intervals
            zero
            rows={data.differences.map(({ left, right, measure }) => ({
              name: `${systemTitle(left, words)} − ${systemTitle(right, words)}`,
              measure,
              colour: data.systems.indexOf(left) % 6,
              said: verdict(measure.low, measure.high),
            }))}
          />
        </section>
      )}
      <section>
        <h2>{say.figuresTitle}</h2>
        <Figures data={data} />
      </section>
      {Object.keys(data.by_tag).length > 0 && <ByTag data={data} />}
      {models.length > 0 && (
        <section>
          <h2>{say.rewardModels}</h2>
          <ul className="facts">
            {models.map(([stage, measure]) => (
              <li key={stage}>
                {stageTitle(stage, words)}: <b>{figure(measure.value, "share", words.code)}</b>{" "}
                <small>{interval(measure, "share", words.code)}</small>
              </li>
            ))}
          </ul>
        </section>
      )}
      <a className="plain" download href={`/api/runs/${encodeURIComponent(run.name)}/report`}>
        <Icon name="download" /> {say.download}
      </a>
    </div>
  );

  function verdict(low: number | null | undefined, high: number | null | undefined) {
    if (typeof low !== "number" || typeof high !== "number") return say.unknown;
    return low > 0 ? say.higher : high < 0 ? say.lower : say.noDifference;
  }
}

/** Mean held-out reward of each kind of prompt: where a system is good, and where it is not. */
function ByTag({ data: { by_tag, systems } }: { data: EvaluationView }) {
  const words = useWords();
  const say = words.runs;
  return (
    <details className="more">
      <summary>{say.byTag}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className="table" aria-label={say.byTag} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{say.figures.reward}</th>
              {systems.map((system) => (
                <th key={system} scope="col" className="right">
                  {systemTitle(system, words)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {Object.entries(by_tag).map(([tag, values]) => (
              <tr key={tag}>
                <th scope="row" dir="auto">
                  {tag.replaceAll("_", " ") || "–"}
                </th>
                {systems.map((system) => (
                  <td key={system} className="right">
                    {figure(values[system], "points", words.code)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}

/** Every figure of every system; the best of a row is set off where one direction is better. */
function Figures({ data }: { data: EvaluationView }) {
  const words = useWords();
  const say = words.runs;
  const titles: Readonly<Record<string, string>> = say.figures;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="table" aria-label={say.figuresTitle} tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">{say.figure}</th>
            {data.systems.map((system, place) => (
              <th key={system} scope="col" className={`right s${place % 6}`}>
                <i className="dot sparse" aria-hidden="true" />
                {systemTitle(system, words)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {data.metrics.map((metric) => {
            const best = bestOf(metric, words.code);
            return (
              <tr key={metric.name}>
                <th scope="row">{titles[metric.name] ?? metric.name}</th>
                {data.systems.map((system) => {
                  const measure = metric.measures[system];
                  const shown = figure(measure?.value, metric.unit, words.code);
                  return (
                    <td key={system} className="right">
                      {shown === best ? <b>{shown}</b> : shown}
                      {measure && <small>{interval(measure, metric.unit, words.code)}</small>}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

/** The best figure of a row as it is written; null where none is better or they all look alike. */
export function bestOf({ better, measures, unit }: MetricRow, code: string): string | null {
  const values = Object.values(measures).flatMap(({ value }) => (typeof value === "number" ? [value] : []));
  const shown = new Set(values.map((value) => figure(value, unit, code)));
  if (!better || shown.size < 2) return null;
  return figure(better === "higher" ? Math.max(...values) : Math.min(...values), unit, code);
}
