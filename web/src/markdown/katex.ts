// Formulas, loaded when the first one is shown. KaTeX builds nodes and sets their styles one by one, which the page's
// policy allows; its HTML text, with styles in attributes, it would not.

import katex from "katex";
import "katex/dist/katex.min.css";

/** Draw a formula in place of its source; what KaTeX cannot read stays as it was written. */
export function draw(tex: string, place: HTMLElement, displayMode: boolean) {
  const drawn = document.createElement("span");
  try {
    katex.render(tex, drawn, { displayMode, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20 });
  } catch {
    return;
  }
  place.replaceChildren(drawn);
}
