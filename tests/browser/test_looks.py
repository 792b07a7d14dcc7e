"""Nobody is shut out: axe finds nothing serious, nothing is wider than a phone. Screenshots are left to look at."""

from pathlib import Path
from typing import Any

import pytest
from driving import Open, Serve, answered, ask
from playwright.sync_api import Page, expect

from accordant.serve.requests import Sample

ROOT = Path(__file__).parent.parent.parent
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = Path(__file__).with_name("screenshots")
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESK = {"viewport": {"width": 1280, "height": 800}}
LOOKS = [
    ("phone-light-id", PHONE | {"locale": "id-ID", "color_scheme": "light"}),
    ("phone-dark-en", PHONE | {"locale": "en-GB", "color_scheme": "dark"}),
    ("desk-light-en", DESK | {"locale": "en-GB", "color_scheme": "light"}),
    ("desk-dark-zh", DESK | {"locale": "zh-CN", "color_scheme": "dark"}),
]
SAMPLES = [
    Sample(question="Write a haiku about the moon over a town.", answer="Moon over a town,\na silver glow."),
    Sample(question="What does .strip() do on a Python string?", answer="It removes whitespace at both ends."),
    Sample(question="Why do flamingos bury their gold under the lake?", answer="They bury it in a mound of mud."),
]
RICH = r"""Plants make **food from light**, in three steps:

1. Leaves catch sunlight with *chlorophyll*.
2. Roots bring water, and leaves bring $\mathrm{CO_2}$.
3. The plant turns both into sugar and gives back oxygen:

$$6\,\mathrm{CO_2} + 6\,\mathrm{H_2O} \xrightarrow{\text{light}} \mathrm{C_6H_{12}O_6} + 6\,\mathrm{O_2}$$

| Part | What it does | Share |
|:-----|:-------------|------:|
| Leaf | catches light | 80 % |
| Root | drinks water | 20 % |

> It costs $5 or $10 a month, not more.

```python
def photosynthesis(light: float) -> str:
    # more light, more sugar, and a line that is far too long for the screen of any phone
    return "sugar" * int(light)
```

See [a page](https://example.org) and `inline code`."""


def faults(page: Page) -> list[str]:
    """What axe calls serious or critical, each with the element that it is about."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {node['html']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def look(page: Page, name: str) -> None:
    """Leave a screenshot, and hold the page to its width and to axe."""
    page.wait_for_timeout(400)  # until nothing moves
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults(page) == []


@pytest.mark.parametrize(("name", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_everybody_can_read_it(name: str, options: dict[str, Any], serve: Serve, open_page: Open) -> None:
    page = open_page(serve([RICH], samples=SAMPLES), **options)
    expect(page.locator(".samples details")).to_have_count(3)
    expect(page.locator(".welcome li")).to_have_count(12)
    look(page, f"{name}-welcome")
    page.locator(".prompts button").first.click()
    answered(page)
    expect(page.locator(".katex").first).to_be_visible()
    look(page, f"{name}-answer")
    if name.startswith("phone"):
        page.locator(".list-button").click()
        look(page, f"{name}-list")
    page.locator(".rows .menu button").click()
    look(page, f"{name}-menu")
    page.locator("[role=menuitem].danger").click()
    look(page, f"{name}-delete")


@pytest.mark.parametrize(("name", "options"), LOOKS[:2], ids=[name for name, _ in LOOKS[:2]])
def test_everybody_can_sign_in(name: str, options: dict[str, Any], serve: Serve, open_page: Open) -> None:
    page = open_page(serve(accounts=True), **options)
    page.locator("form .quiet").click()
    look(page, f"{name}-sign-up")


def test_it_goes_by_keyboard_from_the_first_key(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["Done."]), **DESK)
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.get_by_role("searchbox", name="Search").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="New chat")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Skip to the message")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    ask(page, "By keyboard")
    answered(page)
