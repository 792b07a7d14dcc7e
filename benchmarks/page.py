"""Does the page keep up: an answer of 4,000 tokens at 100 tokens a second, in a Chromium of this machine.

    python -m benchmarks.page [TOKENS] [TOKENS_PER_SECOND]

The scripted engine says text with lists, tables, code and formulas. Measured are the frames during which the page's
thread was held for more than 50 ms (the browser's own entries of type long-animation-frame, and how long the longest
one was), the longest time between two frames, and the script's time in all. The server and the browser share the
machine, and whatever else runs there holds frames up as well.
"""

import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, sync_playwright

from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.store.migrate import open_database
from accordant.testing.scripted import ScriptedEngine
from benchmarks.paired import publish, say
from tests.serve.live import live

PARTS = (
    "## Part {n}\n\nA plain paragraph with **loud** and *soft* words, `code`, and a [link](https://example.org).\n\n",
    "1. the first of part {n}\n2. the second with $x_{n}^2$\n   - and one below it\n\n",
    "```python\ndef part_{n}(light: float) -> str:\n    return 'sugar' * int(light)\n```\n\n",
    "| what | how much |\n|:-----|---------:|\n| light | {n} |\n| water | 2 |\n\n",
    "$$\\sum_{{k=1}}^{n} k = \\frac{{n(n+1)}}{{2}}$$\n\n",
)
WATCH = """
window.frames_seen = { long: [], gap: 0 };
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.frames_seen.long.push(entry.duration);
}).observe({ type: "long-animation-frame", buffered: true });
let last = performance.now();
requestAnimationFrame(function tick(now) {
  window.frames_seen.gap = Math.max(window.frames_seen.gap, now - last);
  last = now;
  requestAnimationFrame(tick);
});
"""


def text_of(tokens: int) -> str:
    """Markdown of so many words, which are the scripted engine's tokens."""
    words: list[str] = []
    for number in itertools.count(1):
        for part in PARTS:
            words += part.format(n=number).split(" ")
            if len(words) >= tokens:
                return " ".join(words[:tokens])
    raise AssertionError


def measure(page: Page, tokens: int) -> dict[str, Any]:
    """Ask, read along to the end, and tell what the frames were like."""

    def longer(route: Route) -> None:
        body = json.loads(route.request.post_data or "{}") | {"max_tokens": tokens}
        route.continue_(post_data=json.dumps(body))

    page.route("**/messages", longer)
    page.get_by_role("textbox", name="Message").fill("Go on")
    page.keyboard.press("Enter")
    page.locator("article.answer[aria-busy=true] .prose > *").first.wait_for()
    page.evaluate(WATCH)
    before = page.context.new_cdp_session(page)
    before.send("Performance.enable")
    page.locator("article.answer[aria-busy=false]").wait_for(timeout=600_000)
    page.wait_for_timeout(500)
    seen = page.evaluate("window.frames_seen")
    figures = {one["name"]: one["value"] for one in before.send("Performance.getMetrics")["metrics"]}
    return {
        "frames_over_50_ms": len(seen["long"]),
        "longest_long_frame_ms": max(seen["long"], default=0.0),
        "longest_gap_ms": seen["gap"],
        "script_s": figures["ScriptDuration"],
        "layout_s": figures["LayoutDuration"] + figures["RecalcStyleDuration"],
        "blocks": page.locator("article.answer .prose > *").count(),
    }


def main() -> None:
    """Measure and publish."""
    tokens, rate = (int(given) for given in (sys.argv[1:] + ["4000", "100"])[:2])
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium is installed")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        database = open_database(f"sqlite:///{Path(folder) / 'accordant.db'}")
        engine = ScriptedEngine([text_of(tokens)], delay=1 / rate)
        app = create_app(engine, access=Access(database, False, "s" * 32), context=4 * tokens)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with live(app) as address:
            page = browser.new_page(locale="en-GB", viewport={"width": 1280, "height": 800})
            page.goto(address)
            found = {"tokens": tokens, "tokens_per_second": rate, **measure(page, tokens)}
        browser.close()
        database.close()
    say(f"longest frame of those over 50 ms: {found['longest_long_frame_ms']:.0f} ms ({found['frames_over_50_ms']})")
    publish("page", found)


if __name__ == "__main__":
    main()
