import { useState } from "react";
import { useWords } from "@/i18n";
import { Markdown } from "@/markdown/Markdown";
import { Dialog } from "@/parts/Dialog";
import { useGuidelines } from "./data";
import { isWide } from "./isWide";

type Kind = "comparisons" | "demonstrations";

function Text({ kind }: { kind: Kind }) {
  const { data } = useGuidelines();
  return <Markdown text={(data?.[kind] ?? "").replace(/^# .*\n+/, "")} />;
}

/** How to do the work, to look at for a moment. */
export function GuidelinesButton({ kind }: { kind: Kind }) {
  const words = useWords();
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" className="quiet small" onClick={() => setOpen(true)}>
        {words.labelling.guidelines}
      </button>
      {open && (
        <Dialog title={words.labelling.guidelines} onClose={() => setOpen(false)}>
          <div className="guidelines">
            <Text kind={kind} />
          </div>
          <div className="choices">
            <button type="button" className="main" onClick={() => setOpen(false)}>
              {words.close}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** How to do the work, beside it; on a phone closed until it is wanted. */
export function GuidelinesBeside({ kind }: { kind: Kind }) {
  const words = useWords();
  return (
    <details className="guidelines beside" open={isWide()}>
      <summary>{words.labelling.guidelines}</summary>
      <Text kind={kind} />
    </details>
  );
}
