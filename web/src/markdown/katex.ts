// Formulas, loaded when the first one is shown. KaTeX builds nodes and sets their styles one by one, which the page's
// policy allows; its HTML text, with styles in attributes, it would not.

import katex from "katex";
import "katex/dist/katex.min.css";

export function draw(tex: string, place: HTMLElement, displayMode: boolean) {
  katex.render(tex, place, {
    displayMode,
    throwOnError: false,
    trust: false,
    strict: "ignore",
    maxExpand: 200,
    maxSize: 20,
  });
}
