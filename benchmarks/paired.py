"""Two programs on one machine that others use too: run in turn, A B A B, and judged by the median of the ratios.

A ratio of two runs that follow each other hardly moves with the load of the machine; a rate of one run does. Every
benchmark that compares prints its table to stderr, one JSON document as the last line of stdout, and adds that
document to `benchmarks/history/NAME.jsonl`.
"""

import datetime
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from accordant.machine import Machine, processor

HISTORY = Path(__file__).parent / "history"

Work = Callable[[], float]
"""Does the work once and returns how much it was: tokens, mostly."""

Clock = Callable[[], float]
"""Seconds since some moment: `time.perf_counter`, or `time.process_time` for programs of one thread in this process,
whose time then leaves out what others had of the core."""


def timed(work: Work, clock: Clock = time.perf_counter) -> tuple[float, float]:
    """(units a second, seconds) of one run."""
    start = clock()
    done = work()
    seconds = clock() - start
    return done / seconds, seconds


def compare(
    ours: Work, peers: Mapping[str, Work], turns: int = 5, warm_ups: int = 1, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Run ours and each peer in turn, `turns` times after `warm_ups` that do not count.

    Returns:
        `ours` and each peer's median rate with the lowest and highest, and for each peer the median ratio of ours to
        it over the turns with the lowest and highest: 5 is five times as fast.
    """
    programs = {"ours": ours, **peers}
    rates: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(warm_ups + turns):
        for name, work in programs.items():
            rate, seconds = timed(work, clock)
            counts = turn >= warm_ups
            if counts:
                rates[name].append(rate)
            say(f"  {name:24} {rate:10.1f}/s {seconds:8.2f} s{'' if counts else '  (warm-up)'}")
    ratios = {name: [a / b for a, b in zip(rates["ours"], rates[name], strict=True)] for name in peers}
    return {
        "rate": {name: spread(values) for name, values in rates.items()},
        "ratio": {name: spread(values) for name, values in ratios.items()},
    }


def compare_apart(programs: Mapping[str, Sequence[str]], turns: int = 3) -> dict[str, Any]:
    """As `compare`, but each run in a process of its own: its peak of memory is its own, and so is all of it.

    Args:
        programs: command line of `ours` and of each peer. It warms up by itself, runs once, and prints a JSON object as
            its last line: `rate`, `cpu_seconds`, `peak_memory_gb`, and whatever else it measures.
        turns: how often each runs.

    Returns:
        Under each program's name the spread of all its figures; under `ratio` the spread of our rate to each peer's,
        under `cpu_ratio` that of a peer's processor time to ours, which does not count the time that others had the
        core, and under `memory_ratio` that of our peak memory to a peer's, each over the turns.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(turns):
        for name, command in programs.items():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed: {' '.join(command)}\n{done.stderr}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            say(f"  {name:24} " + " ".join(f"{key} {value:.4g}" for key, value in runs[name][-1].items()))

    def ratios(figure: str, power: int = 1) -> dict[str, dict[str, float]]:
        own = [run[figure] for run in runs["ours"]]
        return {
            peer: spread([(a / run[figure]) ** power for a, run in zip(own, runs[peer], strict=True)])
            for peer in programs
            if peer != "ours"
        }

    return {
        **{name: {key: spread([run[key] for run in own]) for key in own[0]} for name, own in runs.items()},
        "ratio": ratios("rate"),
        "cpu_ratio": ratios("cpu_seconds", power=-1),
        "memory_ratio": ratios("peak_memory_gb"),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest, to four digits."""
    figures = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def say(line: str) -> None:
    """Progress, which goes to stderr: stdout ends with the result."""
    print(line, file=sys.stderr, flush=True)


def publish(name: str, result: Mapping[str, Any], machine: Machine | None = None) -> None:
    """Add a result to the history and print it as the last line."""
    document = {
        "benchmark": name,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "torch": torch.__version__,
        **({"machine": machine.to_json()} if machine else {}),
        **result,
    }
    HISTORY.mkdir(exist_ok=True)
    with (HISTORY / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(document) + "\n")
    print(json.dumps(document), flush=True)


def commit() -> str:
    """The commit that was measured, with a + where files differ from it; empty outside a repository."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
