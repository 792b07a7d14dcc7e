import { useState } from "react";
import type { ReviewDecision, ReviewView } from "@/api/schema";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { useNames } from "../data";

type Props = { review: ReviewView; onDecide: (decision: ReviewDecision) => Promise<unknown> };

/** Accept, reject with a reason, or take that back. */
export function Decision({ review, onDecide }: Props) {
  const words = useWords();
  const say = words.labelling.review;
  const nameOf = useNames();
  const [rejecting, setRejecting] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const decide = (decision: ReviewDecision) => {
    setFailure(null);
    onDecide(decision).catch(setFailure);
  };
  return (
    <div className="decision">
      {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
      {review.review === "open" ? (
        <>
          <button type="button" className="plain" onClick={() => setRejecting(true)}>
            {say.reject}
          </button>
          <button type="button" className="main" onClick={() => decide({ review: "accepted" })}>
            {say.accept}
          </button>
        </>
      ) : (
        <>
          <p className="note">
            {say.decided[review.review](nameOf(review.reviewer ?? ""))} {review.reason}
          </p>
          <button type="button" className="plain" onClick={() => decide({ review: "open" })}>
            {words.feedback.takeBack}
          </button>
        </>
      )}
      {rejecting && (
        <Asking
          title={say.rejectTitle}
          verb={say.reject}
          danger
          onClose={() => setRejecting(false)}
          onDo={(given) => onDecide({ review: "rejected", reason: String(given.get("reason")).trim() })}
        >
          <label>
            {say.reason}
            <textarea name="reason" rows={3} dir="auto" maxLength={4000} required />
          </label>
        </Asking>
      )}
    </div>
  );
}
