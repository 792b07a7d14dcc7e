"""What long work tells whoever watches: one small interface, so that the library prints nothing itself."""

from collections.abc import Mapping


class Watcher:
    """Ignores everything; the command line shows it live, a test records it."""

    def enter(self, stage: str) -> None:
        """A round goes to the next of its stages, by the name of its folder; what it begins then is a part of it."""

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """A stage of `total` steps starts, `done` of them before an earlier stop."""

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """`done` steps are finished; `metrics` are those of the last one."""

    def sample(self, prompt: str, answer: str) -> None:
        """An answer of the model as it is now, to one of the prompts at hand."""

    def note(self, line: str) -> None:
        """Something worth a line: a skipped row, a resumed step, a measured figure."""

    def warn(self, step: int, line: str) -> None:
        """A guard's warning after step number `step` (from 0); a note unless it is told apart."""
        self.note(f"step {step + 1}: {line}")

    def end(self) -> None:
        """The stage is over."""


SILENT = Watcher()


class Relay(Watcher):
    """Passes everything on; who listens on the way overrides what it listens to.

    Args:
        watcher: hears everything.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def enter(self, stage: str) -> None:
        """See `Watcher`."""
        self._watcher.enter(stage)

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """See `Watcher`."""
        self._watcher.begin(stage, total, done)

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """See `Watcher`."""
        self._watcher.step(done, metrics)

    def sample(self, prompt: str, answer: str) -> None:
        """See `Watcher`."""
        self._watcher.sample(prompt, answer)

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self._watcher.note(line)

    def warn(self, step: int, line: str) -> None:
        """See `Watcher`."""
        self._watcher.warn(step, line)

    def end(self) -> None:
        """See `Watcher`."""
        self._watcher.end()


def seconds_left(elapsed: float, done: int, total: int, done_before: int = 0) -> float | None:
    """How long the rest takes at the pace of the `elapsed` seconds, in which all but `done_before` steps were done.

    None where no step was done yet, and where none is left.
    """
    steps = done - done_before
    return elapsed / steps * (total - done) if steps > 0 and done < total else None
