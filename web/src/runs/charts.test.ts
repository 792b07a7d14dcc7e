import { expect, it } from "vitest";
import { en } from "@/i18n/en";
import { chartsOf, column } from "./charts";

const ROWS = [
  { step: 0, loss: 3.5, gradient_norm: 5, seconds: 1 },
  { step: 1, loss: 3.1, gradient_norm: null },
  { step: 2, loss: 3.0, gradient_norm: 4, held_out_loss: 3.2 },
];

it("puts training and held out together, and leaves nothing out", () => {
  const { main, more } = chartsOf("sft", ROWS, en);
  expect(main.map(({ id, series }) => [id, series.map(({ name }) => name)])).toEqual([
    ["loss", ["training", "held out"]],
    ["gradient_norm", ["Gradient norm"]],
  ]);
  expect(main[0]?.series[1]).toMatchObject({ points: [[3, 3.2]], sparse: true });
  expect(more.map(({ id }) => id)).toEqual(["seconds"]);
});

it("has no point where a value was not finite", () => {
  expect(column(ROWS, "gradient_norm")).toEqual([
    [1, 5],
    [3, 4],
  ]);
});

it("has no chart for what a stage did not measure", () => {
  expect(chartsOf("ppo", [{ step: 0, reward: 1, own_score: 2 }], en)).toMatchObject({
    main: [{ id: "reward" }],
    more: [{ id: "own_score", title: "own score" }],
  });
  expect(chartsOf("ppo", [], en)).toEqual({ main: [], more: [] });
});
