import { expect, it } from "vitest";
import { en } from "@/i18n/en";
import { figure, interval, placeOf, runOf, span, stageTitle } from "./words";

it("says how long in two units at most", () => {
  expect([0, 59, 60, 89, 3_599, 3_900].map((seconds) => span(seconds, "en"))).toEqual([
    "0 sec",
    "59 sec",
    "1 min",
    "1 min",
    "1 hr 0 min",
    "1 hr 5 min",
  ]);
});

it("writes figures with their sign, and none where there is none", () => {
  expect([0.4267, -0.3384, 0.001, null].map((value) => figure(value, "points", "en"))).toEqual([
    "+0.43",
    "−0.34",
    "0.00",
    "–",
  ]);
  expect(interval({ value: 0.5, low: 0.46, high: 0.54 }, "share", "en")).toBe("46% … 54%");
  expect(interval({ value: 0.5, low: null }, "share", "en")).toBe("");
});

it("names stages, and leads to runs whatever they are called", () => {
  expect([stageTitle("ppo", en), stageTitle("judge", en), stageTitle("new", en)]).toEqual(["PPO", "Judge", "new"]);
  expect(placeOf("a/b ?", "ppo")).toBe("/runs/a%2Fb%20%3F/ppo");
  for (const name of ["night", "50% %2F", "<b>?#&", "训练"]) expect(runOf(placeOf(name, "sft"))).toBe(name);
  expect(runOf("/runs/50%")).toBe("50%");
});
