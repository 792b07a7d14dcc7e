"""Events on their way to a browser, with a sign of life when there is nothing to say."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from accordant.serve.events import PING

PING_SECONDS = 10.0
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""So that no proxy buffers or caches a stream."""


class EventStream(StreamingResponse):
    """Server-Sent Events that no proxy buffers, caches or cuts for being silent."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(_kept_alive(events), headers=HEADERS)


async def _kept_alive(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=PING_SECONDS)
            if not done:
                yield PING
                continue
            if (event := coming.result()) is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
