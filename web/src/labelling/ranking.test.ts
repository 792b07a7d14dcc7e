import { expect, it } from "vitest";
import { moved, placesOf, sameTiers, tiersOf } from "./ranking";

it("gives tiers without gaps, best first, and reads them back in the same order", () => {
  expect(tiersOf([3, null, 0, 3])).toEqual([[2], [0, 3]]);
  expect(placesOf([[2], [0, 3]], 4)).toEqual([1, null, 0, 1]);
  for (const places of [[], [null, null], [0, 0, 0], [2, 1, 0], [3, 3, null, 1]]) {
    const tiers = tiersOf(places);
    expect(tiersOf(placesOf(tiers, places.length))).toEqual(tiers);
  }
});

it("moves by one place and never off the board", () => {
  expect(moved(null, -1, 4)).toBe(3);
  expect(moved(null, 1, 4)).toBe(3);
  expect(moved(3, 1, 4)).toBe(3);
  expect(moved(3, -1, 4)).toBe(2);
  expect(moved(0, -1, 4)).toBe(0);
});

it("takes ties for the same in any order, but not tiers", () => {
  expect(sameTiers([[0, 1], [2]], [[1, 0], [2]])).toBe(true);
  expect(sameTiers([[0], [1]], [[1], [0]])).toBe(false);
});
