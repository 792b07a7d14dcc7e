"""The events of a job as they come, to a reader who may leave at any moment."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.types import Receive, Scope, Send

from accordant.serve.events import Done, Error, Event
from accordant.serve.job import Job
from accordant.serve.keep_alive import EventStream
from accordant.serve.scheduler import Scheduler


class JobStream(EventStream):
    """Server-Sent Events of one job; when the reader goes away, for whatever reason, the job is dropped."""

    def __init__(self, scheduler: Scheduler, job: Job, chunks: AsyncIterator[bytes]) -> None:
        self._scheduler, self._job = scheduler, job
        super().__init__(chunks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the answer is over or the reader is gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._scheduler.drop(self._job)


async def events(job: Job) -> AsyncIterator[Event]:
    """A job's events to its end."""
    still_open = len(job.choices)
    while still_open:
        event = await job.event()
        yield event
        if isinstance(event, Error):
            return
        still_open -= isinstance(event, Done)


class ReaderLeft(Exception):
    """Nobody is there any more to answer to."""


async def collect(request: Request, scheduler: Scheduler, job: Job) -> list[Event]:
    """All events of a job; a reader who leaves meanwhile drops it.

    Raises:
        ReaderLeft: when that happened.
    """

    async def everything() -> list[Event]:
        return [event async for event in events(job)]

    answer, gone = asyncio.ensure_future(everything()), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ReaderLeft
        return answer.result()
    finally:
        scheduler.drop(job)
        for task in (answer, gone):
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
