import type { Tokens } from "marked";
import { memo } from "react";
import { useWords } from "@/i18n";
import { Inline } from "./Inline";

/** A table that scrolls by itself where it is too wide. */
export function DataTable({ token }: { token: Tokens.Table }) {
  const words = useWords();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="table" aria-label={words.table} tabIndex={0}>
      <table>
        <thead>
          <Row cells={token.header} />
        </thead>
        <tbody>
          {token.rows.map((cells, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows only grow at the end
            <Row key={place} cells={cells} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

const source = (cells: Tokens.TableCell[]) => cells.map((cell) => `${cell.align} ${cell.text}`).join("\n");

const Row = memo(
  ({ cells }: { cells: Tokens.TableCell[] }) => (
    <tr>
      {cells.map((cell, place) => {
        const Cell = cell.header ? "th" : "td";
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a cell is its column
          <Cell key={place} className={cell.align ?? undefined} dir="auto">
            <Inline tokens={cell.tokens} />
          </Cell>
        );
      })}
    </tr>
  ),
  (a, b) => source(a.cells) === source(b.cells),
);
