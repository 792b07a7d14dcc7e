import { useState } from "react";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { Pill } from "@/parts/Pill";

/** Leave it to others, and say why. */
export function SkipButton({ disabled, onSkip }: { disabled: boolean; onSkip: (reason: string) => void }) {
  const say = useWords().labelling.skip;
  const [asking, setAsking] = useState(false);
  return (
    <>
      <button type="button" className="plain" disabled={disabled} onClick={() => setAsking(true)}>
        {say.verb}
      </button>
      {asking && (
        <Asking
          title={say.title}
          verb={say.verb}
          onClose={() => setAsking(false)}
          onDo={async (given) => {
            const said = [given.get("reason"), given.get("more")].map((one) => String(one ?? "").trim());
            onSkip(said.filter(Boolean).join(": "));
          }}
        >
          <div className="pills">
            {say.reasons.map((reason) => (
              <Pill key={reason} type="radio" name="reason" value={reason} required>
                {reason}
              </Pill>
            ))}
          </div>
          <label>
            {say.more}
            <textarea name="more" rows={2} dir="auto" maxLength={2000} />
          </label>
        </Asking>
      )}
    </>
  );
}
