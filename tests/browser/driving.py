"""What a person does with the page."""

from collections.abc import Callable

from playwright.sync_api import Page

Serve = Callable[..., str]
Open = Callable[..., Page]


def ask(page: Page, question: str) -> None:
    """Write a message and send it."""
    page.get_by_role("textbox", name="Message").fill(question)
    page.keyboard.press("Enter")
