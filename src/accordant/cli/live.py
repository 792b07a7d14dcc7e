"""The live view of long work: a panel that redraws on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from accordant.progress import Watcher, seconds_left

_SHOWN = (
    "loss",
    "held_out_loss",
    "accuracy",
    "held_out_accuracy",
    "margin",
    "reward",
    "best_reward",
    "kl_per_sequence",
    "entropy",
    "answer_tokens",
    "ended",
    "clip_fraction",
    "explained_variance",
)
_SAMPLES = 3
_LINE_EVERY_SECONDS = 15.0


class LiveWatcher(Watcher):
    """Shows stage, progress with an estimate, the last metrics, and the newest sample answers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._metrics: dict[str, float] = {}
        self._samples: list[tuple[str, str]] = []
        self._stage, self._total, self._last_line = "", 0, 0.0
        self._began, self._done_before = 0.0, 0

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """See `Watcher`."""
        self.end()
        self._stage, self._total, self._metrics, self._samples = stage, total, {}, []
        self._began, self._done_before = time.monotonic(), done
        if not self._console.is_terminal:
            self._console.print(f"{stage}: {done} of {total} steps done")
            return
        self._bar = Progress(
            SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=self._console,
        )  # fmt: skip
        self._task = self._bar.add_task(stage, total=total, completed=done, left="")
        self._live = Live(self._draw(), console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """See `Watcher`."""
        self._metrics |= {name: metrics[name] for name in _SHOWN if name in metrics}
        left = self._left(done)
        if self._live and self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, left=f"about {left} left" if left else "")
            self._live.update(self._draw())
        elif done == self._total or time.monotonic() - self._last_line > _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            figures = "  ".join(f"{name} {value:.3g}" for name, value in self._metrics.items())
            tail = f", about {left} left" if left else ""
            self._console.print(f"  {self._stage} {done}/{self._total}{tail}: {figures}", soft_wrap=True)
            for prompt, answer in self._samples[-1:]:
                self._console.print(Text(f"    {_one_line(prompt, 100)} -> {_one_line(answer, 240)}"), soft_wrap=True)

    def sample(self, prompt: str, answer: str) -> None:
        """See `Watcher`."""
        self._samples = [*self._samples, (prompt, answer)][-_SAMPLES:]

    def note(self, line: str) -> None:
        """See `Watcher`."""
        self._console.print(Text("  " + line, style="dim"), soft_wrap=True)

    def end(self) -> None:
        """See `Watcher`; leaves one line that stays."""
        if self._live:
            self._live.stop()
            self._live = None
        if self._stage:
            figures = "  ".join(f"{name} {value:.3g}" for name, value in self._metrics.items())
            took = _clock(time.monotonic() - self._began)
            self._console.print(Text.assemble(("✓ ", "green"), (self._stage, "bold"), f" {took}  ", (figures, "dim")))
        self._stage = ""

    def _left(self, done: int) -> str:
        left = seconds_left(time.monotonic() - self._began, done, self._total, self._done_before)
        return "" if left is None else _clock(left)

    def _draw(self) -> Group:
        figures = Table.grid(padding=(0, 2))
        for name, value in self._metrics.items():
            figures.add_row(Text(name.replace("_", " "), style="dim"), f"{value:.4g}")
        parts: list[object] = [self._bar, figures] if self._bar else [figures]
        for prompt, answer in reversed(self._samples):
            body = Text(_one_line(prompt, 160) + "\n", style="cyan") + Text(_one_line(answer, 400), style="default")
            parts.append(Panel(body, border_style="dim", title="a sampled answer", title_align="left"))
        return Group(*parts)  # type: ignore[arg-type]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _one_line(text: str, most: int) -> str:
    """Model text without line breaks and control characters, cut to `most` characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"
