import { cleanup, render } from "@testing-library/react";
import { afterEach, describe, expect, it } from "vitest";
import { blocks, decoded, safeAddress } from "./blocks";
import { Markdown } from "./Markdown";

afterEach(cleanup);

const show = (text: string) => render(<Markdown text={text} />).container;

describe("Markdown", () => {
  it("makes elements of what is formatted", () => {
    const page = show("# Title\n\nSome *soft* and **loud** `code`.\n\n- one\n- two\n\n| a | b |\n|:--|--:|\n| 1 | 2 |");
    expect(page.querySelector("h3")?.textContent).toBe("Title");
    expect(page.querySelector("em")?.textContent).toBe("soft");
    expect(page.querySelector("strong")?.textContent).toBe("loud");
    expect([...page.querySelectorAll("li")].map((item) => item.textContent)).toEqual(["one", "two"]);
    expect(page.querySelector("td.right")?.textContent).toBe("2");
  });

  it("shows raw HTML as the text that it is", () => {
    const text = '<img src=x onerror="alert(1)"> and <b>bold</b>';
    const page = show(text);
    expect(page.textContent).toBe(text);
    expect(page.querySelector("img, b")).toBeNull();
  });

  it("links only to the web and to mail, and loads no picture", () => {
    const page = show("[a](javascript:alert(1)) [b](https://example.org) ![c](https://example.org/c.png)");
    const found = [...page.querySelectorAll("a")];
    expect(found.map((link) => link.getAttribute("href"))).toEqual([
      "https://example.org",
      "https://example.org/c.png",
    ]);
    expect(found.every((link) => link.rel.includes("noopener"))).toBe(true);
    expect(page.querySelector("img")).toBeNull();
  });

  it("keeps every word, at every cut, of a text that grows", () => {
    const text =
      "# A\n\n1. one\n2. `two`\n   - three\n\n> four **five**\n\n```js\nsix\n```\n\n$x^2$ | costs $5 or $6\n\n|a|\n|-|\n|b|";
    const words = (part: string) => part.match(/\w+/g)?.join("") ?? "";
    for (let end = 0; end <= text.length; end++) {
      const page = show(text.slice(0, end));
      for (const caption of page.querySelectorAll("figcaption button")) caption.remove();
      const shown = words(page.textContent ?? "");
      // Numbers of a list and the language of code are shown by other means.
      for (const word of ["A", "one", "two", "four", "five", "six"]) {
        if (text.slice(0, end).includes(`${word}`) && text.indexOf(word) + word.length <= end)
          expect(shown).toContain(word);
      }
      cleanup();
    }
  });

  it("does not break on nesting without end", () => {
    for (const text of [">".repeat(3000), "1. ".repeat(2000), "*a".repeat(3000), "[".repeat(5000), "`".repeat(5000)]) {
      expect(show(text).textContent?.length).toBeGreaterThan(0);
      cleanup();
    }
  });
});

describe("blocks", () => {
  const kinds = (text: string) => blocks(text).map((block) => block.type);

  it("finds formulas, and leaves money alone", () => {
    const inner = (text: string) => JSON.stringify(blocks(text));
    expect(inner("so $a+b$ is")).toContain('"tex":"a+b"');
    expect(inner("so \\(a+b\\) is")).toContain('"tex":"a+b"');
    expect(kinds("$$\na+b\n$$")).toEqual(["maths"]);
    expect(kinds("before\n\\[a+b\\]")).toEqual(["paragraph", "maths"]);
    expect(inner("between $5 and $10")).not.toContain('"tex"');
    expect(inner("`$a$`")).not.toContain('"tex"');
  });

  it("are the same for a text in one piece and for one that has grown, but for its last block", () => {
    const text = "One\n\n- a\n- b\n\nTwo\n\n```\ncode\n\nmore\n```\n\nThree";
    const whole = blocks(text).map((block) => block.raw);
    for (let end = 0; end < text.length; end++) {
      const finished = blocks(text.slice(0, end)).slice(0, -1);
      expect(whole.slice(0, finished.length)).toEqual(finished.map((block) => block.raw));
    }
  });
});

it("reads entities as the characters they mean", () => {
  expect(decoded("a &lt; b &amp; c &#39;&#x41;&nothing; &#0;")).toBe("a < b & c 'A&nothing; \ufffd");
});

it("takes no address but the web's and mail's", () => {
  for (const address of [
    "javascript:alert(1)",
    " javascript:x",
    "data:text/html,x",
    "vbscript:x",
    "//host",
    "/api/me",
    "https://a b",
  ])
    expect(safeAddress(address)).toBeNull();
  expect(safeAddress("HTTPS://example.org/?a=1")).toBe("HTTPS://example.org/?a=1");
});
