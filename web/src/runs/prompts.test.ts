import { expect, it } from "vitest";
import { byPrompt } from "./prompts";

const row = (step: number, prompt: string) => ({ stage: "ppo", step, prompt, answer: `answer ${step}` });

it("puts the answers to a prompt together, and what was asked last first", () => {
  const found = byPrompt([row(0, "a"), row(1, "b"), row(2, "a"), row(3, "c")]);
  expect(found.map(({ prompt, answers }) => [prompt, answers.map(({ step }) => step)])).toEqual([
    ["c", [3]],
    ["a", [0, 2]],
    ["b", [1]],
  ]);
});
