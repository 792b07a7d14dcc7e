"""How late the event loop is while model, moderation and database take their time: they all do so in other threads."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from accordant.moderation.policy import Side, Verdict
from accordant.serve.moderation import Moderation
from accordant.store.database import Database
from accordant.testing.moderation import WordModerator
from accordant.testing.scripted import ScriptedEngine

Serve = Callable[..., TestClient]
SLOW = 0.5
"""Seconds of whatever is slow."""
LATE = 0.3
"""More than a busy machine makes the loop wait, and less than one slow call in it would."""


class Clock:
    """Counts the slow calls, each of which takes its time."""

    def __init__(self) -> None:
        self.calls = 0

    def wait(self, *_: object, **__: object) -> None:
        self.calls += 1
        time.sleep(SLOW)


class SlowModerator(WordModerator):
    def __init__(self, clock: Clock) -> None:
        super().__init__(["bad"])
        self.clock = clock

    def judge(self, text: str, side: Side = "model") -> Verdict:
        self.clock.wait()
        return super().judge(text, side)


class SlowEngine(ScriptedEngine):
    def __init__(self, clock: Clock) -> None:
        super().__init__(["one two"])
        self.clock = clock

    def begin(self, request: Any) -> None:
        self.clock.wait()
        super().begin(request)


def talk(client: TestClient) -> None:
    """Both ways to the model, and a page of the store."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "q"}]}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    one = client.post("/api/conversations", json={}).json()["id"]
    begun = client.post(f"/api/conversations/{one}/messages", json={"content": "q"}).json()
    assert "two" in client.get(f"/api/conversations/{one}/generations/{begun['generation']}/events").text
    assert client.get(f"/api/conversations/{one}").status_code == 200


@pytest.mark.parametrize("slow", ["model", "moderation", "database"])
def test_the_event_loop_is_never_late(serve: Serve, database: Database, slow: str) -> None:
    clock, lateness = Clock(), [0.0]
    engine = SlowEngine(clock) if slow == "model" else ScriptedEngine(["one two"])
    moderator = SlowModerator(clock) if slow == "moderation" else WordModerator(["bad"])
    client = serve(engine, moderation=Moderation(lambda: moderator))
    talk(client)  # what is done but once, such as importing
    clock.calls = 0
    if slow == "database":
        sa.event.listen(database.engine, "begin", clock.wait)

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            lateness.append(time.monotonic() - began)

    assert client.portal
    watching = client.portal.start_task_soon(watch)
    talk(client)
    watching.cancel()
    if slow == "database":
        sa.event.remove(database.engine, "begin", clock.wait)
    assert clock.calls >= 2
    assert max(lateness) < LATE
