// Usage as the chart shows it: one entry for each day, those without any use too.

import type { UsageDay } from "@/api/schema";

type Used = Pick<UsageDay, "requests" | "prompt_tokens" | "answer_tokens">;
export type Day = Used & { day: string };

/** What all rows used together. */
export function sum(rows: readonly Used[]): Used {
  const add = (name: keyof Used) => rows.reduce((all, row) => all + row[name], 0);
  return { requests: add("requests"), prompt_tokens: add("prompt_tokens"), answer_tokens: add("answer_tokens") };
}

export const tokens = (used: Used) => used.prompt_tokens + used.answer_tokens;

/** So many days (UTC), the oldest first and `now` in the last. */
export function byDay(rows: readonly UsageDay[], count: number, now: Date): Day[] {
  return Array.from({ length: count }, (_, place) => {
    const date = new Date(now);
    date.setUTCDate(now.getUTCDate() - (count - 1 - place));
    const day = date.toISOString().slice(0, 10);
    return { day, ...sum(rows.filter((row) => row.day === day)) };
  });
}

/** The next number of 1, 2 or 5 with zeros: where an axis may end. */
export function ceiling(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return ([1, 2, 5].find((factor) => factor * power >= most) ?? 10) * power;
}
