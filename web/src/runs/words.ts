// How figures, times and names of runs are written.

import type { Measure } from "@/api/schema";
import type { Words } from "@/i18n";

/** The same in every language. */
const METHODS: Readonly<Record<string, string>> = { sft: "SFT", ppo: "PPO", dpo: "DPO" };

export function stageTitle(stage: string, words: Words): string {
  const own: Readonly<Record<string, string>> = words.runs.stages;
  return METHODS[stage] ?? own[stage] ?? stage;
}

/** What a system of the evaluation is called; methods have the same name in every language. */
export function systemTitle(name: string, { runs: say }: Words): string {
  const [, count] = /^best of (\d+)$/.exec(name) ?? [];
  return name === "base" ? say.base : count ? say.bestOf(count) : name;
}

/** Where a run is written up, or a part of it. */
export const placeOf = (run: string, part = "") => `/runs/${encodeURIComponent(run)}${part && `/${part}`}`;

/** The run that an address of `placeOf` names; the router has decoded a part of it already, so it is not asked. */
export function runOf(path: string): string {
  const name = path.split("/")[2] ?? "";
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // written by hand
  }
}

/** "2 min", "40 sec", "1 hr 5 min", in the reader's words. */
export function span(seconds: number, code: string): string {
  const say = (value: number, unit: string) =>
    new Intl.NumberFormat(code, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 }).format(value);
  if (seconds < 59.5) return say(Math.round(seconds), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return say(minutes, "minute");
  return `${say(Math.floor(minutes / 60), "hour")} ${say(minutes % 60, "minute")}`;
}

export const moment = (when: string, code: string) =>
  new Intl.DateTimeFormat(code, { dateStyle: "medium", timeStyle: "short" }).format(new Date(when));

export type Unit = "points" | "share" | "words";

/** A figure as it stands in a table. */
export function figure(value: number | null | undefined, unit: Unit, code: string, sign = unit === "points"): string {
  if (typeof value !== "number") return "–";
  if (unit === "share")
    return new Intl.NumberFormat(code, { style: "percent", maximumFractionDigits: 0 }).format(value);
  const digits = unit === "words" ? 0 : 2;
  return new Intl.NumberFormat(code, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: sign ? "exceptZero" : "auto",
  })
    .format(value)
    .replace("-", "−");
}

/** "from … to …" of an interval; empty where it is not known. */
export function interval({ low, high }: Measure, unit: Unit, code: string): string {
  if (typeof low !== "number" || typeof high !== "number") return "";
  return `${figure(low, unit, code)} … ${figure(high, unit, code)}`;
}
