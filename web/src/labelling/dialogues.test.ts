import { expect, it } from "vitest";
import { firstSentence, inserted, isWhole, turnsOf, withoutLast, withTurn, written } from "./dialogues";

it("alternates between the person and the assistant", () => {
  let draft = written({}, 0, "Hi");
  for (let turn = 1; turn < 4; turn++) draft = withTurn(draft);
  expect(turnsOf(draft).map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
});

it("keeps what was taken as long as its turn is there, once", () => {
  let draft = withTurn(written({}, 0, "Hi"));
  draft = inserted(draft, 1, "Hello.", "sug_1");
  draft = inserted(draft, 1, "Hello.", "sug_1");
  draft = written(draft, 1, "Hello, you.");
  expect(draft.taken).toEqual([{ message: 1, suggestion: "sug_1" }]);
  expect(withoutLast(draft).taken).toEqual([]);
});

it("is whole when no turn is empty and the assistant has the last word", () => {
  expect(isWhole({})).toBe(false);
  expect(isWhole(written({}, 0, "Hi"))).toBe(false);
  const both = withTurn(written({}, 0, "Hi"));
  expect(isWhole(both)).toBe(false);
  expect(isWhole(written(both, 1, "Hello."))).toBe(true);
});

it("finds the first sentence that is new", () => {
  expect(firstSentence("Rain is wet. It falls.", "")).toBe("Rain is wet.");
  expect(firstSentence("Rain is wet. It falls. Down.", "Rain is wet. ")).toBe("Rain is wet. It falls.");
  expect(firstSentence("3.5 litres", "")).toBe("3.5 litres");
  expect(firstSentence("雨是湿的。它落下。", "")).toBe("雨是湿的。");
});
