import { expect, it } from "vitest";
import type { UsageDay } from "@/api/schema";
import { byDay, ceiling, sum, tokens } from "./days";

const row = (day: string, key: string, requests: number, prompt_tokens: number, answer_tokens: number): UsageDay => ({
  day,
  key,
  key_name: key,
  model: "ppo",
  requests,
  prompt_tokens,
  answer_tokens,
});
const ROWS = [row("2027-03-01", "", 1, 10, 20), row("2027-03-01", "key_a", 2, 5, 7), row("2027-02-27", "", 1, 1, 2)];

it("has every day of the period, over the end of a month, whatever the hour", () => {
  for (const hour of ["00:00:00Z", "23:59:59Z"]) {
    const days = byDay(ROWS, 4, new Date(`2027-03-01T${hour}`));
    expect(days.map(({ day }) => day)).toEqual(["2027-02-26", "2027-02-27", "2027-02-28", "2027-03-01"]);
    expect(days.map(tokens)).toEqual([0, 3, 0, 42]);
    expect(days.map(({ requests }) => requests)).toEqual([0, 1, 0, 3]);
  }
});

it("leaves out what is older than the period", () => {
  expect(sum(byDay(ROWS, 2, new Date("2027-03-01T12:00:00Z")))).toEqual({
    requests: 3,
    prompt_tokens: 15,
    answer_tokens: 27,
  });
});

it.each([
  [0, 1],
  [1, 1],
  [3, 5],
  [42, 50],
  [100, 100],
  [101, 200],
  [5001, 10_000],
])("an axis for %i ends at %i", (most, end) => {
  expect(ceiling(most)).toBe(end);
});
