"""One thread that makes answers, one after the other, and the short line of those that wait for it."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Generator
from typing import Protocol

from accordant.engine import Generation, Sampling
from accordant.errors import AccordantError
from accordant.serve.events import Delta, Done, Error, Event

log = logging.getLogger(__name__)

CLOSING = "the server is shutting down"


class Speaker(Protocol):
    """The part of `accordant.engine.Engine` that is used here: a generator that may be closed between two tokens."""

    def stream(self, prompt: list[int], sampling: Sampling, /) -> Generator[str, None, Generation]:
        """Text of one answer as it becomes certain; returns the whole answer."""


class Busy(AccordantError):
    """Too many wait already."""


class Job:
    """One answer: the worker's thread puts events in, the event loop that created it takes them out."""

    def __init__(self, prompt: list[int], sampling: Sampling, turns_left_out: int = 0) -> None:
        self.prompt, self.sampling, self.turns_left_out = prompt, sampling, turns_left_out
        self.left = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    async def event(self) -> Event:
        """The next event; `Done` or `Error` is the last."""
        return await self._events.get()

    def tell(self, event: Event) -> None:
        """Hand an event over from any thread; without a reader any more it is dropped."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


class Worker:
    """Answers jobs in the order of their arrival, in one thread of its own.

    The model is only ever touched from that thread: the event loop stays free, and what torch keeps per thread
    (inference mode) is entered and left where it belongs.

    Args:
        engine: what makes the answers.
        most_waiting: how many may wait besides the one that is answered.
    """

    def __init__(self, engine: Speaker, most_waiting: int = 8) -> None:
        self._engine, self._most_waiting = engine, most_waiting
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="accordant-worker", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> int:
        """Get in line; returns how many are answered first.

        Raises:
            Busy: when the line is full.
        """
        with self._changed:
            if self._closed:
                raise Busy(CLOSING)
            if len(self._waiting) >= self._most_waiting:
                raise Busy(f"too many are waiting already ({len(self._waiting)}); try again in a moment")
            ahead = len(self._waiting) + (self._current is not None)
            self._waiting.append(job)
            self._changed.notify()
            return ahead

    def drop(self, job: Job) -> None:
        """The reader of `job` is gone: it leaves the line, or its answer ends with the token in the making."""
        job.left.set()
        with self._changed, contextlib.suppress(ValueError):
            self._waiting.remove(job)

    def waiting(self) -> int:
        """How many stand in line, without the one that is answered."""
        with self._changed:
            return len(self._waiting)

    def close(self) -> None:
        """End everything, telling those who wait, and wait for the thread for a few seconds."""
        with self._changed:
            self._closed = True
            jobs = [*self._waiting, *([self._current] if self._current else [])]
            self._waiting.clear()
            self._changed.notify()
        for job in jobs:
            job.tell(Error(message=CLOSING))
            job.left.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while job := self._next():
            self._answer(job)

    def _next(self) -> Job | None:
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._current = self._waiting.popleft() if self._waiting else None
            return self._current

    def _answer(self, job: Job) -> None:
        pieces = self._engine.stream(job.prompt, job.sampling)
        try:
            while not job.left.is_set():
                if piece := next(pieces):
                    job.tell(Delta(text=piece))
        except StopIteration as end:
            answer: Generation = end.value
            job.tell(
                Done(
                    finish=answer.finish,
                    prompt_tokens=len(job.prompt),
                    answer_tokens=len(answer.ids),
                    turns_left_out=job.turns_left_out,
                )
            )
        except AccordantError as error:
            job.tell(Error(message=str(error)))
        except Exception:
            log.exception("making an answer failed")
            job.tell(Error(message="the model failed at this answer; the server's log says why"))
        finally:
            pieces.close()
