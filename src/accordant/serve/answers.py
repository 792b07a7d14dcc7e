"""Answers in the making: written down as they come, read along by whoever wants, whether or not anybody does.

One task stores what is new of all answers, every fifth of a second and in one transaction; an ending is shown to
readers only after it is stored. Who comes later, or to another process, reads what is stored.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Container, Iterable
from typing import Any, NamedTuple, Protocol

from starlette.concurrency import run_in_threadpool

from accordant.engine import Sampling
from accordant.serve.access import Principal
from accordant.serve.events import EVENT, Delta, Done, Error, Event, Waiting
from accordant.store import generations, usage, verdicts
from accordant.store.database import Database
from accordant.store.schema import Generation, Message, Status
from accordant.store.verdicts import Judgement

log = logging.getLogger(__name__)

STORE_SECONDS = 0.2
BEAT_SECONDS = 2.0
UPKEEP_SECONDS = 5.0
POLL_SECONDS = 0.3
MOST_FAILURES = 3

LOST = "the server stopped while this answer was written; what was stored of it is above"
DELETED = "this conversation was deleted"
UNSTORED = "the answer could not be stored; the server's log says why"
CLOSING = "the server is shutting down"

Ending = Done | Error


class Running(Protocol):
    """An answer that a scheduler makes."""

    async def event(self) -> Event:
        """The next event; `Done` or `Error` is the last."""

    def judgements(self) -> list[Judgement]:
        """What moderation said of it since this was last asked."""

    def leave(self) -> None:
        """Nobody wants it any more: it ends with the token in the making, by a `Done` that is `cancelled`."""


class Start(Protocol):
    """The part of a scheduler that is used here."""

    async def __call__(self, prompt: list[int], sampling: Sampling, turns_left_out: int, who: Principal) -> Running:
        """Get in line; `who` is whom it counts for. Raises `serve.scheduler.Refused` when the line is full."""


class Live:
    """One answer that this process makes."""

    def __init__(self, generation: Generation, message: Message, running: Running, who: Principal) -> None:
        self.generation, self.message, self.running, self.who = generation, message, running, who
        self.events: list[Event] = []
        self.stored = 0
        self.judged: list[tuple[Message, Judgement]] = []
        self.over = False
        self._waiting: Waiting | None = None
        self._changed = asyncio.Event()

    @property
    def ending(self) -> Ending | None:
        """How it ended, once it has."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Ending) else None

    @property
    def text(self) -> str:
        """What is written so far."""
        said = "".join(event.text for event in self.events if isinstance(event, Delta))
        return said.replace("\x00", "\ufffd")  # PostgreSQL stores no NUL

    def add(self, event: Event) -> None:
        """The next event; nothing follows an ending."""
        if isinstance(event, Waiting):
            self._waiting = event
        elif self.ending is None:
            self.events.append(event)
        self.wake()

    def wake(self) -> None:
        """Let readers look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def break_off(self, ending: Ending) -> None:
        """End it without storing anything more; an ending that came but was not stored, and so not shown, is void."""
        self.running.leave()
        if self.ending is not None:
            self.events.pop()
        self.events.append(ending)
        self.over = True
        self.wake()

    async def read(self, start: int) -> AsyncIterator[tuple[int | None, Event]]:
        """Events from `start` on with their numbers, as they come; places in line have none. Ends with the ending."""
        told: Waiting | None = None
        while True:
            shown = len(self.events) if self.over else len(self.events) - (self.ending is not None)
            if shown == 0 and self._waiting is not told:
                told = self._waiting
                assert told is not None
                yield None, told
                continue
            if start < shown:
                yield start, self.events[start]
                start += 1
                continue
            if self.over:
                return
            await self._changed.wait()


class _Batch(NamedTuple):
    """What is new of one answer."""

    live: Live
    first: int
    events: list[Event]
    judged: list[tuple[Message, Judgement]]


class Answers:
    """All answers that this process makes. `run` must be running in the event loop.

    Args:
        database: where they are stored.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._live: dict[str, Live] = {}
        self._collecting: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._beat_at = 0.0
        self._failures = 0

    def begin(self, live: Live) -> None:
        """Write down an answer whose rows are stored already."""
        self._live[live.generation.id] = live
        task = asyncio.create_task(self._collect(live))
        self._collecting.add(task)
        task.add_done_callback(self._collecting.discard)

    async def stop(self, generation: Generation) -> None:
        """End an answer with the token in the making, wherever it is made; what is written of it stays."""
        if live := self._live.get(generation.id):
            live.running.leave()
        else:
            await run_in_threadpool(self._ask_to_stop, generation.id)

    def forget(self, conversation_ids: Container[str]) -> None:
        """These conversations are gone: their answers end and nothing more of them is stored."""
        for live in [one for one in self._live.values() if one.generation.conversation_id in conversation_ids]:
            self._drop(live, Error(message=DELETED))

    async def read(self, generation_id: str, start: int) -> AsyncIterator[tuple[int | None, Event]]:
        """Events from `start` on, as they come or are stored; the last is always an ending, where there is one."""
        last: Event | None = None
        while not isinstance(last, Ending):
            if live := self._live.get(generation_id):
                async for number, last in live.read(start):
                    yield number, last
                if not isinstance(last, Ending):  # the reader knows more than there is
                    yield len(live.events) - 1, live.events[-1]
                return
            over, stored = await run_in_threadpool(self._stored, generation_id, start)
            for number, last in stored:
                yield number, last
                start = number + 1
            if over and not isinstance(last, Ending):
                _, ends = await run_in_threadpool(self._stored, generation_id, 0)
                for number, last in ends[-1:]:
                    yield number, last
                return
            if not over:
                await asyncio.sleep(POLL_SECONDS)

    async def run(self) -> None:
        """Store what comes, and look after what other processes left behind, until cancelled."""
        looked = -UPKEEP_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STORE_SECONDS):  # wait_for of Python 3.11 can swallow the end of this task
                    await self._hurry.wait()
            self._hurry.clear()
            await self._write_down()
            if time.monotonic() - looked > UPKEEP_SECONDS:
                looked = time.monotonic()
                with contextlib.suppress(Exception):
                    await run_in_threadpool(close_lost, self._database, tuple(self._live))
                    await run_in_threadpool(self._database.upkeep)

    async def close(self) -> None:
        """End all answers, telling their readers, and store them."""
        for live in self._live.values():
            live.add(Error(message=CLOSING))
            live.running.leave()
        await self._write_down()

    def _drop(self, live: Live, ending: Ending) -> None:
        live.break_off(ending)
        self._live.pop(live.generation.id, None)

    async def _collect(self, live: Live) -> None:
        while live.ending is None:
            event = await live.running.event()
            live.judged += ((live.message, said) for said in live.running.judgements())
            live.add(event)
        self._hurry.set()

    async def _write_down(self) -> None:
        batches = [
            _Batch(live, live.stored, live.events[live.stored :], list(live.judged)) for live in self._live.values()
        ]
        news = any(batch.events or batch.judged for batch in batches)
        if not batches or not (news or time.monotonic() - self._beat_at > BEAT_SECONDS):
            return
        try:
            standing = await run_in_threadpool(self._store, batches)
        except Exception:
            log.exception("answers could not be stored")
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                for batch in batches:
                    self._drop(batch.live, Error(message=UNSTORED))
            return
        self._failures, self._beat_at = 0, time.monotonic()
        for batch in batches:
            self._stored_now(batch, standing)

    def _stored_now(self, batch: _Batch, standing: dict[str, bool]) -> None:
        live = batch.live
        if live.over:
            return
        live.stored += len(batch.events)
        del live.judged[: len(batch.judged)]
        if live.generation.id not in standing:
            self._drop(live, Error(message=DELETED))
        elif batch.events and isinstance(batch.events[-1], Ending):
            live.over = True
            self._live.pop(live.generation.id, None)
            live.wake()
        elif standing[live.generation.id]:
            live.running.leave()

    def _store(self, batches: list[_Batch]) -> dict[str, bool]:
        """One transaction; returns the answers that still exist and run, with whether they shall stop."""
        with self._database.write() as session:
            standing = generations.beat(session, (batch.live.generation.id for batch in batches))
            ours = [batch for batch in batches if batch.live.generation.id in standing]
            generations.append(
                session,
                (
                    (one.live.generation.id, one.first, [_plain(event) for event in one.events])
                    for one in ours
                    if one.events
                ),
            )
            verdicts.add(session, (judged for batch in ours for judged in batch.judged))
            generations.finish(session, _ends(ours))
            for batch in ours:
                if batch.events and isinstance(done := batch.events[-1], Done):
                    who = batch.live.who
                    usage.add(
                        session,
                        who.user_id,
                        who.key_id,
                        batch.live.generation.model,
                        done.prompt_tokens,
                        done.answer_tokens,
                    )
            return standing

    def _ask_to_stop(self, generation_id: str) -> None:
        with self._database.write() as session:
            generations.ask_to_stop(session, generation_id)

    def _stored(self, generation_id: str, start: int) -> tuple[bool, list[tuple[int, Event]]]:
        """Whether it is over, and its stored events."""
        with self._database.read() as session:
            generation = generations.state(session, generation_id)
            found = generations.events(session, generation_id, start)
        over = generation is None or generation.status != "running"
        return over, [(number, EVENT.validate_python(event)) for number, event in found]


def close_lost(database: Database, but: Iterable[str] = ()) -> int:
    """Close answers whose process died: what is stored becomes their text, and their last event says what happened.

    Returns:
        how many there were.
    """
    with database.write() as session:
        found = generations.lost(session, but)
        for generation in found:
            stored = generations.events(session, generation.id)
            text = "".join(event["text"] for _, event in stored if event["type"] == "delta")
            generations.append(session, [(generation.id, len(stored), [_plain(Error(message=LOST))])])
            end = generations.End(generation.id, generation.message_id, text, "lost", error=LOST)
            generations.finish(session, [end])
        return len(found)


def _plain(event: Event) -> dict[str, Any]:
    return event.model_dump(mode="json")


def _ends(batches: Iterable[_Batch]) -> list[generations.End]:
    found = []
    for batch in batches:
        live, last = batch.live, batch.events[-1] if batch.events else None
        who = (live.generation.id, live.message.id, live.text)
        if isinstance(last, Done):
            status: Status = "stopped" if last.finish == "cancelled" else "done"
            counts = (last.prompt_tokens, last.answer_tokens)
            found.append(generations.End(*who, status, last.finish, None, *counts))
        elif isinstance(last, Error):
            found.append(generations.End(*who, "failed", error=last.message))
    return found
