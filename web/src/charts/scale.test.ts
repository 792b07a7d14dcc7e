import { expect, it } from "vitest";
import { nearest, type Point, rangeOf, runningMean, thinned, ticks } from "./scale";

it("has round numbers within the range", () => {
  expect(ticks([0, 1], 4)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(ticks([-0.74, -0.41], 4)).toEqual([-0.7, -0.6, -0.5]);
  expect(ticks([1, 159], 4)).toEqual([50, 100, 150]);
  expect(ticks([1, 3], 5, true)).toEqual([1, 2, 3]);
  expect(ticks([1, 12], 5, true)).toEqual([5, 10]);
  expect(ticks([2e-7, 9e-7], 4)).toEqual([2e-7, 4e-7, 6e-7, 8e-7]);
  expect(ticks([5, 5], 4)).toEqual([5]);
});

it("makes room where nothing changes, and knows nothing of nothing", () => {
  expect(rangeOf([3, 1, 2])).toEqual([1, 3]);
  expect(rangeOf([2])).toEqual([1.8, 2.2]);
  expect(rangeOf([0, 0])).toEqual([-1, 1]);
  expect(rangeOf([])).toEqual([0, 1]);
});

it("finds what is nearest", () => {
  const steps = [1, 5, 6, 20];
  expect([-3, 1, 2.9, 3.1, 5.6, 12, 14, 99].map((wanted) => steps[nearest(steps, wanted)])).toEqual([
    1, 1, 1, 5, 6, 6, 20, 20,
  ]);
});

it("means over what is around a point", () => {
  const points = Array.from({ length: 48 }, (_, x): Point => [x, x % 7]);
  const mean = (places: number[]) => places.reduce((sum, place) => sum + (place % 7), 0) / places.length;
  const found = runningMean(points); // two to each side
  expect(found[0]?.[1]).toBeCloseTo(mean([0, 1, 2]));
  expect(found[20]?.[1]).toBeCloseTo(mean([18, 19, 20, 21, 22]));
  expect(found[47]?.[1]).toBeCloseTo(mean([45, 46, 47]));
  expect(found.map(([x]) => x)).toEqual(points.map(([x]) => x));
});

it("leaves out only what cannot be seen: every peak stays, in its order", () => {
  const points = Array.from({ length: 10_000 }, (_, x): Point => [x, x === 7_321 ? 90 : x === 44 ? -90 : Math.sin(x)]);
  const kept = thinned(points, 600);
  expect(kept.length).toBeLessThanOrEqual(602);
  expect(kept).toContainEqual([7_321, 90]);
  expect(kept).toContainEqual([44, -90]);
  expect(kept.map(([x]) => x)).toEqual(kept.map(([x]) => x).sort((a, b) => a - b));
  expect(thinned(points.slice(0, 600), 600)).toHaveLength(600);
});
