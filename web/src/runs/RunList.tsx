import { Link } from "wouter";
import type { RunView } from "@/api/schema";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { useRuns } from "./data";
import { Progress } from "./Progress";
import { moment, placeOf, span } from "./words";

/** All rounds, the last one that did something first. */
export function RunList() {
  const words = useWords();
  const say = words.runs;
  const { data, error, isPending, refetch } = useRuns();
  return (
    <>
      <header>
        <h1>{say.title}</h1>
        <p className="note">{say.about}</p>
      </header>
      {error && <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>}
      {isPending && <p className="note">{words.loading}</p>}
      {data?.length === 0 && (
        <div className="empty">
          <p>{say.none}</p>
          <code>accordant round recipe.toml</code>
        </div>
      )}
      <ul className="run-list">
        {data?.map((run) => (
          <li key={run.name}>
            <Link href={placeOf(run.name)}>
              <span className="first">
                <strong dir="auto">{run.name}</strong>
                <State run={run} />
              </span>
              <span className="note">{whenOf(run)}</span>
              <Dots run={run} />
            </Link>
            {run.progress && <Progress progress={run.progress} />}
          </li>
        ))}
      </ul>
    </>
  );

  function whenOf(run: RunView) {
    const minutes = run.stages.reduce((sum, stage) => sum + (stage.minutes ?? 0), 0);
    const begun = moment(run.state === "running" ? run.began : run.updated, words.code);
    return [begun, minutes > 0 && span(60 * minutes, words.code)].filter(Boolean).join(" · ");
  }
}

export function State({ run }: { run: RunView }) {
  const words = useWords();
  return <span className={`state ${run.state}`}>{words.runs.states[run.state]}</span>;
}

/** A mark for each stage; screen readers are told how many are done. */
function Dots({ run }: { run: RunView }) {
  const words = useWords();
  const done = run.stages.filter(({ state }) => state === "done").length;
  return (
    <span className="dots" role="img" aria-label={words.runs.stagesDone(done, run.stages.length)}>
      {run.stages.map(({ name, state }) => (
        <i key={name} className={state} />
      ))}
    </span>
  );
}
