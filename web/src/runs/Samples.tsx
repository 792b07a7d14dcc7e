import { useMemo, useState } from "react";
import type { EvaluationView, RunDetail } from "@/api/schema";
import "@/charts/charts.css";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { useEvaluation, useSamples } from "./data";
import { byPrompt } from "./prompts";
import { figure, stageTitle, systemTitle } from "./words";

const AT_FIRST = 12;

/** The same prompts answered by each system, and answers that stages sampled on their way. */
export function Samples({ run }: { run: RunDetail }) {
  const words = useWords();
  const say = words.runs;
  const evaluation = useEvaluation(run.name, run.evaluated);
  const sampled = useSamples(run.name, run.state === "running");
  const error = evaluation.error ?? sampled.error;
  const rows = sampled.data?.rows ?? [];
  const empty = rows.length === 0 && !run.evaluated && !sampled.isPending;
  return (
    <div className="samples">
      {error && (
        <Notice
          action={{
            label: words.retry,
            onClick: () => [evaluation, sampled].forEach((one) => void (one.error && one.refetch())),
          }}
        >
          {sayFailure(error, words)}
        </Notice>
      )}
      {empty && <p className="empty">{say.noSamples}</p>}
      {evaluation.data && evaluation.data.samples.length > 0 && <SideBySide data={evaluation.data} />}
      {rows.length > 0 && <OnTheWay rows={rows} />}
    </div>
  );
}

/** One prompt, and under it what each system answered. */
function SideBySide({ data }: { data: EvaluationView }) {
  const words = useWords();
  const say = words.runs;
  return (
    <section aria-labelledby="side-by-side">
      <h2 id="side-by-side">{say.sideBySide}</h2>
      <p className="note">{say.sideBySideHelp}</p>
      {data.samples.map((sample) => (
        <article key={sample.id} className="sample">
          {sample.messages.map((message, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a message is its place
            <p key={place} className={`prompt as-is ${message.role}`} dir="auto">
              {message.content}
            </p>
          ))}
          <div className="answers-of">
            {data.systems.map((system, place) => {
              const answer = sample.answers[system];
              if (!answer) return null;
              return (
                <div key={system} className={`answer-of s${place % 6}`}>
                  <p className="by">
                    <i className="dot sparse" aria-hidden="true" />
                    {systemTitle(system, words)}
                    <span title={say.figures.reward}>{figure(answer.reward, "points", words.code)}</span>
                  </p>
                  <p className="as-is" dir="auto">
                    {answer.text || <em>{say.emptyAnswer}</em>}
                    {!answer.ended && <small className="cut">{say.cut}</small>}
                  </p>
                </div>
              );
            })}
          </div>
        </article>
      ))}
    </section>
  );
}

type Sampled = { stage: string; step: number; prompt: string; answer: string };

/** Answers as the policy changed; those to the same prompt stand together, in their order. */
function OnTheWay({ rows }: { rows: readonly Sampled[] }) {
  const words = useWords();
  const say = words.runs;
  const [whole, setWhole] = useState(false);
  const prompts = useMemo(() => byPrompt(rows), [rows]);
  return (
    <section aria-labelledby="on-the-way">
      <h2 id="on-the-way">{say.onTheWay}</h2>
      <p className="note">{say.onTheWayHelp}</p>
      {(whole ? prompts : prompts.slice(0, AT_FIRST)).map(({ prompt, answers }) => (
        <article key={prompt} className="sample">
          <p className="prompt as-is" dir="auto">
            {prompt}
          </p>
          <div className="answers-of">
            {answers.map(({ stage, step, answer }) => (
              <div key={`${stage} ${step}`} className="answer-of s3">
                <p className="by">
                  {stageTitle(stage, words)} <span>{say.atIteration(step + 1)}</span>
                </p>
                <p className="as-is" dir="auto">
                  {answer || <em>{say.emptyAnswer}</em>}
                </p>
              </div>
            ))}
          </div>
        </article>
      ))}
      {!whole && prompts.length > AT_FIRST && (
        <button type="button" className="quiet small" onClick={() => setWhole(true)}>
          {say.earlier}
        </button>
      )}
    </section>
  );
}
