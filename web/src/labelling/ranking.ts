// A ranking as it is made: each answer (by where it is shown) stands at a place, or nowhere yet.

/** Place of each answer, 0 the best; null: not ranked yet. Answers at the same place are tied. */
export type Places = readonly (number | null)[];
export type Tiers = readonly (readonly number[])[];

/** Answers by place, the best first, without the places where nothing stands. */
export function tiersOf(places: Places): number[][] {
  const all = places.map((_, place) => places.flatMap((at, answer) => (at === place ? [answer] : [])));
  return all.filter((tier) => tier.length > 0);
}

export function placesOf(tiers: Tiers, count: number): Places {
  return Array.from({ length: count }, (_, answer) => {
    const place = tiers.findIndex((tier) => tier.includes(answer));
    return place < 0 ? null : place;
  });
}

/** One place up (-1) or down (1); what is not ranked comes in at the last place. */
export function moved(place: number | null, by: 1 | -1, count: number): number {
  if (place === null) return count - 1;
  return Math.min(Math.max(place + by, 0), count - 1);
}

export function sameTiers(one: Tiers, other: Tiers): boolean {
  const plain = (tiers: Tiers) => JSON.stringify(tiers.map((tier) => [...tier].sort((a, b) => a - b)));
  return plain(one) === plain(other);
}

/** What an answer is called on the page. */
export const letter = (answer: number) => String.fromCharCode(65 + answer);
