// Colours for code, loaded when the first whole block of code is shown.

import { common, createLowlight } from "lowlight";

/** A stretch of code, and what it is (classes of highlight.js). */
export type Piece = { text: string; kind: string };

const lowlight = createLowlight(common);

/** The code in pieces; null for a language that is not known. */
export function highlight(text: string, language: string): Piece[] | null {
  if (!lowlight.registered(language.toLowerCase())) return null;
  const pieces: Piece[] = [];
  const walk = (node: { type: string; value?: string; children?: unknown[]; properties?: unknown }, kind: string) => {
    if (node.type === "text") pieces.push({ text: node.value ?? "", kind });
    const names = (node.properties as { className?: string[] } | undefined)?.className;
    for (const child of node.children ?? []) walk(child as typeof node, names?.join(" ") ?? kind);
  };
  walk(lowlight.highlight(language.toLowerCase(), text), "");
  return pieces;
}
