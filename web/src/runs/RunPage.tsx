import { useEffect } from "react";
import { Link } from "wouter";
import { Failure } from "@/api/client";
import type { RunDetail } from "@/api/schema";
import { useWords } from "@/i18n";
import { useAbout } from "@/parts/about";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { isTrained, useRun } from "./data";
import { Gate } from "./Gate";
import { Progress } from "./Progress";
import { Results } from "./Results";
import { State } from "./RunList";
import { Samples } from "./Samples";
import { StageCurves } from "./StageCurves";
import { moment, placeOf, span, stageTitle } from "./words";

type Props = { name: string; wanted: string | null };

/** One round: how far it is, and one of its stages, its results or its samples. */
export function RunPage({ name, wanted }: Props) {
  const words = useWords();
  const say = words.runs;
  const { data: about } = useAbout();
  const { data: run, error, isPending, refetch } = useRun(name);
  useEffect(() => {
    document.title = [name, say.title, about?.title ?? "Accordant"].join(" · ");
  }, [name, say, about]);
  if (isPending) return <p className="note">{words.loading}</p>;
  if (!run) {
    const gone = error instanceof Failure && error.status === 404;
    return (
      <>
        <h1 dir="auto">{name}</h1>
        <Notice {...(!gone && { action: { label: words.retry, onClick: refetch } })}>{sayFailure(error, words)}</Notice>
      </>
    );
  }
  const parts: string[] = [...run.stages.map((stage) => stage.name), "samples"];
  const part = wanted && parts.includes(wanted) ? wanted : partOf(run);
  const minutes = run.stages.reduce((sum, stage) => sum + (stage.minutes ?? 0), 0);
  return (
    <>
      <header className="run-head">
        <h1 dir="auto">{name}</h1>
        <p className="note">
          <State run={run} />
          <span>{moment(run.state === "running" ? run.began : run.updated, words.code)}</span>
          {minutes > 0 && <span>{span(60 * minutes, words.code)}</span>}
        </p>
        {error && <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>}
        {run.why && run.state !== "running" && (
          <p className="why" lang="en">
            {run.why}
          </p>
        )}
        {run.progress && <Progress progress={run.progress} />}
      </header>
      <nav className="parts" aria-label={say.parts}>
        {run.stages.map((stage) => (
          <Part key={stage.name} id={stage.name} state={stage.state} said={say.stageStates[stage.state]} />
        ))}
        <Part id="samples" state="" said="" />
      </nav>
      {isTrained(part) && <StageCurves key={part} run={run} stage={part} />}
      {part === "gate" && <Gate rows={run.gate} />}
      {part === "evaluation" && <Results run={run} />}
      {part === "samples" && <Samples run={run} />}
    </>
  );

  function Part({ id, state, said }: { id: string; state: string; said: string }) {
    const current = id === part;
    const title = id === "samples" ? say.samples : stageTitle(id, words);
    return (
      <Link
        ref={current ? intoView : undefined}
        href={placeOf(name, id)}
        className={current ? "tab current" : "tab"}
        aria-current={current || undefined}
        aria-label={said ? `${title}, ${said}` : undefined}
      >
        {state && <i className={state} aria-hidden="true" />}
        {title}
      </Link>
    );
  }
}

/** On a phone not all parts have room beside each other. */
const intoView = (tab: HTMLElement | null) => {
  const row = tab?.parentElement;
  if (row) row.scrollLeft = tab.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2;
};

/** What is looked at first: where the round is, or was when it ended. */
function partOf(run: RunDetail): string {
  const last = run.stages.find(({ state }) => state === "running" || state === "stopped");
  if (last) return last.name;
  if (run.evaluated) return "evaluation";
  return run.stages.findLast(({ state }) => state === "done")?.name ?? run.stages[0]?.name ?? "samples";
}
