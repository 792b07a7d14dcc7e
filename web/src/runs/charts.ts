// Which curves a stage has: what belongs together, in which unit. Anything else that it writes follows at the end.

import type { Series } from "@/charts/LineChart";
import type { Words } from "@/i18n";
import type { Trained } from "./data";

export type Row = Readonly<Record<string, number | null>>;
type Metric = keyof Words["runs"]["metrics"];
type Unit = keyof Words["runs"]["units"];
type Group = { title: Metric; unit: Unit; names: readonly string[] };

const group = (title: Metric, unit: Unit, ...names: string[]): Group => ({ title, unit, names: [title, ...names] });

const OPTIMISER = [group("gradient_norm", "norm"), group("learning_rate", "perStep")];
const RANKED = [
  group("loss", "natsPerPair", "held_out_loss"),
  group("accuracy", "share", "held_out_accuracy"),
  group("margin", "points"),
  ...OPTIMISER,
];
const ANSWERS = [group("answer_tokens", "tokens"), group("ended", "share")];
const GROUPS: Record<Trained, Group[]> = {
  sft: [group("loss", "natsPerToken", "held_out_loss"), ...OPTIMISER],
  reward: RANKED,
  judge: RANKED,
  dpo: RANKED,
  best_of_n: [group("reward", "points", "best_reward"), group("loss", "natsPerToken"), ...ANSWERS],
  ppo: [
    group("reward", "points"),
    group("kl_per_sequence", "natsPerAnswer"),
    group("entropy", "natsPerToken"),
    ...ANSWERS,
    group("clip_fraction", "share"),
    group("explained_variance", "share"),
    group("value_loss", "points2"),
    group("distinct_2", "share"),
    group("ptx_loss", "natsPerToken"),
    group("gradient_norm", "norm"),
  ],
};
const UNITS: Readonly<Record<string, Unit>> = {
  seconds: "seconds",
  tokens: "tokens",
  reward_model: "points",
  ptx_loss: "natsPerToken",
  kl_coefficient_per_token: "perToken",
  kl_k2_per_token: "natsPerToken",
  kl_k3_per_token: "natsPerToken",
  approximate_kl: "natsPerToken",
};
/** Metrics of the held-out part and of the answers that were chosen: beside the one that they are compared with. */
const BESIDE: Readonly<Record<string, "heldOut" | "chosen">> = {
  held_out_loss: "heldOut",
  held_out_accuracy: "heldOut",
  best_reward: "chosen",
};

export type Chart = { id: string; title: string; unit: string; share: boolean; series: Series[] };

/** The charts of a stage: those that are looked at, and those of everything else that it measured. */
export function chartsOf(stage: Trained, rows: readonly Row[], words: Words): { main: Chart[]; more: Chart[] } {
  const say = words.runs;
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  const main = GROUPS[stage].filter((one) => one.names.some((name) => names.has(name)));
  const used = new Set(["step", "warnings", ...main.flatMap((one) => one.names)]);
  return {
    main: main.map(({ title, unit, names: own }) => ({
      id: title,
      title: say.metrics[title],
      unit: say.units[unit],
      share: unit === "share",
      series: own
        .filter((name) => names.has(name))
        .map((name, place) => ({
          name:
            own.length > 1
              ? say[BESIDE[name] ?? (own.includes("best_reward") ? "sampled" : "training")]
              : say.metrics[title],
          points: column(rows, name),
          colour: place ? 2 : stage === "judge" ? 4 : stage === "sft" ? 1 : 3,
          sparse: BESIDE[name] === "heldOut",
          exact: name === "learning_rate",
        })),
    })),
    more: [...names]
      .filter((name) => !used.has(name))
      .map((name) => ({
        id: name,
        title: name.replaceAll("_", " "),
        unit: say.units[UNITS[name] ?? "none"],
        share: false,
        series: [{ name, points: column(rows, name), colour: 0 }],
      })),
  };
}

/** [step from 1, value] of the rows that have one. */
export function column(rows: readonly Row[], name: string): [number, number][] {
  return rows.flatMap((row, place) => {
    const value = row[name];
    return typeof value === "number" ? [[(row.step ?? place) + 1, value] as [number, number]] : [];
  });
}
