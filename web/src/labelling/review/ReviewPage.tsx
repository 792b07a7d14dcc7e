import { useState } from "react";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { type Standing, useReviewedFeedback, useReviewedWork, useReviewing } from "../data";
import { FeedbackItem } from "./FeedbackItem";
import { Quality } from "./Quality";
import { WorkItem } from "./WorkItem";

const KINDS = ["comparison", "demonstration", "feedback"] as const;
const STANDINGS: readonly Standing[] = ["open", "accepted", "rejected"];

/** What was handed in and said, to be accepted or rejected, and how well people agree. */
export function ReviewPage() {
  const say = useWords().labelling.review;
  const [kind, setKind] = useState<(typeof KINDS)[number]>("comparison");
  const [standing, setStanding] = useState<Standing>("open");
  return (
    <main className="reviewing">
      <h1>{say.title}</h1>
      <Quality />
      <div className="filters">
        <Choice label={say.kind} values={KINDS} chosen={kind} names={say.kinds} onChoose={setKind} />
        <Choice
          label={say.standing}
          values={STANDINGS}
          chosen={standing}
          names={say.standings}
          onChoose={setStanding}
        />
      </div>
      {kind === "feedback" ? <FeedbackItems standing={standing} /> : <Works kind={kind} standing={standing} />}
    </main>
  );
}

type ChoiceProps<Value extends string> = {
  label: string;
  values: readonly Value[];
  chosen: Value;
  names: Record<Value, string>;
  onChoose: (value: Value) => void;
};

function Choice<Value extends string>({ label, values, chosen, names, onChoose }: ChoiceProps<Value>) {
  return (
    <fieldset className="pills">
      <legend className="unseen">{label}</legend>
      {values.map((value) => (
        <button
          key={value}
          type="button"
          className="plain small"
          aria-pressed={value === chosen}
          onClick={() => onChoose(value)}
        >
          {names[value]}
        </button>
      ))}
    </fieldset>
  );
}

function Works({ kind, standing }: { kind: "comparison" | "demonstration"; standing: Standing }) {
  const found = useReviewedWork(kind, standing);
  const { reviewWork } = useReviewing();
  const works = found.data?.pages.flatMap((page) => page.works) ?? [];
  return (
    <Pages found={found} empty={works.length === 0}>
      {works.map((work) => (
        <WorkItem key={work.id} work={work} onDecide={(decision) => reviewWork(work.id, decision)} />
      ))}
    </Pages>
  );
}

function FeedbackItems({ standing }: { standing: Standing }) {
  const found = useReviewedFeedback(standing);
  const { reviewFeedback } = useReviewing();
  const all = found.data?.pages.flatMap((page) => page.feedback) ?? [];
  return (
    <Pages found={found} empty={all.length === 0}>
      {all.map((one) => (
        <FeedbackItem key={one.id} feedback={one} onDecide={(decision) => reviewFeedback(one.id, decision)} />
      ))}
    </Pages>
  );
}

type PagesProps = {
  found: {
    error: Error | null;
    isPending: boolean;
    hasNextPage: boolean;
    isFetchingNextPage: boolean;
    fetchNextPage: () => unknown;
    refetch: () => unknown;
  };
  empty: boolean;
  children: React.ReactNode;
};

function Pages({ found, empty, children }: PagesProps) {
  const words = useWords();
  if (found.error)
    return <Notice action={{ label: words.retry, onClick: found.refetch }}>{sayFailure(found.error, words)}</Notice>;
  if (found.isPending) return <p className="note">{words.loading}</p>;
  if (empty) return <p className="note nothing">{words.labelling.review.nothing}</p>;
  return (
    <>
      {children}
      {found.hasNextPage && (
        <button type="button" className="plain" disabled={found.isFetchingNextPage} onClick={found.fetchNextPage}>
          {words.labelling.review.older}
        </button>
      )}
    </>
  );
}
