"""Continuous batching: one thread owns the model, and requests join and leave between two of its steps."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from accordant.engine import Ask
from accordant.errors import AccordantError
from accordant.serve.events import Waiting
from accordant.serve.history import Prompter
from accordant.serve.job import Answering, Job, Wanted
from accordant.serve.line import Full, Line

log = logging.getLogger(__name__)

CLOSING = "the server is shutting down"
FAILED = "the model failed at this answer; the server's log says why"


class Speaker(Protocol):
    """The part of `accordant.engine.Engine` that is used here."""

    rows: int

    @property
    def renderer(self) -> Prompter:
        """Turns conversations, and plain text, into prompts."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""

    def request(self, ask: Ask, /) -> Any:
        """What `serve` takes; in any thread."""

    def serve(self, source: Callable[[int], list[Any]], /) -> Generator[Sequence[Answering], None, None]:
        """Answers what comes from `source`; yields after each step the rows that have one more token, if any."""

    def spell(self, token: int, /) -> bytes:
        """The bytes that a token stands for."""


class Refused(AccordantError):
    """Not now: `retry_after` seconds from now it may be tried again."""

    def __init__(self, message: str, retry_after: float, code: str) -> None:
        super().__init__(message, code)
        self.retry_after = max(1, math.ceil(retry_after))


class Busy(Refused):
    """Too many wait already."""


class Closing(Refused):
    """The server takes nothing more."""


class Watcher(Protocol):
    """Is told what happens; called in the model's thread, so it must be quick."""

    def stepped(self, rows: int, seconds: float) -> None:
        """Each of `rows` answers has one more token; the step took so long."""

    def ended(self, job: Job, how: str) -> None:
        """A job is over: `done`, `cancelled` or `failed`."""


class Scheduler:
    """Answers jobs, many at once.

    The model is only ever touched from one thread: the event loop stays free, and what torch keeps per thread
    (inference mode) is entered and left where it belongs.

    Args:
        engine: makes the answers; `engine.rows` of them at once.
        most_waiting: jobs that may wait besides.
        most_waiting_each: of one person or key.
        watcher: told of steps and ends.
    """

    def __init__(
        self, engine: Speaker, most_waiting: int = 64, most_waiting_each: int = 64, watcher: Watcher | None = None
    ) -> None:
        self._engine, self._watcher = engine, watcher
        self._line: Line[Job] = Line(most_waiting, most_waiting_each)
        self._running: dict[int, tuple[Job, Answering]] = {}
        self._closing = self._closed = False
        self._seconds_a_job = 1.0
        self._changed = threading.Condition()
        self._afterwards = ThreadPoolExecutor(1, "accordant-afterwards")
        self._thread = threading.Thread(target=self._work, name="accordant-model", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Get in line; `job.ahead` is how many come first, and `Waiting` events tell how that changes.

        Raises:
            Busy: when the line is full.
            Closing: when the server is.
        """
        with self._changed:
            if self._closing:
                raise Closing(CLOSING, 10, "shutting_down")
            try:
                self._line.add(job.who, job)
            except Full:
                waiting = len(self._line)
                message = f"too many are waiting already ({waiting}); try again later"
                raise Busy(message, self._wait(), "line_full") from None
            self._tell_places()
            self._changed.notify_all()

    def drop(self, job: Job) -> None:
        """Stop a job: it leaves the line, or ends with the token in the making."""
        with self._changed:
            job.left.set()
            if self._line.remove(job):
                self._tell_places()
                if not any(job is other for other, _ in self._running.values()):  # those the model's thread ends
                    job.cancel()
                    self._end(job, "cancelled")

    def waiting(self) -> int:
        """How many jobs stand in line."""
        with self._changed:
            return len(self._line)

    def running(self) -> int:
        """How many answers are in the making."""
        return len(self._running)

    @property
    def ready(self) -> bool:
        """Whether new jobs are taken and the model's thread lives."""
        return not self._closing and self._thread.is_alive()

    def finish(self, seconds: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Take nothing more, tell those in line, and let the answers in the making end, for so long at most."""
        with self._changed:
            self._closing = True
            for job in self._line.clear():
                job.fail(CLOSING)
                self._end(job, "failed")
            self._changed.notify_all()
        until = time.monotonic() + seconds
        while self._running and time.monotonic() < until and not hurry():
            time.sleep(0.02)

    def close(self) -> None:
        """End everything, telling those who wait, and wait for the thread for a few seconds."""
        self.finish(0)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=5)
        self._afterwards.shutdown(wait=True)

    def _work(self) -> None:
        while not self._closed:
            try:
                for rows in self._steps():
                    for row in rows:
                        self._tell(row)
                    self._let_go()
            except AccordantError as error:
                self._fail_all(str(error))
            except Exception:
                log.exception("making answers failed")
                self._fail_all(FAILED)
        self._fail_all(CLOSING)

    def _steps(self) -> Iterator[Sequence[Answering]]:
        began = time.monotonic()
        with contextlib.closing(self._engine.serve(self._next)) as steps:
            for rows in steps:
                now = time.monotonic()
                if self._watcher and rows:
                    self._watcher.stepped(len(rows), now - began)
                yield rows
                began = now
                if self._closed:
                    return

    def _tell(self, row: Answering) -> None:
        job, _ = self._running[id(row)]
        job.first_token = job.first_token or time.monotonic()
        if not job.over and not job.left.is_set():
            job.tell_progress(row, self._engine.spell)
            if job.over:
                self._seconds_a_job += 0.1 * (time.monotonic() - job.first_token - self._seconds_a_job)
                self._end(job, "done")

    def _let_go(self) -> None:
        """End what nobody waits for any more, also before its prompt is read; forget what is over."""
        with self._changed:
            for job, row in self._running.values():
                if job.left.is_set():
                    if not job.over:
                        job.cancel()
                        self._end(job, "cancelled")
                    row.over = True
            self._running = {number: pair for number, pair in self._running.items() if not pair[1].over}

    def _next(self, room: int) -> list[Wanted]:
        """The requests that join now; with nothing to do this waits for some."""
        with self._changed:
            if not self._running:
                self._changed.wait_for(lambda: len(self._line) or self._closed)
            entering: list[Wanted] = []
            while not self._closed and (job := self._line.first()):
                request = job.requests[0]
                room -= len(request.rows)
                if room < 0:
                    break
                entering.append(job.requests.popleft())
                self._running |= {id(row): (job, row) for row in request.rows}
                if not job.requests:
                    self._line.pop()
                    self._tell_places()
            return entering

    def _tell_places(self) -> None:
        """Tell those who cannot join at once how many come before them, where that has changed."""
        room, ahead = self._engine.rows - len(self._running), 0
        for job in self._line:
            room -= sum(len(request.rows) for request in job.requests)
            if room < 0:
                ahead += 1
                if ahead != job.ahead:
                    job.ahead = ahead
                    job.tell(Waiting(ahead=ahead))

    def _wait(self) -> float:
        """About how long the line takes, in seconds."""
        return min(60.0, self._seconds_a_job * len(self._line) / self._engine.rows)

    def _fail_all(self, message: str) -> None:
        with self._changed:
            jobs = {id(job): job for job, _ in self._running.values() if not job.over}
            self._running.clear()
            for job in jobs.values():
                self._line.remove(job)  # where some of its prompts still wait
        for job in jobs.values():
            job.fail(message)
            self._end(job, "failed")

    def _end(self, job: Job, how: str) -> None:
        if self._watcher:
            self._watcher.ended(job, how)
        if job.ended:
            self._afterwards.submit(job.ended, job)
