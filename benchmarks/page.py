"""Does the page keep up: an answer of 4,000 tokens at 100 tokens a second, in a Chromium of this machine.

    python -m benchmarks.page [TOKENS] [TOKENS_PER_SECOND]

The scripted engine says text with lists, tables, code and formulas. A frame is held up by the tasks of the page's main
thread, so each task's processor time is taken from the browser's own trace: that leaves out what others had of the
core. Beside it stand frames by the clock (`long-animation-frame`), which on a busy machine are others' doing as well.
"""

import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.paired import publish, say
from playwright.sync_api import Browser, Page, Route, sync_playwright
from tests.browser.driving import CHROMIUM
from tests.serve.live import live

from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.store.migrate import open_database
from accordant.testing.scripted import ScriptedEngine

PARTS = (
    "## Part {n}\n\nA plain paragraph with **loud** and *soft* words, `code`, and a [link](https://example.org).\n\n",
    "1. the first of part {n}\n2. the second with $x_{n}^2$\n   - and one below it\n\n",
    "```python\ndef part_{n}(light: float) -> str:\n    return 'sugar' * int(light)\n```\n\n",
    "| what | how much |\n|:-----|---------:|\n| light | {n} |\n| water | 2 |\n\n",
    "$$\\sum_{{k=1}}^{n} k = \\frac{{n(n+1)}}{{2}}$$\n\n",
)
WATCH = """
window.long_frames = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.long_frames.push(entry.duration);
}).observe({ type: "long-animation-frame" });
"""
TRACED = ["toplevel", "disabled-by-default-devtools.timeline"]


def text_of(tokens: int) -> str:
    """Markdown of so many words, which are the scripted engine's tokens."""
    words: list[str] = []
    for number in itertools.count(1):
        for part in PARTS:
            words += part.format(n=number).split(" ")
            if len(words) >= tokens:
                return " ".join(words[:tokens])
    raise AssertionError


def measure(browser: Browser, page: Page, tokens: int) -> dict[str, Any]:
    """Ask, read along to the end, and tell what the frames were like."""

    def longer(route: Route) -> None:
        body = json.loads(route.request.post_data or "{}") | {"max_tokens": tokens}
        route.continue_(post_data=json.dumps(body))

    page.route("**/messages", longer)
    page.get_by_role("textbox", name="Message").fill("Go on")
    page.evaluate(WATCH)
    browser.start_tracing(page=page, categories=TRACED)
    page.keyboard.press("Enter")
    page.locator("article.answer[aria-busy=false]").wait_for(timeout=600_000)
    page.wait_for_timeout(500)
    tasks = cpu_of_tasks(json.loads(browser.stop_tracing())["traceEvents"])
    long_frames = page.evaluate("window.long_frames")
    return {
        "longest_task_cpu_ms": round(max(tasks), 1),
        "tasks_over_50_ms_cpu": sum(task > 50 for task in tasks),
        "cpu_s": round(sum(tasks) / 1e3, 2),
        "frames_over_50_ms_by_the_clock": len(long_frames),
        "longest_frame_ms_by_the_clock": round(max(long_frames, default=0.0)),
        "blocks": page.locator("article.answer .prose > *").count(),
    }


def cpu_of_tasks(events: list[dict[str, Any]]) -> list[float]:
    """Processor time in milliseconds of each task of the busiest renderer's main thread."""
    threads = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    found: dict[tuple[int, int], list[float]] = {thread: [] for thread in threads}
    for event in events:
        if event["name"] == "RunTask" and (thread := (event["pid"], event["tid"])) in found:
            found[thread].append(event.get("tdur", 0) / 1e3)
    return max(found.values(), key=sum)


def main() -> None:
    """Measure and publish."""
    tokens, rate = (int(given) for given in ([*sys.argv[1:], "4000", "100"])[:2])
    if CHROMIUM is None:
        sys.exit("no Chromium is installed")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        database = open_database(f"sqlite:///{Path(folder) / 'accordant.db'}")
        engine = ScriptedEngine([text_of(tokens)], delay=1 / rate)
        app = create_app(engine, access=Access(database, False, "s" * 32), context=4 * tokens)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with live(app) as address:
            page = browser.new_page(locale="en-GB", viewport={"width": 1280, "height": 800})
            page.goto(address)
            found = {"tokens": tokens, "tokens_per_second": rate, **measure(browser, page, tokens)}
        browser.close()
        database.close()
    say(f"longest task: {found['longest_task_cpu_ms']} ms of the processor")
    publish("page", found)


if __name__ == "__main__":
    main()
