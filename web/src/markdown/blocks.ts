// From Markdown to its blocks. Nothing here makes markup: what the blocks become is decided by components.

import { Marked, type Token } from "marked";
import { mathsBlock, mathsInline } from "./maths_syntax";

const marked = new Marked({ gfm: true, breaks: true });
marked.use({ extensions: [mathsBlock] }, { extensions: [mathsInline] });

/** The blocks of a text in order; text that cannot be taken apart is one block of plain words. */
export function blocks(text: string): Token[] {
  try {
    return marked.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
  } catch {
    return [{ type: "text", raw: text, text }];
  }
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** Text as it reads: `&lt;` is a character, and stays one. */
export function decoded(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,4}));/gi, (all, decimal, hex, name) => {
    if (name) return NAMED[name.toLowerCase()] ?? all;
    const point = Number.parseInt(decimal ?? hex, decimal ? 10 : 16);
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : "\ufffd";
  });
}

/** An address that a link may lead to; anything but the web and mail is none. */
export function safeAddress(address: string): string | null {
  return /^(?:https?:\/\/|mailto:)[^\s]+$/i.test(address) ? address : null;
}
