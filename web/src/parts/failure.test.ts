import { expect, it } from "vitest";
import { Failure } from "@/api/client";
import { LANGUAGES } from "@/i18n";
import { en } from "@/i18n/en";
import { sayFailure } from "./failure";

it("says what the server refused by a name in the reader's language", () => {
  const taken = new Failure(400, "there is a user 'ada' already", null, "name_taken");
  const said = LANGUAGES.map((words) => sayFailure(taken, words));
  expect(new Set(said).size).toBe(LANGUAGES.length);
  expect(said.join()).not.toContain("ada");
});

it("says when it may be tried again", () => {
  expect(sayFailure(new Failure(429, "", 1, "requests_per_minute"), en)).toContain("in 1 second.");
  expect(sayFailure(new Failure(429, "", 7, "line_full"), en)).toContain("in 7 seconds.");
});

it("quotes the server where it knows no words of its own", () => {
  expect(sayFailure(new Failure(400, "only own messages", null, "a_new_one"), en)).toContain("only own messages");
  expect(sayFailure(new Failure(429, "slowly", 3), en)).toContain("in 3 seconds");
});
