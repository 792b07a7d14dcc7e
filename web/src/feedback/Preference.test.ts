import { expect, it } from "vitest";
import { isOffered, seenFrom } from "./Preference";

it("offers a second answer to one in eight", () => {
  const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"];
  expect(alphabet.filter((first) => isOffered(`msg_${first}AAA`)).length).toBe(alphabet.length / 8);
});

it("tells what was preferred, whichever stood on the left", () => {
  const of = (left: string, preferred: "left" | "right" | "tie" | "neither") =>
    seenFrom({ kind: "choice", left, right: left === "old" ? "new" : "old", preferred }, "old");
  expect(of("old", "right")).toBe("right");
  expect(of("new", "left")).toBe("right"); // the new one is better in both
  expect(of("new", "right")).toBe("left");
  expect(of("new", "tie")).toBe("tie");
  expect(of("new", "neither")).toBe("neither");
});
