// Where formulas begin and end: $...$ and \(...\) within a line, $$...$$ and \[...\] on their own.

import type { TokenizerAndRendererExtension } from "marked";

export type MathsToken = { type: "maths"; raw: string; tex: string; display: boolean };

const BLOCK = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
// As in Pandoc: no space inside the dollars and no digit after them, so that "$5 or $10" is money.
const INLINE =
  /^(?:\$\$([^$\n]+?)\$\$|\\\[([^\n]+?)\\\]|\$(?!\s)((?:\\.|[^\\$\n])+?)(?<!\s)\$(?!\d)|\\\(([^\n]+?)\\\))/;

export const mathsBlock: TokenizerAndRendererExtension = {
  name: "maths",
  level: "block",
  start: (source) => source.match(/\n {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer(source) {
    const found = BLOCK.exec(source);
    const tex = found?.[1] ?? found?.[2];
    return found && tex?.trim() ? { type: "maths", raw: found[0], tex: tex.trim(), display: true } : undefined;
  },
};

export const mathsInline: TokenizerAndRendererExtension = {
  name: "maths",
  level: "inline",
  start: (source) => source.match(/\$|\\[([]/)?.index,
  tokenizer(source) {
    const found = INLINE.exec(source);
    if (!found) return undefined;
    const shown = found[1] ?? found[2];
    const tex = shown ?? found[3] ?? found[4] ?? "";
    return { type: "maths", raw: found[0], tex: tex.trim(), display: shown !== undefined };
  },
};
