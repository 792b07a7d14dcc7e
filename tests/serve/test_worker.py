"""The line in front of the one worker: order, limits, and readers who go away."""

import asyncio
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest
from streaming_client import Client

from accordant.engine import Generation, Sampling
from accordant.serve import app as app_module
from accordant.serve.app import create_app
from accordant.serve.events import Delta, Done, Error, Waiting
from accordant.serve.worker import CLOSING, Busy, Job, Worker
from accordant.testing.scripted import ScriptedEngine

ASK = {"messages": [{"role": "user", "content": "hello"}]}
LONG = " ".join(["word"] * 200)


class Gated(ScriptedEngine):
    """Says nothing until it is opened."""

    def __init__(self, replies: list[str]) -> None:
        super().__init__(replies)
        self.open = threading.Event()

    def stream(self, prompt: list[int], sampling: Sampling) -> Generator[str, None, Generation]:
        self.open.wait(5)
        return (yield from super().stream(prompt, sampling))


async def until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_a_reader_who_leaves_frees_the_worker_within_a_token() -> None:
    async def main() -> None:
        engine = ScriptedEngine([LONG, "next"], delay=0.02)
        app = create_app(engine)
        async with Client(app, ASK) as client:
            assert await client.chunk()
            await client.leave()
            written = engine.written
        async with Client(app, ASK) as client:
            events = [event async for event in client.events()]
        assert [type(event) for event in events][-2:] == [Delta, Done]
        # At most the token in the making, and the one word of the next answer.
        assert engine.written <= written + 2

    asyncio.run(main())


def test_a_reader_who_leaves_while_waiting_costs_nothing() -> None:
    async def main() -> None:
        engine = ScriptedEngine([LONG], delay=0.01)
        app = create_app(engine, most_waiting=1)
        async with Client(app, ASK) as first:
            await first.chunk()
            async with Client(app, ASK) as second:
                assert (await anext(second.events())) == Waiting(ahead=1)
                assert app.state.worker.waiting() == 1
            assert app.state.worker.waiting() == 0
        assert len(engine.asked) == 1

    asyncio.run(main())


def test_too_many_are_told_so_and_the_others_are_answered_in_order() -> None:
    async def main() -> None:
        engine = Gated(["a b", "c d", "never"])
        app = create_app(engine, most_waiting=1)
        async with Client(app, ASK) as first:
            await until(lambda: app.state.worker._current)
            async with Client(app, ASK) as second, Client(app, ASK) as third:
                await until(app.state.worker.waiting)
                refusal = await third.chunk()
                engine.open.set()
                assert third.status == 503
                assert refusal is not None
                assert b"too many are waiting" in refusal
                rest = [event async for event in first.events()]
                said = [event async for event in second.events()]
        assert isinstance(rest[-1], Done)
        assert said[0] == Waiting(ahead=1)
        assert "".join(event.text for event in said if isinstance(event, Delta)) == "c d"

    asyncio.run(main())


def test_the_event_loop_stays_free_while_the_model_works() -> None:
    async def main() -> None:
        app = create_app(ScriptedEngine(["slow"], delay=0.5))
        async with Client(app, ASK) as client:
            await until(lambda: app.state.worker._current)
            ticks = 0
            answer = asyncio.ensure_future(client.chunk())
            while not answer.done():
                await asyncio.sleep(0.01)
                ticks += 1
        assert ticks > 10

    asyncio.run(main())


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "PING_SECONDS", 0.02)

    async def main() -> None:
        async with Client(create_app(ScriptedEngine(["late"], delay=0.2)), ASK) as client:
            assert await client.chunk() == b": ping\n\n"
            assert [type(event) async for event in client.events()] == [Delta, Done]

    asyncio.run(main())


def test_the_keep_alive_is_frequent_enough() -> None:
    assert app_module.PING_SECONDS <= 15


def test_closing_tells_everyone_and_takes_no_more() -> None:
    async def main() -> None:
        engine = ScriptedEngine([LONG], delay=0.02)
        worker = Worker(engine)
        jobs = [Job([1], Sampling()), Job([1], Sampling())]
        assert [worker.submit(job) for job in jobs] == [0, 1]
        await until(lambda: engine.written)
        await asyncio.to_thread(worker.close)
        for job in jobs:
            while isinstance(event := await job.event(), Delta):
                pass
            assert event == Error(message=CLOSING)
        assert not worker._thread.is_alive()
        with pytest.raises(Busy):
            worker.submit(Job([1], Sampling()))

    asyncio.run(main())


def test_a_closed_event_loop_does_not_stop_the_worker() -> None:
    engine = ScriptedEngine([LONG, "next"], delay=0.005)
    worker = Worker(engine)

    async def leave_early() -> None:
        worker.submit(Job([1], Sampling(max_tokens=20)))

    async def stay() -> object:
        job = Job([1], Sampling())
        worker.submit(job)
        return await asyncio.wait_for(job.event(), 5)

    asyncio.run(leave_early())
    assert asyncio.run(stay()) == Delta(text="next")
    worker.close()
