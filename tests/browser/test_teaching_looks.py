"""The pages for those who teach, as everybody sees them: axe, the width of a phone, and screenshots to look at."""

from typing import Any

import pytest
from driving import Open, Serve, answered
from playwright.sync_api import expect
from teaching import ONLY_NEW, conversation
from test_looks import LOOKS, look

from accordant.serve.settings import ServeSettings

ANSWERS = [
    "Rain is water that **falls from clouds**. Warm air carries vapour up, where it cools into drops that grow until "
    "they are too heavy to stay.",
    "It is wet.",
    "Rain happens for three reasons:\n\n1. The sun warms the sea.\n2. Vapour rises and cools.\n3. Drops fall.\n\n"
    "Without it there would be no rivers, no wells and no gardens; with too much of it there are floods.",
    "I am only a language model and cannot say anything about rain, but I would be happy to help with other things!",
]
ON_ALL = pytest.mark.parametrize(("name", "options"), LOOKS, ids=[name for name, _ in LOOKS])


@ON_ALL
def test_everybody_can_say_what_they_think(name: str, options: dict[str, Any], serve: Serve, open_page: Open) -> None:
    page = open_page(serve(ANSWERS[:2]), **options)
    page.locator(".composer textarea").fill("What is rain?")
    page.keyboard.press("Enter")
    answered(page)
    page.locator(".answer .actions button", has_text="").nth(1).click()
    expect(page.locator(".preference")).to_be_visible()
    answered(page)
    page.locator(".feedback > .round").nth(1).click()
    expect(page.locator(".feedback .panel")).to_be_visible()
    page.locator(".panel .pill").nth(1).click()
    look(page, f"{name}-feedback")
    page.locator(".panel .choices .plain").click()
    page.locator(".feedback .menu button").click()
    look(page, f"{name}-feedback-menu")
    page.locator("[role=menuitem]").last.click()
    look(page, f"{name}-report")


@ON_ALL
def test_everybody_can_rank(name: str, options: dict[str, Any], serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["It rains.", *ANSWERS], settings=ServeSettings(labelling=ONLY_NEW)), **options)
    conversation(page, "Why does it rain?", "Can you explain that to me a little better?")
    page.goto("/label/compare")
    expect(page.locator(".card")).to_have_count(4)
    look(page, f"{name}-compare")
    for key in ("b", "1", "a", "2", "d", "2"):
        page.keyboard.press(key)
    page.locator(".card").first.locator("button.plain").first.click()
    page.locator(".card summary").first.click()
    look(page, f"{name}-compare-ranked")
    page.locator(".talk .head button").click()
    look(page, f"{name}-guidelines")
    page.keyboard.press("Escape")
    page.locator(".doing .plain").nth(1).click()
    look(page, f"{name}-skip")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    with page.expect_response("**/submit"):
        page.locator(".board .chip").first.press("Control+Enter")
    page.goto("/label/review")
    expect(page.locator(".item")).to_have_count(1)
    look(page, f"{name}-review")


@ON_ALL
def test_everybody_can_write(name: str, options: dict[str, Any], serve: Serve, open_page: Open) -> None:
    page = open_page(serve(ANSWERS), **options)
    page.goto("/label/write")
    page.locator(".paper .main").click()
    page.locator(".turn textarea").fill("why does it rain so much in autumn")
    page.keyboard.press("Control+Enter")
    page.locator(".turn textarea").last.fill("Because ")
    expect(page.locator(".taking")).to_have_count(3)
    look(page, f"{name}-write")
    page.locator(".taking .plain").first.click()
    expect(page.locator(".doing .main")).to_be_enabled()
    page.locator(".doing .main").click()
    expect(page.locator(".works li")).to_have_count(1)
    page.locator(".paper .main").click()
    page.goto("/label/write")
    expect(page.locator(".works li")).to_have_count(2)
    look(page, f"{name}-dialogues")
