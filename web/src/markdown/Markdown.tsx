// A text with its formatting, as React elements: there is no way from the text to markup.

import type { Token, Tokens } from "marked";
import { memo, type ReactNode } from "react";
import { useWords } from "@/i18n";
import { blocks } from "./blocks";
import { Code } from "./Code";
import { DataTable } from "./DataTable";
import { Inline } from "./Inline";
import { Maths } from "./Maths";
import type { MathsToken } from "./maths_syntax";
import "./markdown.css";

const DEEPEST = 16; // deeper nesting is nobody's meaning

/** `open`: the text still grows, so its last block is not whole yet. */
export const Markdown = memo(function Markdown({ text, open = false }: { text: string; open?: boolean }) {
  return (
    <div className="prose">
      <Blocks tokens={blocks(text)} open={open} depth={0} />
    </div>
  );
});

type Level = { open: boolean; depth: number };

export function Blocks({ tokens, open, depth }: { tokens: Token[] } & Level): ReactNode {
  if (depth > DEEPEST) return tokens.map((token) => token.raw).join("");
  return tokens.map((token, place) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: a block is what stands at its place; text only grows at the end
    <Block key={place} token={token} open={open && place === tokens.length - 1} depth={depth} />
  ));
}

/** Rendered again only when its source changed, so that what is finished costs nothing while the rest is written. */
const Block = memo(
  BlockOf,
  (a, b) => a.token.raw === b.token.raw && a.token.type === b.token.type && a.open === b.open,
);

function BlockOf({ token, open, depth }: { token: Token } & Level): ReactNode {
  switch (token.type) {
    case "paragraph":
      return (
        <p dir="auto">
          <Inline tokens={token.tokens ?? []} />
        </p>
      );
    case "heading": {
      const Heading = `h${Math.min((token as Tokens.Heading).depth + 2, 6)}` as "h3"; // h1 and h2 are the page's
      return (
        <Heading dir="auto">
          <Inline tokens={token.tokens ?? []} />
        </Heading>
      );
    }
    case "code":
      return <Code text={(token as Tokens.Code).text} language={(token as Tokens.Code).lang ?? ""} open={open} />;
    case "maths":
      return <Maths tex={(token as unknown as MathsToken).tex} display />;
    case "blockquote":
      return (
        <blockquote dir="auto">
          <Blocks tokens={token.tokens ?? []} open={open} depth={depth + 1} />
        </blockquote>
      );
    case "list":
      return <List token={token as Tokens.List} open={open} depth={depth} />;
    case "table":
      return <DataTable token={token as Tokens.Table} />;
    case "hr":
      return <hr />;
    case "checkbox":
      return <Checkbox checked={(token as Tokens.Checkbox).checked} />;
    case "text":
      return token.tokens ? <Inline tokens={token.tokens} /> : (token as Tokens.Text).text;
    default:
      return <p dir="auto">{token.raw}</p>;
  }
}

function List({ token, open, depth }: { token: Tokens.List } & Level) {
  const Kind = token.ordered ? "ol" : "ul";
  const first = token.ordered && typeof token.start === "number" ? { start: token.start } : {};
  return (
    <Kind dir="auto" {...first}>
      {token.items.map((item, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: see Blocks
        <Item key={place} item={item} open={open && place === token.items.length - 1} depth={depth} />
      ))}
    </Kind>
  );
}

const Item = memo(
  ({ item, open, depth }: { item: Tokens.ListItem } & Level) => (
    <li>
      <Blocks tokens={item.tokens.filter((token) => token.type !== "space")} open={open} depth={depth + 1} />
    </li>
  ),
  (a, b) => a.item.raw === b.item.raw && a.item.loose === b.item.loose && a.open === b.open,
);

function Checkbox({ checked }: { checked: boolean }) {
  const words = useWords();
  return <input type="checkbox" checked={checked} disabled aria-label={checked ? words.done : words.notDone} />;
}
