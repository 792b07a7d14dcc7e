import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { useOwnLimits } from "./data";

/** What the account may do at most, and what is left of it now. */
export function OwnLimits() {
  const words = useWords();
  const say = words.account.usage;
  const { data, error, refetch } = useOwnLimits();
  const number = new Intl.NumberFormat(words.code);
  return (
    <section aria-labelledby="limits" className="own-limits">
      <h2 id="limits">{say.limits}</h2>
      {error && <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>}
      {data?.length === 0 && <p className="note">{say.noLimits}</p>}
      {data && data.length > 0 && (
        <ul>
          {data.map(({ name, most, left }) => (
            <li key={name}>
              <span id={`limit-${name}`}>{words.account.keys.limits[name]}</span>
              <span>{say.left(number.format(left), number.format(most))}</span>
              <meter aria-labelledby={`limit-${name}`} min={0} max={most} value={left} />
            </li>
          ))}
        </ul>
      )}
      {data?.some(({ name }) => name === "tokens_per_day") && <p className="note">{say.midnight}</p>}
    </section>
  );
}
