import { useState } from "react";
import type { AnswerMarks, ReviewDecision, ReviewedWork } from "@/api/schema";
import { useWords, type Words } from "@/i18n";
import { Markdown } from "@/markdown/Markdown";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { Dialogue } from "../Dialogue";
import { useNames, useReviewing } from "../data";
import { Decision } from "./Decision";

type Props = { work: ReviewedWork; onDecide: (decision: ReviewDecision) => Promise<unknown> };

/** Somebody's work, to be reviewed. */
export function WorkItem({ work, onDecide }: Props) {
  const words = useWords();
  const say = words.labelling.review;
  const nameOf = useNames();
  const messages = work.messages ?? work.demonstration?.messages ?? [];
  const time = new Intl.DateTimeFormat(words.code, { dateStyle: "medium", timeStyle: "short" });
  const facts = [
    nameOf(work.user),
    time.format(new Date(work.ended_at ?? work.begun_at)),
    say.took(Math.round(work.seconds)),
    work.repeat > 0 && say.repeated,
    work.comparison?.all_bad && words.labelling.compare.allBad,
    work.agrees && say.agreesWithGold(work.agrees.alike, work.agrees.pairs),
    work.demonstration?.taken?.length && say.taken(work.demonstration.taken.length),
  ];
  return (
    <article className="item" aria-label={say.workBy(nameOf(work.user))}>
      <p className="note">{facts.filter(Boolean).join(" · ")}</p>
      <Dialogue messages={messages} />
      {work.candidates && <Ranked work={work} />}
      {work.comparison?.note && <blockquote dir="auto">{work.comparison.note}</blockquote>}
      <Decision review={work.review} onDecide={onDecide} />
    </article>
  );
}

/** The answers in the order in which they were put, with the models that wrote them. */
function Ranked({ work }: { work: ReviewedWork }) {
  const words = useWords();
  const say = words.labelling.review;
  const { setGold } = useReviewing();
  const [failure, setFailure] = useState<unknown>(null);
  const candidates = work.candidates ?? [];
  const tiers = work.ranking ?? [candidates.map((_, candidate) => candidate)];
  const marksOf = (candidate: number) => work.comparison?.marks?.[work.shown_order.indexOf(candidate)];
  const gold = (ranking: number[][] | null) => work.task && setGold(work.task, ranking).catch(setFailure);
  return (
    <>
      <ol className="ranked">
        {tiers.map((tier, place) => (
          <li key={tier.join()} aria-label={work.ranking ? words.labelling.compare.atPlace(place + 1) : undefined}>
            {tier.map((candidate) => (
              <div key={candidate}>
                <Markdown text={candidates[candidate]?.content ?? ""} />
                <small>
                  {[
                    candidates[candidate]?.model ?? say.byPerson,
                    candidates[candidate]?.sampling && say.temperature(candidates[candidate].sampling.temperature),
                    ...saidOf(marksOf(candidate), words),
                  ]
                    .filter(Boolean)
                    .join(" · ")}
                </small>
              </div>
            ))}
          </li>
        ))}
      </ol>
      {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
      {work.gold ? (
        <button type="button" className="quiet small gold" onClick={() => gold(null)}>
          {say.noGold}
        </button>
      ) : (
        work.ranking && (
          <button type="button" className="quiet small gold" onClick={() => gold(work.ranking)}>
            {say.makeGold}
          </button>
        )
      )}
    </>
  );
}

function saidOf(marks: AnswerMarks | undefined, words: Words): string[] {
  const say = words.labelling.compare;
  const criteria = (["helpful", "truthful", "harmless"] as const).flatMap((criterion) => {
    const said = marks?.[criterion];
    return said === true || said === false ? [`${say.criteria[criterion]}: ${said ? say.yes : say.no}`] : [];
  });
  return [...criteria, ...(marks?.flags ?? []).map((flag) => say.flags[flag])];
}
