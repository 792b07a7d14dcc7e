import { Failure } from "@/api/client";
import { retryNow } from "@/api/events";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { type Held, mayPass, type Progress } from "./steps";

type Props = { progress: Progress<Held<unknown>> };

/** Whether everything on the screen is safe. */
export function Saved({ progress: { saved, failure } }: Props) {
  const say = useWords().labelling;
  return (
    <span className="note saved" role="status">
      {saved ? say.saved : failure === null ? say.saving : say.notSaved}
    </span>
  );
}

/** Why the last step did not come through, and what happens now. */
export function Trouble({ progress: { view, failure }, onNext }: Props & { onNext?: () => void }) {
  const words = useWords();
  const say = words.labelling;
  if (view.state === "expired")
    return <Notice {...(onNext && { action: { label: say.nextOne, onClick: onNext } })}>{say.expired}</Notice>;
  if (failure === null) return null;
  if (failure instanceof Failure && failure.status === 409) return <Notice>{say.elsewhere}</Notice>;
  if (!mayPass(failure)) return <Notice>{sayFailure(failure, words)}</Notice>;
  return (
    <Notice action={{ label: words.tryNow, onClick: retryNow }}>
      {sayFailure(failure, words)} {say.triesAgain}
    </Notice>
  );
}

export function UndoButton({ disabled, onUndo }: { disabled: boolean; onUndo: () => void }) {
  const say = useWords().labelling;
  return (
    <button type="button" className="plain" disabled={disabled} aria-label={say.undo} title={say.undo} onClick={onUndo}>
      <Icon name="undo" />
    </button>
  );
}
