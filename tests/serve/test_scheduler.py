"""Many answers at once from one thread: order, limits, and readers who go away."""

import asyncio
import threading
import time
from typing import Any

import pytest
from streaming_client import Client

from accordant.engine import Ask, Engine, Sampling
from accordant.serve import keep_alive
from accordant.serve.app import create_app
from accordant.serve.events import Delta, Done, Error, Waiting
from accordant.serve.job import Job
from accordant.serve.scheduler import CLOSING, Busy, Closing, Scheduler
from accordant.serve.settings import ServeSettings
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.scripted import ScriptedEngine, ScriptedRequest

ASK = {"model": "model", "messages": [{"role": "user", "content": "hello"}], "stream": True}
LONG = " ".join(["word"] * 200)


class Gated(ScriptedEngine):
    """Says nothing until it is opened."""

    def __init__(self, replies: list[str], rows: int = 1) -> None:
        super().__init__(replies, rows=rows)
        self.open = threading.Event()

    def begin(self, request: ScriptedRequest) -> None:
        super().begin(request)
        self.open.wait(60)


def scheduler_of(app: Any) -> Scheduler:
    return app.state.service.scheduler


def job_of(engine: ScriptedEngine, who: str = "one", samples: int = 1, **sampling: Any) -> Job:
    return Job([engine.request(Ask([1], Sampling(**sampling), samples))], who)


async def told(job: Job) -> list[Any]:
    events: list[Any] = []
    while not events or not isinstance(events[-1], Done | Error):
        events.append(await asyncio.wait_for(job.event(), 60))
    return events


def text_of(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_a_reader_who_leaves_frees_the_place_within_a_token() -> None:
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
        app = create_app(engine, settings=ServeSettings(most_waiting=1))
        async with Client(app, ASK) as first:
            await first.chunk()
            async with Client(app, ASK) as second:
                assert (await anext(second.events())) == Waiting(ahead=1)
                assert scheduler_of(app).waiting() == 1
            assert scheduler_of(app).waiting() == 0
        assert len(engine.asked) == 1

    asyncio.run(main())


def test_a_reader_who_leaves_while_the_prompt_is_read_frees_the_place() -> None:
    async def main() -> None:
        engine = Engine(tiny_model(), tiny_renderer(), rows=1, piece=1)
        scheduler = Scheduler(engine)
        jobs = [Job([engine.request(Ask([5] * 300, Sampling(max_tokens=1))) for _ in range(2)], who) for who in "ab"]
        for job in jobs:
            scheduler.submit(job)
        await until(scheduler.running)
        scheduler.drop(jobs[0])
        assert [event.finish for event in await told(jobs[0]) if isinstance(event, Done)][-1] == "cancelled"
        assert jobs[0].answer_tokens == 0
        scheduler.drop(jobs[1])
        await until(lambda: not scheduler.running() and not scheduler.waiting())
        scheduler.close()

    asyncio.run(main())


def test_too_many_are_told_so_and_the_others_are_answered_in_order() -> None:
    async def main() -> None:
        engine = Gated(["a b", "c d", "never"])
        app = create_app(engine, settings=ServeSettings(most_waiting=1))
        async with Client(app, ASK) as first:
            await until(scheduler_of(app).running)
            async with Client(app, ASK) as second:
                await until(scheduler_of(app).waiting)
                async with Client(app, ASK) as third:
                    refusal = await third.chunk()
                    assert third.status == 429
                    assert refusal is not None
                    assert b"too many are waiting" in refusal
                engine.open.set()
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
            await until(scheduler_of(app).running)
            ticks = 0
            answer = asyncio.ensure_future(client.chunk())
            while not answer.done():
                await asyncio.sleep(0.01)
                ticks += 1
        assert ticks > 10

    asyncio.run(main())


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "PING_SECONDS", 0.02)

    async def main() -> None:
        async with Client(create_app(ScriptedEngine(["late"], delay=0.2)), ASK) as client:
            assert await client.chunk() == b": ping\n\n"
            assert [type(event) async for event in client.events()] == [Delta, Done]

    asyncio.run(main())


def test_the_keep_alive_is_frequent_enough() -> None:
    assert keep_alive.PING_SECONDS <= 15


def test_closing_tells_everyone_and_takes_no_more() -> None:
    async def main() -> None:
        engine = ScriptedEngine([LONG], delay=0.02)
        scheduler = Scheduler(engine)
        jobs = [job_of(engine, max_tokens=500), job_of(engine)]
        for job in jobs:
            scheduler.submit(job)
        await until(lambda: engine.written)
        await asyncio.to_thread(scheduler.close)
        for job in jobs:
            assert (await told(job))[-1] == Error(message=CLOSING)
        assert not scheduler.ready
        assert not scheduler._thread.is_alive()
        with pytest.raises(Closing):
            scheduler.submit(job_of(engine))

    asyncio.run(main())


def test_answers_in_the_making_may_end_before_the_end() -> None:
    async def main() -> None:
        engine = ScriptedEngine(["a b c d e"], delay=0.05)
        scheduler = Scheduler(engine)
        begun, waits = job_of(engine), job_of(engine)
        scheduler.submit(begun)
        await until(lambda: engine.written)
        scheduler.submit(waits)
        await asyncio.to_thread(scheduler.finish, 10)
        assert not scheduler.ready
        assert text_of(await told(begun)) == "a b c d e"
        assert (await told(waits))[-1] == Error(message=CLOSING)
        scheduler.close()

    asyncio.run(main())


