// From numbers to places on a chart, and back.

export type Point = readonly [x: number, y: number];
export type Range = readonly [low: number, high: number];

/** From so many points on a curve is drawn as its running mean over the faint points. */
export const MANY = 24;

/** Round numbers within a range, about `count` of them. */
export function ticks([low, high]: Range, count: number, whole = false): number[] {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough && (!whole || one % 1 === 0));
  const used = Math.max(step ?? 10 * power, whole ? 1 : 0);
  const found: number[] = [];
  for (let place = Math.ceil(low / used - 1e-9); place * used <= high + used * 1e-9; place++) {
    found.push(Number((place * used).toPrecision(12)));
  }
  return found;
}

/** The range of some numbers; one that is flat gets some room. */
export function rangeOf(values: readonly number[]): Range {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (low < high) return [low, high];
  const room = Math.abs(low) / 10 || 1;
  return [low - room, high + room];
}

/** A range with some air on both sides. */
export const airy = ([low, high]: Range): Range => [low - (high - low) * 0.06, high + (high - low) * 0.06];

/** The place of the number in a sorted list that is nearest. */
export function nearest(sorted: readonly number[], wanted: number): number {
  let [low, high] = [0, sorted.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < wanted) low = middle;
    else high = middle;
  }
  const [below, above] = [sorted[low] ?? 0, sorted[high] ?? 0];
  return Math.abs(above - wanted) < Math.abs(wanted - below) ? high : low;
}

/** The mean over about a twelfth of the curve around each point, over fewer points at its ends: as in the report. */
export function runningMean(points: readonly Point[]): Point[] {
  const reach = Math.floor(points.length / MANY);
  const sums = [0];
  for (const [, y] of points) sums.push((sums.at(-1) ?? 0) + y);
  return points.map(([x], place) => {
    const [first, last] = [Math.max(0, place - reach), Math.min(points.length, place + reach + 1)];
    return [x, ((sums[last] ?? 0) - (sums[first] ?? 0)) / (last - first)] as const;
  });
}

/** At most about `most` points that look the same: of each stretch its lowest and its highest. */
export function thinned(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const stretch = Math.ceil((2 * points.length) / most);
  const kept: Point[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const own = points.slice(start, start + stretch);
    const low = own.reduce((best, one) => (one[1] < best[1] ? one : best));
    const high = own.reduce((best, one) => (one[1] > best[1] ? one : best));
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return kept;
}
