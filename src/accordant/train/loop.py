"""The loop around every stage: resume, progress, metrics, saving, and a clean stop on Ctrl-C."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch import Tensor

from accordant.errors import AccordantError, BadReward, Stopped
from accordant.files import explain_os_errors, read_rows, write_atomically
from accordant.journal import JOURNAL, Journal
from accordant.progress import Watcher
from accordant.train.alarm import Alarm
from accordant.train.micro_batches import noticing_memory
from accordant.train.state import (
    State,
    go_back_to,
    good_states,
    load_state,
    mark_good,
    recover_states,
    save_state,
)
from accordant.train.workers import ALONE, Workers


class Stage(Protocol):
    """One kind of training, step by step."""

    name: str
    total: int

    def advance(self, step: int, watcher: Watcher) -> dict[str, float]:
        """Do step number `step` (from 0) and return its metrics; may raise an Alarm."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes with training."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a saved state."""


def run_stage(
    stage: Stage,
    folder: Path,
    watcher: Watcher,
    save_every_seconds: float = 120.0,
    workers: Workers = ALONE,
    keep_start: bool = False,
) -> None:
    """Take `stage` from where it was left (or its start) to its end.

    The state is written every `save_every_seconds` and when the run is stopped; metrics go to
    `folder/metrics.jsonl`, one line a step. Of several processes the leading one alone writes, and all stop at the
    same step. A state is good once the step that was done from it gave no `warnings` among its metrics; after an alarm
    the run goes on from the last good one, or stops.

    Args:
        stage: what to do.
        folder: where states, metrics and what guards say are kept.
        watcher: is told of it.
        save_every_seconds: how often the state is written.
        workers: the processes that do the steps together.
        keep_start: write the state before the first step, too, so that there is one to go back to from the start.

    Raises:
        Stopped: after Ctrl-C or SIGTERM, once the state is on disk.
        AccordantError: after an alarm from which there is no going back.
        BadReward: from a reward function, once the state of the step before is on disk.
    """
    states, metrics = folder / "state", folder / "metrics.jsonl"
    watcher = Journal(watcher, folder / JOURNAL if workers.leads else None)
    done = 0
    workers.first(lambda: recover_states(states))
    if saved := load_state(states, watcher):
        stage.restore(saved.tensors)
        done = saved.step
        watcher.note(f"{stage.name}: going on after step {done} of {stage.total}")
    elif keep_start and workers.leads:
        save_state(states, State(0, stage.tensors()))
    if workers.leads:
        _forget_metrics_after(metrics, done)
    watcher.begin(stage.name, stage.total, done)
    last_saved = time.monotonic()
    with stop_requested(workers.leads) as stop, explain_os_errors(f"writing {metrics}"):
        while done < stage.total:
            began = time.monotonic()
            try:
                with noticing_memory():  # where smaller passes are no help, it is one line all the same
                    values = stage.advance(done, watcher)
            except BadReward:
                watcher.end()
                if workers.leads:
                    save_state(states, State(done, stage.tensors()))
                raise
            except Alarm as alarm:
                done = _go_back(stage, alarm, done, folder, watcher, workers)
                watcher.begin(stage.name, stage.total, done)
                continue
            if workers.leads and not values.get("warnings"):
                mark_good(states, done)
            values["seconds"] = time.monotonic() - began
            done += 1
            watcher.step(done, values)
            stopping = workers.largest([stop.is_set()])
            if workers.leads:
                with metrics.open("a") as file:
                    file.write(json.dumps({"step": done - 1} | values) + "\n")
                if stopping or time.monotonic() - last_saved > save_every_seconds:
                    save_state(states, State(done, stage.tensors()))
                    last_saved = time.monotonic()
            if stopping:
                watcher.end()
                raise Stopped(f"stopped after step {done} of {stage.total} of {stage.name}; run again to go on")
    watcher.end()


def _go_back(stage: Stage, alarm: Alarm, step: int, folder: Path, journal: Journal, workers: Workers) -> int:
    """Keep what raised the alarm in `step`, and go back to the last good state; returns how many steps that had done.

    Raises:
        AccordantError: when the stage must stop, or nothing to go back to was saved.
    """
    states = folder / "state"
    batch = workers.first(lambda: alarm.save_batch(folder / "alarms", step))
    what = f"{stage.name}, step {step + 1} of {stage.total}: {alarm}; what it worked on is in {batch}"
    good = load_state(states, journal, only_good=True) if alarm.go_back else None
    stopping = workers.largest([good is None])  # all have read it now
    if stopping or alarm.go_back is None or good is None:
        left = next(iter(good_states(states)), "none")
        journal.keep(step, "stopped", str(alarm))
        journal.end()
        raise AccordantError(f"{what}; stopped after {alarm.roll_backs} roll-backs, last good state: {left}") from alarm
    alarm.go_back(good.tensors)
    if workers.leads:
        go_back_to(states, State(good.step, stage.tensors()))
        _forget_metrics_after(folder / "metrics.jsonl", good.step)
    journal.keep(step, f"roll-back {alarm.roll_backs + 1}, to step {good.step}", str(alarm))
    journal.note(f"{what}; going on from step {good.step}, otherwise")
    return good.step


@contextmanager
def stop_requested(by_signals: bool = True) -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    event = threading.Event()
    if not by_signals or threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        # Only a raw write is safe here: the handler may have interrupted whoever draws the progress.
        os.write(2, b"\nstopping after this step; press Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """All whole lines of a metrics file."""
    return read_rows(path).rows


def _forget_metrics_after(path: Path, done: int) -> None:
    """Steps past the saved state are done again, so their old lines go: a curve has one point per step."""
    rows: list[Mapping[str, float]] = [row for row in read_metrics(path) if row["step"] < done]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
