import { expect, it } from "vitest";
import { en } from "@/i18n/en";
import { limitsOf, sayLimits } from "./limits";

it("takes empty fields for no limits", () => {
  const given = new FormData();
  given.set("name", "notebook");
  given.set("requests_per_minute", "");
  given.set("tokens_per_day", "10000");
  expect(limitsOf(given)).toEqual({ tokens_per_day: 10_000 });
});

it("says only the limits that there are", () => {
  expect(sayLimits({ requests_per_minute: null, tokens_per_day: 10_000, concurrency: 2 }, en)).toBe(
    "Tokens a day: 10,000 · Requests at once: 2",
  );
  expect(sayLimits({}, en)).toBe("No limits of its own");
});
