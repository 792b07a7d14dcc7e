import type { GuardRow } from "@/api/schema";
import { useWords } from "@/i18n";

const AT_FIRST = 3;

/** What guards said of a stage and did about it, the newest first. */
export function Guards({ rows, along }: { rows: GuardRow[]; along: string }) {
  const say = useWords().runs;
  if (rows.length === 0) return null;
  const newest = rows.toReversed();
  const item = (row: GuardRow) => (
    <li key={`${row.step} ${row.done} ${row.line}`} lang="en">
      <strong>
        {along} {row.step + 1}
      </strong>{" "}
      {row.done}: {row.line}
    </li>
  );
  return (
    <section className="guards notice filter" aria-label={say.guards}>
      <h2>{say.guardsSaid(rows.length)}</h2>
      <ul>{newest.slice(0, AT_FIRST).map(item)}</ul>
      {rows.length > AT_FIRST && (
        <details>
          <summary>{say.earlier}</summary>
          <ul>{newest.slice(AT_FIRST).map(item)}</ul>
        </details>
      )}
    </section>
  );
}