def test_a_closed_event_loop_does_not_stop_the_model() -> None:
    engine = ScriptedEngine([LONG, "next"], delay=0.005)
    scheduler = Scheduler(engine)

    async def leave_early() -> None:
        scheduler.submit(job_of(engine, max_tokens=20))

    async def stay() -> str:
        job = job_of(engine)
        scheduler.submit(job)
        return text_of(await told(job))

    asyncio.run(leave_early())
    assert asyncio.run(stay()) == "next"
    scheduler.close()


def test_answers_are_made_together_and_late_ones_join() -> None:
    async def main() -> None:
        engine = ScriptedEngine([LONG, "short answer"], delay=0.01, rows=2)
        scheduler = Scheduler(engine)
        slow, quick = job_of(engine, max_tokens=100), job_of(engine)
        scheduler.submit(slow)
        await until(lambda: engine.written > 3)
        scheduler.submit(quick)
        assert text_of(await told(quick)) == "short answer"
        assert not slow.over, "the quick one did not wait for the slow one"
        scheduler.drop(slow)
        scheduler.close()

    asyncio.run(main())


def test_nobody_waits_behind_all_that_another_asks_for() -> None:
    async def main() -> None:
        engine = Gated(["x"])
        scheduler = Scheduler(engine)
        greedy = [job_of(engine, "greedy") for _ in range(6)]
        for job in greedy:
            scheduler.submit(job)
        await until(scheduler.running)
        modest = job_of(engine, "modest")
        scheduler.submit(modest)
        engine.open.set()
        await told(modest)
        assert sum(job.over for job in greedy) <= 3
        for job in greedy:
            await told(job)
        scheduler.close()

    asyncio.run(main())


def test_the_place_in_line_is_told_and_told_again() -> None:
    async def main() -> None:
        engine = Gated(["x"])
        scheduler = Scheduler(engine)
        jobs = [job_of(engine) for _ in range(4)]
        for job in jobs:
            scheduler.submit(job)
            await until(scheduler.running)
        engine.open.set()
        places = [[event.ahead for event in await told(job) if isinstance(event, Waiting)] for job in jobs]
        assert places == [[], [1], [2, 1], [3, 2, 1]]
        scheduler.close()

    asyncio.run(main())


def test_one_person_cannot_fill_the_line() -> None:
    async def main() -> None:
        engine = Gated(["x"])
        scheduler = Scheduler(engine, most_waiting=4, most_waiting_each=2)
        scheduler.submit(job_of(engine, "a"))
        await until(scheduler.running)
        for who in ("a", "a", "b", "b"):
            if who == "b":
                with pytest.raises(Busy) as refusal:
                    scheduler.submit(job_of(engine, "a"))
                assert 1 <= refusal.value.retry_after <= 60
            scheduler.submit(job_of(engine, who))
        with pytest.raises(Busy, match="too many are waiting already"):
            scheduler.submit(job_of(engine, "c"))
        engine.open.set()
        await asyncio.to_thread(scheduler.close)

    asyncio.run(main())


def test_what_was_used_is_told_once_however_it_ends() -> None:
    async def main() -> None:
        engine = ScriptedEngine(["a b c", LONG, ValueError("broken"), "never"], delay=0.01)
        scheduler = Scheduler(engine)
        ends: list[tuple[str, int]] = []

        def job(name: str) -> Job:
            requests = [engine.request(Ask([1], Sampling(max_tokens=500)))]
            return Job(requests, ended=lambda job: ends.append((name, job.answer_tokens)))

        done, left, failed, in_line = job("done"), job("left"), job("failed"), job("in line")
        scheduler.submit(done)
        await told(done)
        scheduler.submit(left)
        await until(lambda: left.answer_tokens)
        scheduler.submit(in_line)
        scheduler.drop(in_line)
        scheduler.drop(left)
        assert (await told(left))[-1].finish == "cancelled"
        scheduler.submit(failed)
        assert isinstance((await told(failed))[-1], Error)
        scheduler.drop(failed)
        scheduler.drop(done)
        scheduler.close()
        assert sorted(name for name, _ in ends) == ["done", "failed", "in line", "left"]
        used = dict(ends)
        assert used["done"] == 3
        assert used["in line"] == used["failed"] == 0
        assert 1 <= used["left"] < 100

    asyncio.run(main())


def test_several_answers_and_prompts_are_one_job() -> None:
    async def main() -> None:
        engine = ScriptedEngine(["a b", "c", "d e f", "g"], rows=2)
        scheduler = Scheduler(engine)
        requests = [engine.request(Ask([1, 2], Sampling(), 2)), engine.request(Ask([1], Sampling(), 2))]
        job = Job(requests)
        scheduler.submit(job)
        texts, ended = {}, []
        while len(ended) < 4:
            event = await asyncio.wait_for(job.event(), 60)
            if isinstance(event, Delta):
                texts[event.choice] = texts.get(event.choice, "") + event.text
            if isinstance(event, Done):
                assert event.prompt_tokens == 3
                ended.append(event.choice)
        assert texts == {0: "a b", 1: "c", 2: "d e f", 3: "g"}
        assert sorted(ended) == [0, 1, 2, 3]
        scheduler.close()

    asyncio.run(main())
