// The limits of a key, as a form has them and as a line of text.

import type { Limits } from "@/api/schema";
import type { Words } from "@/i18n";

export const LIMITS = ["requests_per_minute", "tokens_per_minute", "tokens_per_day", "concurrency"] as const;

/** What was filled in; empty fields are no limits. */
export function limitsOf(given: FormData): Limits {
  const filled = LIMITS.filter((name) => given.get(name));
  return Object.fromEntries(filled.map((name) => [name, Number(given.get(name))]));
}

export function sayLimits(limits: Limits, words: Words): string {
  const say = words.account.keys;
  const number = new Intl.NumberFormat(words.code);
  const said = LIMITS.flatMap((name) => {
    const most = limits[name];
    return most ? [`${say.limits[name]}: ${number.format(most)}`] : [];
  });
  return said.join(" · ") || say.unlimited;
}
