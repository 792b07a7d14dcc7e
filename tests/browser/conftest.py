"""A real Chromium on a real server with the scripted engine; skipped where the browser or the page is missing."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from driving import CHROMIUM, Open, Serve
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.serve.live import live

from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.serve.moderation import Moderation
from accordant.serve.page_files import is_built
from accordant.serve.requests import Figure, Sample
from accordant.serve.settings import ServeSettings
from accordant.store.database import Database
from accordant.testing.scripted import ScriptedEngine

MEASURED = {
    "premises_challenged": Figure(value=0.1, low=0.03, high=0.26, n=30),
    "harmful_refused": Figure(value=0.79, low=0.67, high=0.88, n=53),
    "lookalikes_answered": Figure(value=0.53, low=0.4, high=0.66, n=53),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why nothing here runs, where nothing can."""
    here = Path(__file__).parent
    missing = "no Chromium is installed" if CHROMIUM is None else "the page is not built (make web)"
    if CHROMIUM is None or not is_built():
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for longer: while Playwright runs, this thread has an event loop, and tests elsewhere could not start theirs.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def database(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    shutil.copy(migrated, tmp_path / "accordant.db")
    found = Database(f"sqlite:///{tmp_path}/accordant.db")
    yield found
    found.close()


@pytest.fixture
def serve(database: Database) -> Iterator[Serve]:
    """Starts a service that says these things: its address."""
    with contextlib.ExitStack() as stack:

        def start(
            replies: Sequence[str | Exception] = ("Hello there.",),
            delay: float = 0.0,
            accounts: bool = False,
            moderation: Moderation | None = None,
            settings: ServeSettings | None = None,
            engine: ScriptedEngine | None = None,
            samples: Sequence[Sample] = (),
        ) -> str:
            app = create_app(
                engine or ScriptedEngine(replies, delay),
                checkpoint_name="starter/ppo",
                facts={"Parameters": "135M"},
                measured=MEASURED,
                samples=samples,
                access=Access(database, accounts, "s" * 32),
                moderation=moderation,
                settings=settings,
            )
            return stack.enter_context(live(app))

        yield start


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens an address in a browser of its own. Whatever it complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_address(address: str, **options: Any) -> Page:
        context = browser.new_context(base_url=address, locale=options.pop("locale", "en-GB"), **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(address)
        return page

    yield open_address
    for context in contexts:
        context.close()
    # What a server refuses is told by the browser as well; that is no fault of the page.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
