import type { ReviewDecision, ReviewedFeedback } from "@/api/schema";
import { useWords, type Words } from "@/i18n";
import { Dialogue } from "../Dialogue";
import { useNames } from "../data";
import { Decision } from "./Decision";

type Props = { feedback: ReviewedFeedback; onDecide: (decision: ReviewDecision) => Promise<unknown> };

/** What a user said of a message, to be reviewed. */
export function FeedbackItem({ feedback, onDecide }: Props) {
  const words = useWords();
  const say = words.labelling.review;
  const nameOf = useNames();
  const { said } = feedback;
  const time = new Intl.DateTimeFormat(words.code, { dateStyle: "medium", timeStyle: "short" });
  return (
    <article className="item" aria-label={say.workBy(nameOf(feedback.user))}>
      <p className="note">
        {nameOf(feedback.user)} · {time.format(new Date(feedback.updated_at))}
      </p>
      {feedback.content === null ? (
        <p className="note">{say.noConsent}</p>
      ) : (
        <Dialogue messages={[{ role: feedback.role, content: feedback.content }]} />
      )}
      <p>
        <strong>{summary(feedback, words)}</strong>
      </p>
      {"note" in said && said.note && <blockquote dir="auto">{said.note}</blockquote>}
      {said.kind === "rating" && said.ideal && feedback.consent && (
        <section>
          <h3>{words.feedback.idealTitle}</h3>
          <Dialogue messages={[{ role: "assistant", content: said.ideal }]} />
        </section>
      )}
      <Decision review={feedback.review} onDecide={onDecide} />
    </article>
  );
}

function summary({ said, message }: ReviewedFeedback, words: Words): string {
  const say = words.feedback;
  switch (said.kind) {
    case "rating":
      return [said.thumb ? say.thumbs[said.thumb] : "", ...(said.reasons ?? []).map((reason) => say.reasons[reason])]
        .filter(Boolean)
        .join(" · ");
    case "report": {
      const categories = (said.categories ?? []).map((category) => words.categories[category]);
      return [said.fault === "false_positive" ? say.wrong : say.missed, ...categories].join(" · ");
    }
    case "choice": {
      if (said.preferred === "tie") return say.comparedAs.same;
      if (said.preferred === "neither") return say.comparedAs.bothBad;
      return said[said.preferred] === message ? say.comparedAs.better : say.comparedAs.worse;
    }
  }
}
