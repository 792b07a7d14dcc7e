"""What a round says of itself on disk while it runs, for whoever looks from another process."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from accordant.config import Method
from accordant.errors import AccordantError, Stopped
from accordant.files import explain_os_errors, read_rows, write_atomically
from accordant.progress import Relay, Watcher, seconds_left
from accordant.records import Record

STATUS, SAMPLES, MINUTES = "status.json", "samples.jsonl", "minutes.json"
"""Names of files in a run's folder."""
State = Literal["running", "finished", "stopped", "failed"]
StageName = Literal["sft", "reward", "gate", "ppo", "dpo", "best_of_n", "judge", "evaluation"]
_WRITE_EVERY_SECONDS = 1.0


class Status(Record):
    """Where a round is.

    Attributes:
        state: as the round last wrote it; one that was killed says `running` for ever.
        why: what stopped it or went wrong, in one line.
        stages: all of a whole round, in order.
        stage: the one that it is in.
        part: what is counted: the stage, or a piece of it.
        total: steps of the part; 0 where none are counted.
        done: of them.
        done_before: those of an earlier sitting.
    """

    state: State = "running"
    why: str = ""
    stages: tuple[StageName, ...]
    began: datetime
    updated: datetime
    stage: str = ""
    part: str = ""
    part_began: datetime
    total: int = Field(0, ge=0)
    done: int = Field(0, ge=0)
    done_before: int = Field(0, ge=0)

    def seconds_left(self) -> float | None:
        """How long the part still takes, as it was when this was written."""
        elapsed = (self.updated - self.part_began).total_seconds()
        return seconds_left(elapsed, self.done, self.total, self.done_before)


def stages_of(methods: Sequence[Method]) -> tuple[StageName, ...]:
    """The stages of a round that tunes policies in these ways; DPO alone needs no gate."""
    gate: tuple[StageName, ...] = () if tuple(methods) == ("dpo",) else ("gate",)
    return ("sft", "reward", *gate, *methods, "judge", "evaluation")


class StatusKeeper(Relay):
    """Passes everything on, and keeps where the round is, and the sampled answers, one line each.

    Args:
        folder: of the run.
        methods: in which policies are tuned.
        watcher: hears everything.
    """

    def __init__(self, folder: Path, methods: Sequence[Method], watcher: Watcher) -> None:
        super().__init__(watcher)
        self._folder, self._written = folder, 0.0
        now = datetime.now(UTC)
        self._status = Status(stages=stages_of(methods), began=now, updated=now, part_began=now)
        self._change()

    def close(self, state: State, why: str = "") -> None:
        """The round is over, one way or another."""
        self._change(state=state, why=why)

    def enter(self, stage: str) -> None:
        """See `Watcher`."""
        self._begin(stage=stage, part=stage, total=0, done=0, done_before=0)
        super().enter(stage)

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """See `Watcher`."""
        self._forget_samples_after(done)
        self._begin(part=stage, total=total, done=done, done_before=done)
        super().begin(stage, total, done)

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """See `Watcher`."""
        self._status = self._status.model_copy(update={"done": done})
        if done == self._status.total or time.monotonic() - self._written > _WRITE_EVERY_SECONDS:
            self._change()
        super().step(done, metrics)

    def sample(self, prompt: str, answer: str) -> None:
        """See `Watcher`."""
        row = {"stage": self._status.stage, "step": self._status.done, "prompt": prompt, "answer": answer}
        path = self._folder / SAMPLES
        with explain_os_errors(f"writing {path}"), path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        super().sample(prompt, answer)

    def end(self) -> None:
        """See `Watcher`; what a stage does after its steps, such as measuring, is not counted."""
        self._begin(part=self._status.stage, total=0, done=0, done_before=0)
        super().end()

    def _begin(self, **changed: Any) -> None:
        self._change(part_began=datetime.now(UTC), **changed)

    def _change(self, **changed: Any) -> None:
        self._status = self._status.model_copy(update={"updated": datetime.now(UTC), **changed})
        self._written = time.monotonic()
        write_atomically(self._folder / STATUS, self._status.model_dump_json(indent=2) + "\n")

    def _forget_samples_after(self, done: int) -> None:
        """Steps past a saved state are done again, and tell their samples again."""
        path, stage = self._folder / SAMPLES, self._status.stage
        rows = read_rows(path).rows
        kept = [row for row in rows if row["stage"] != stage or row["step"] < done]
        if len(kept) < len(rows):
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))


@contextmanager
def keeping_status(folder: Path, methods: Sequence[Method], watcher: Watcher) -> Iterator[Watcher]:
    """Keep the status of the round that runs in the block, and how it ended; yields what the round is to tell."""
    keeper = StatusKeeper(folder, methods, watcher)
    try:
        yield keeper
    except BaseException as error:
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        why = str(error) if isinstance(error, AccordantError) else f"{type(error).__name__}: {error}"
        with suppress(AccordantError, OSError):  # what went wrong first is what must be heard
            keeper.close("stopped" if stopped else "failed", why)
        raise
    keeper.close("finished")
