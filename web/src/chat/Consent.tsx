import { useId } from "react";
import { useWords } from "@/i18n";

/** Whether this conversation may teach the model; off until its owner says so. */
export function Consent({ given, onChange }: { given: boolean; onChange: (given: boolean) => void }) {
  const words = useWords();
  const help = useId();
  return (
    <label className="consent" title={words.consentHelp}>
      <input
        type="checkbox"
        role="switch"
        checked={given}
        aria-checked={given}
        aria-describedby={help}
        onChange={(event) => onChange(event.target.checked)}
      />
      {words.consent}
      <span id={help} className="unseen">
        {words.consentHelp}
      </span>
    </label>
  );
}
