import { useId } from "react";
import type { KeyView } from "@/api/schema";
import { useWords } from "@/i18n";
import { LIMITS } from "./limits";

/** What can be said of a key, in a form. */
export function KeyFields({ about }: { about?: KeyView }) {
  const say = useWords().account.keys;
  const help = useId();
  return (
    <>
      <div>
        <label>
          {say.name}
          <input name="name" defaultValue={about?.name} maxLength={100} autoComplete="off" aria-describedby={help} />
        </label>
        <small id={help}>{say.nameHelp}</small>
      </div>
      <fieldset aria-describedby={`${help}-limits`}>
        <legend>{say.limitsTitle}</legend>
        <div className="limits">
          {LIMITS.map((name) => (
            <label key={name}>
              {say.limits[name]}
              <input
                name={name}
                type="number"
                min={1}
                step={1}
                max={1_000_000_000}
                inputMode="numeric"
                defaultValue={about?.limits[name] ?? ""}
              />
            </label>
          ))}
        </div>
        <small id={`${help}-limits`}>{say.limitsHelp}</small>
      </fieldset>
    </>
  );
}
