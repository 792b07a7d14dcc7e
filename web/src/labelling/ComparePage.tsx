import { Link } from "wouter";
import { Failure } from "@/api/client";
import type { ComparisonView } from "@/api/schema";
import { useWords } from "@/i18n";
import { useAnnounce } from "@/parts/Announcer";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { Comparison } from "./Comparison";
import { useHandedIn, useNextComparison, useWorkChanged } from "./data";

/** One ranking after the other. */
export function ComparePage() {
  const words = useWords();
  const say = words.labelling.compare;
  const announce = useAnnounce();
  const handedIn = useHandedIn("comparison");
  const changed = useWorkChanged();
  const { data, error, isFetching, refetch } = useNextComparison();
  const over = (state: ComparisonView["state"]) => {
    if (state === "submitted") announce(words.labelling.handedIn);
    changed();
    refetch();
  };
  if (isFetching) {
    return (
      <main className="between">
        <span className="pulse" />
        <p role="status">{say.sampling}</p>
        <p className="note">{say.doneSoFar(handedIn)}</p>
      </main>
    );
  }
  if (error instanceof Failure && error.status === 404) {
    return (
      <main className="between">
        <h1>{say.empty}</h1>
        <p>{say.emptyWhy}</p>
        <p className="note">{say.doneSoFar(handedIn)}</p>
        <div className="choices">
          <Link href="/label/write" className="plain">
            {say.writeInstead}
          </Link>
          <button type="button" className="main" onClick={() => refetch()}>
            {say.lookAgain}
          </button>
        </div>
      </main>
    );
  }
  if (error || !data) {
    return (
      <main className="between">
        <Notice action={{ label: words.retry, onClick: () => refetch() }}>{sayFailure(error, words)}</Notice>
      </main>
    );
  }
  return <Comparison key={data.id} work={data} onOver={over} />;
}
