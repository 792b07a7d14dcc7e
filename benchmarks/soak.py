"""Half an hour of clients that come, ask, and partly vanish: does the memory stay flat, and does everybody get a place?

    python -m benchmarks.soak CHECKPOINT --minutes 30

The slope of the server's resident memory over the second half is fitted with its 95% interval; it is flat when the
interval reaches from below to above zero, or the slope is below 1 MB a minute.
"""

import argparse
import asyncio
import math
import random
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.load import Seen, ask, percentiles, question, stopped_at_the_end
from benchmarks.paired import publish, say
from benchmarks.serving import start


def resident_mb(process: int) -> float:
    """Of a process, by /proc."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Least squares: slope and the half width of its 95% interval, which takes the residuals for independent."""
    count = len(points)
    mean_x, mean_y = (sum(point[i] for point in points) / count for i in range(2))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    steep = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - steep * (x - mean_x)) ** 2 for x, y in points)
    return steep, 1.96 * math.sqrt(rest / (count - 2) / spread)


async def client(number: int, port: int, until: float, seen: Seen, left: list[int]) -> None:
    """Ask again and again; one time in three vanish in the middle."""
    draw = random.Random(number)
    turn = 0
    while time.monotonic() < until:
        turn += 1
        words = draw.choice([5, 30, 120])
        messages = [{"role": "user", "content": question(number * 1_000_003 + turn, words)}]
        body: dict[str, Any] = {"model": "model", "messages": messages, "max_tokens": draw.choice([4, 32, 96])}
        leaves = draw.random() * 3 if draw.random() < 1 / 3 else None
        left[0] += leaves is not None
        await ask(port, body, seen, leaves)
        await asyncio.sleep(draw.random())


async def watch(process: int, port: int, until: float, points: list[tuple[float, float]]) -> None:
    """Note the memory every few seconds."""
    began = time.monotonic()
    while time.monotonic() < until:
        points.append(((time.monotonic() - began) / 60, resident_mb(process)))
        await asyncio.sleep(2)


def figure(port: int, name: str) -> float:
    """One of the server's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        lines = response.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


async def run(port: int, process: int, count: int, minutes: float) -> dict[str, Any]:
    """All clients and the watcher."""
    until = time.monotonic() + 60 * minutes
    seen, left, points = Seen(), [0], []
    asking = [client(number, port, until, seen, left) for number in range(count)]
    await asyncio.gather(watch(process, port, until, points), *asking)
    for _ in range(100):
        if figure(port, "accordant_running_answers") == figure(port, "accordant_waiting_jobs") == 0:
            break
        await asyncio.sleep(0.1)
    steep, half = slope(points[len(points) // 2 :])
    return {
        "minutes": minutes,
        "clients": count,
        "requests": len(seen.statuses),
        "refused": sum(status != 200 for status in seen.statuses),
        "vanished": left[0],
        "still_running": figure(port, "accordant_running_answers"),
        "first_token_ms": percentiles(seen.first),
        "memory_mb": {"first": points[0][1], "half": points[len(points) // 2][1], "last": points[-1][1]},
        "memory_slope_mb_per_minute": {"slope": round(steep, 3), "half_width": round(half, 3)},
        "flat": steep < 1.0 or steep - half < 0.0,
    }


def main() -> None:
    """Parse, run, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=18110)
    given = parser.parse_args()
    server = start("ours", given.checkpoint, given.port, given.threads)
    with stopped_at_the_end(server):
        result = asyncio.run(run(given.port, server.pid, given.clients, given.minutes))
    say(str(result))
    publish("soak", result)


if __name__ == "__main__":
    main()
