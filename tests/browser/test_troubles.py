"""What goes wrong, and waiting: the page says what is going on, in the reader's language."""

import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from driving import Open, Serve, answered, ask
from playwright.sync_api import Page, expect
from tests.serve.live import until

from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.serve.limits import Limits
from accordant.serve.run import Server
from accordant.serve.settings import ServeSettings
from accordant.store import generations, settings
from accordant.store.database import Database
from accordant.store.settings import AccountSettings
from accordant.testing.scripted import ScriptedEngine

LONG = " ".join(f"word{number}" for number in range(1000))


class Busy(ScriptedEngine):
    """Says nothing before it is let."""

    def __init__(self) -> None:
        super().__init__(["one", "two", "three", "four"])
        self.let = threading.Semaphore(0)

    def begin(self, request: Any) -> None:
        """The next answer begins when it may."""
        self.let.acquire(timeout=20)
        super().begin(request)


def asked_elsewhere(page: Page, question: str) -> None:
    """Somebody else asks first."""
    one = page.request.post("/api/conversations", data={}).json()["id"]
    assert page.request.post(f"/api/conversations/{one}/messages", data={"content": question}).status == 202


def test_who_waits_sees_how_many_come_first(serve: Serve, open_page: Open) -> None:
    engine = Busy()
    page = open_page(serve(engine=engine))
    asked_elsewhere(page, "first")
    asked_elsewhere(page, "second")
    ask(page, "And mine?")
    place = page.get_by_role("status").filter(has_text="before yours")
    expect(place).to_have_text("Waiting: 2 answers come before yours.")
    engine.let.release()
    expect(place).to_have_text("Waiting: 1 answer comes before yours.")
    engine.let.release(3)
    answered(page)
    expect(place).to_have_count(0)
    expect(page.locator("article.answer .prose")).to_have_text("three")


@pytest.mark.parametrize(
    ("locale", "message", "said"),
    [
        ("en-GB", "Message", "You have asked as often as you may in a minute. Try again in"),
        ("zh-CN", "消息", "你一分钟内的提问次数已到上限。"),
    ],
)
def test_too_many_questions_are_refused_with_the_reason(
    locale: str, message: str, said: str, serve: Serve, open_page: Open
) -> None:
    address = serve(["One."], settings=ServeSettings(limits=Limits(requests_per_minute=1)))
    page = open_page(address, locale=locale)
    for question in ("Once?", "Twice?"):
        page.get_by_role("textbox", name=message).fill(question)
        page.keyboard.press("Enter")
        answered(page)
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("textbox", name=message)).to_have_value("Twice?")


def test_what_the_server_refuses_is_said_in_the_readers_language(
    serve: Serve, open_page: Open, database: Database
) -> None:
    address = serve(accounts=True)
    with database.write() as session:
        settings.save(session, AccountSettings(sign_up="open"))
    page = open_page(address, locale="id-ID")
    page.locator("form .quiet").click()
    for name, password, said in (
        ("ada", "short", "Kata sandi terdiri dari sedikitnya sepuluh karakter."),
        ("Not a name!", "long enough to be one", "Nama terdiri dari huruf kecil"),
    ):
        page.locator("[name=name]").fill(name)
        page.locator("[name=password]").fill(password)
        page.locator("form .main").click()
        expect(page.get_by_role("alert")).to_contain_text(said)


def slow_service(url: str, port: int, lost_after: float) -> None:
    """A service that can be killed; what it writes takes half a minute."""
    generations.LOST_AFTER = timedelta(seconds=lost_after)
    with socket.create_server(("127.0.0.1", port)) as listener:
        app = create_app(ScriptedEngine([LONG], 0.03), checkpoint_name="starter/ppo", access=Access(Database(url)))
        Server(app).run(sockets=[listener])


@pytest.fixture
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Starts a process, which is killed at the end at the latest."""
    begun: list[BaseProcess] = []

    def start(*arguments: Any) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(target=slow_service, args=arguments)
        process.start()
        begun.append(process)
        until(lambda: answers(arguments[1]), 60)
        return process

    yield start
    for process in begun:
        process.kill()
        process.join()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_that_is_killed_in_mid_answer_is_missed_and_found_again(
    start: Callable[..., BaseProcess], open_page: Open, database: Database, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"sqlite:///{tmp_path}/accordant.db"
    process = start(url, port, 15.0)
    page = open_page(f"http://127.0.0.1:{port}")
    ask(page, "Count")
    expect(page.locator(".prose", has_text="word20")).to_be_visible()
    process.kill()
    process.join()
    lost = page.get_by_role("alert").filter(has_text="The connection is lost.")
    expect(lost).to_be_visible()
    expect(page.locator(".prose", has_text="word20")).to_be_visible()
    start(url, port, 0.0)
    lost.get_by_role("button", name="Try now").click()
    expect(page.get_by_role("alert")).to_contain_text("The server stopped while this answer was written.")
    expect(page.locator(".prose", has_text="word0 word1 word2")).to_be_visible()
    expect(page.get_by_role("button", name="Answer again")).to_be_enabled()
