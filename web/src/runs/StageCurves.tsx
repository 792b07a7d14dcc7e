import { useMemo } from "react";
import type { RunDetail } from "@/api/schema";
import { LineChart } from "@/charts/LineChart";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { type Chart, chartsOf } from "./charts";
import { type Trained, useMetrics } from "./data";
import { Guards } from "./Guards";
import { stageTitle } from "./words";

type Props = { run: RunDetail; stage: Trained };

/** What a stage measured, step by step; it grows while the stage runs. */
export function StageCurves({ run, stage }: Props) {
  const words = useWords();
  const say = words.runs;
  const { data, error, isPending, refetch } = useMetrics(run.name, stage, run.state === "running");
  const rows = data?.rows;
  const { main, more } = useMemo(() => chartsOf(stage, rows ?? [], words), [stage, rows, words]);
  const along = stage === "ppo" || stage === "best_of_n" ? say.iteration : say.step;
  return (
    <section className="stage" aria-label={stageTitle(stage, words)}>
      {error && <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>}
      <Guards rows={run.guards.filter((row) => row.stage === stage)} along={along} />
      {isPending && <p className="note">{words.loading}</p>}
      {rows?.length === 0 && <p className="empty">{say.nothingYet}</p>}
      <Charts charts={main} along={along} />
      {more.length > 0 && (
        <details className="more">
          <summary>{say.more}</summary>
          <Charts charts={more} along={along} />
        </details>
      )}
    </section>
  );
}

function Charts({ charts, along }: { charts: Chart[]; along: string }) {
  const { code } = useWords();
  const digits = new Intl.NumberFormat(code, { maximumSignificantDigits: 3 });
  const small = new Intl.NumberFormat(code, { maximumSignificantDigits: 3, notation: "scientific" });
  const percent = new Intl.NumberFormat(code, { style: "percent", maximumFractionDigits: 1 });
  const say = (value: number) =>
    (value !== 0 && Math.abs(value) < 1e-3 ? small : digits).format(value).replace("-", "−");
  return (
    <div className="charts">
      {charts.map(({ id, title, unit, share, series }) => (
        <LineChart
          key={id}
          title={title}
          unit={unit}
          along={along}
          series={series}
          say={share ? (value) => percent.format(value).replace("-", "−") : say}
        />
      ))}
    </div>
  );
}
