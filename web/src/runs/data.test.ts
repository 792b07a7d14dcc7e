import { expect, it } from "vitest";
import { grown } from "./data";

it("keeps what was read and adds what is new", () => {
  const first = grown(undefined, { rows: [1, 2], place: "a", anew: true });
  expect(first).toMatchObject({ rows: [1, 2], place: "a" });
  expect(grown(first, { rows: [3], place: "b", anew: false })).toEqual({ rows: [1, 2, 3], place: "b" });
  expect(grown(first, { rows: [], place: "a", anew: false }).rows).toBe(first.rows); // nothing is drawn again
});

it("forgets what was read when a round went back", () => {
  const first = grown(undefined, { rows: [1, 2, 3], place: "a", anew: true });
  expect(grown(first, { rows: [1, 9], place: "c", anew: true })).toMatchObject({ rows: [1, 9], place: "c" });
});
