"""Clients of an OpenAI-shaped server that stream answers and note when each piece came."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

WORDS = (
    "river",
    "harbour",
    "rain",
    "hills",
    "cheese",
    "moon",
    "rock",
    "letter",
    "garden",
    "window",
    "bridge",
    "market",
)


@dataclass
class Seen:
    """What the clients saw."""

    tokens: int = 0
    seconds: float = 0.0
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


def question(number: int, words: int = 30) -> str:
    """A question that no other shares its beginning with."""
    draw = random.Random(number)
    return f"{number}: tell a story with the words {', '.join(draw.choices(WORDS, k=words))}."


async def ask(port: int, body: dict[str, Any], seen: Seen, leave_after: float | None = None) -> None:
    """Stream one answer; with `leave_after` the client vanishes after so many seconds."""
    raw = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
    )
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + raw)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(leave_after):
                await _read(reader, seen, began)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, seen: Seen, began: float) -> None:
    seen.statuses.append(int((await reader.readline()).split()[1]))
    last = None
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        now = time.perf_counter()
        chunk = json.loads(line[6:])
        if usage := chunk.get("usage"):
            seen.tokens += usage["completion_tokens"]
        if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
            if last is None:
                seen.first.append(now - began)
            else:
                seen.gaps.append(now - last)
            last = now


async def clients(port: int, count: int, requests: int, body: dict[str, Any], first: int) -> Seen:
    """`count` clients at once, each asking `requests` times, one after the other."""
    seen = Seen()

    async def client(number: int) -> None:
        for turn in range(requests):
            messages = [{"role": "user", "content": question(first + number * requests + turn)}]
            await ask(port, {**body, "messages": messages}, seen)

    began = time.perf_counter()
    await asyncio.gather(*map(client, range(count)))
    seen.seconds = time.perf_counter() - began
    assert set(seen.statuses) == {200}, seen.statuses
    return seen


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    return {"p50": at(0.5), "p99": at(0.99)}


@contextlib.contextmanager
def stopped_at_the_end(process: Any) -> Iterator[None]:
    """End a server when the block ends."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
