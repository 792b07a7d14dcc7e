"""What a person does with the page."""

import shutil
from collections.abc import Callable

from playwright.sync_api import Page, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

Serve = Callable[..., str]
Open = Callable[..., Page]


def ask(page: Page, question: str) -> None:
    """Write a message and send it."""
    page.get_by_role("textbox", name="Message").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, number: int = 1) -> None:
    """Wait until so many answers are on the screen and none is being written."""
    expect(page.locator("article.answer[aria-busy=false]")).to_have_count(number)
    expect(page.locator("article.answer[aria-busy=true]")).to_have_count(0)
