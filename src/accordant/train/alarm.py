"""When a stage must not go on as it does: the alarm that it raises, and the batch that is kept of it on disk."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from accordant.errors import AccordantError
from accordant.files import write_atomically

GoBack = Callable[[dict[str, Tensor]], None]


class Alarm(AccordantError):
    """One line: what happened, and what to change.

    Args:
        line: that line.
        batch: what the step was working on, as rows that JSON can hold.
        roll_backs: how often the stage has gone back before.
        go_back: takes over an earlier state so that the stage does not do the same again; None: it must stop.
    """

    def __init__(
        self, line: str, batch: Sequence[Mapping[str, Any]], roll_backs: int = 0, go_back: GoBack | None = None
    ) -> None:
        super().__init__(line)
        self.batch, self.roll_backs, self.go_back = batch, roll_backs, go_back

    def save_batch(self, folder: Path, step: int) -> Path:
        """Write the batch as JSON Lines, atomically; an alarm in the same step after a roll-back has its own file."""
        path = folder / f"step-{step:06d}-roll-backs-{self.roll_backs}.jsonl"
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in self.batch))
        return path
