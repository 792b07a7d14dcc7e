import { expect, it } from "vitest";
import { choose, LANGUAGES } from ".";
import { en } from "./en";

/** Every sentence with its place; functions are called with something. */
function sentences(part: unknown, place = ""): [string, string][] {
  if (typeof part === "string") return [[place, part]];
  if (typeof part === "function") return [[place, String(part("7", 7))]];
  return Object.entries(part as object).flatMap(([name, inner]) => sentences(inner, `${place}.${name}`));
}

it("chooses the first language of the browser that the page speaks", () => {
  expect(choose(["fr-FR", "zh-Hant-TW", "en"]).code).toBe("zh");
  expect(choose(["in-ID"]).code).toBe("id"); // what old browsers call Indonesian
  expect(choose(["fr"]).code).toBe("en");
  expect(choose([]).code).toBe("en");
});

it.each(LANGUAGES.map((words) => [words.code, words] as const))(
  "%s says everything in its own words",
  (code, words) => {
    const all = sentences(words);
    expect(all.filter(([, text]) => !text.trim())).toEqual([]);
    expect(all.map(([place]) => place)).toEqual(sentences(en).map(([place]) => place));
    if (code === "en") return;
    const english = new Map(sentences(en));
    const same = all.filter(([place, text]) => english.get(place) === text && place !== ".code");
    expect(same).toEqual([]);
  },
);
