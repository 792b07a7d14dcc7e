import { type ReactNode, useState } from "react";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { DayChart } from "./DayChart";
import { useEverybodysUsage, useOwnUsage } from "./data";
import { byDay, sum } from "./days";
import { UsageTable } from "./UsageTable";

const PERIODS = [7, 31, 90];

/** What oneself and one's keys used: in sum, by day, and each counter. */
export function OwnUsage() {
  const words = useWords();
  const say = words.account.usage;
  const [days, setDays] = useState(31);
  const { data, error, refetch } = useOwnUsage(days);
  const number = new Intl.NumberFormat(words.code);
  const day = new Intl.DateTimeFormat(words.code, { day: "numeric", month: "short", timeZone: "UTC" });
  const all = sum(data ?? []);
  return (
    <UsageSection id="usage" title={say.title} days={days} onDays={setDays} error={error} onRetry={refetch}>
      {data?.length === 0 && <p className="empty">{say.none}</p>}
      {data && data.length > 0 && (
        <>
          <dl className="totals">
            <Total label={say.requests} value={number.format(all.requests)} />
            <Total label={say.prompt} value={number.format(all.prompt_tokens)} kind="read" />
            <Total label={say.answer} value={number.format(all.answer_tokens)} kind="written" />
          </dl>
          <DayChart days={byDay(data, days, new Date())} />
          <UsageTable
            title={say.title}
            columns={[say.day, say.by]}
            rows={data.map((row) => ({
              ...row,
              id: [row.day, row.key, row.model].join(),
              cells: [
                day.format(new Date(row.day)),
                <Named
                  key="by"
                  name={row.key ? row.key_name || words.account.keys.unnamed : say.withoutKey}
                  model={row.model}
                />,
              ],
            }))}
          />
        </>
      )}
    </UsageSection>
  );
}

/** What everybody used, for admins. */
export function EverybodysUsage() {
  const words = useWords();
  const say = words.account.usage;
  const [days, setDays] = useState(31);
  const { data, error, refetch } = useEverybodysUsage(days);
  const day = new Intl.DateTimeFormat(words.code, { day: "numeric", month: "short", timeZone: "UTC" });
  return (
    <UsageSection id="everybody" title={say.everybody} days={days} onDays={setDays} error={error} onRetry={refetch}>
      {data?.length === 0 && <p className="empty">{say.none}</p>}
      {data && data.length > 0 && (
        <UsageTable
          title={say.everybody}
          columns={[say.lastDay, say.person]}
          rows={data.map((row) => ({
            ...row,
            id: [row.user, row.model].join(),
            cells: [day.format(new Date(row.last_day)), <Named key="person" name={row.user_name} model={row.model} />],
          }))}
        />
      )}
    </UsageSection>
  );
}

type SectionProps = {
  id: string;
  title: string;
  days: number;
  onDays: (days: number) => void;
  error: Error | null;
  onRetry: () => void;
  children: ReactNode;
};

function UsageSection({ id, title, days, onDays, error, onRetry, children }: SectionProps) {
  const words = useWords();
  const say = words.account.usage;
  const number = new Intl.NumberFormat(words.code);
  return (
    <section aria-labelledby={id}>
      <div className="heading">
        <h2 id={id}>{title}</h2>
        <select
          className="choice"
          aria-label={`${title}: ${say.period}`}
          value={days}
          onChange={(event) => onDays(Number(event.target.value))}
        >
          {PERIODS.map((count) => (
            <option key={count} value={count}>
              {say.days(number.format(count))}
            </option>
          ))}
        </select>
      </div>
      {error && <Notice action={{ label: words.retry, onClick: onRetry }}>{sayFailure(error, words)}</Notice>}
      {children}
    </section>
  );
}

/** A sum; those of tokens say which colour they have in the chart. */
const Total = ({ label, value, kind }: { label: string; value: string; kind?: "read" | "written" }) => (
  <div>
    <dt className={kind && `part ${kind}`}>{label}</dt>
    <dd>{value}</dd>
  </div>
);

const Named = ({ name, model }: { name: string; model: string }) => (
  <>
    <span dir="auto">{name}</span>
    <small>{model}</small>
  </>
);
