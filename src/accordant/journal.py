"""What guards said and did in a stage, kept beside it on disk for the report and for who looks at a running round."""

import json
from pathlib import Path
from typing import Any

from accordant.files import read_rows, write_atomically
from accordant.progress import Relay, Watcher

JOURNAL = "guards.jsonl"
"""Name of the file, in a stage's folder, in which guards are quoted."""


class Journal(Relay):
    """Passes everything on, and keeps in a file what guards said and did.

    Each row has the step (from 0), what was done and the line. A step that is done again after a resume says the same
    again; that is kept once. Without a path nothing is: of several processes one writes.
    """

    def __init__(self, watcher: Watcher, path: Path | None) -> None:
        super().__init__(watcher)
        self._path = path

    def warn(self, step: int, line: str) -> None:
        """See `Watcher`."""
        self.keep(step, "warned", line)
        super().warn(step, line)

    def keep(self, step: int, done: str, line: str) -> None:
        """Add a row, unless it is there."""
        if self._path is None:
            return
        row = json.dumps({"step": step, "done": done, "line": line}, ensure_ascii=False) + "\n"
        kept = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        if row not in kept:
            write_atomically(self._path, kept + row)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The rows of a journal; none where no guard had anything to say."""
    return read_rows(path).rows
