"""What a token costs as the batch, the answer and the context grow, and whether time grows as it should.

    python -m benchmarks.scaling [FIGURE.svg]

Generation, scoring (forward) and training (forward and backward) with the starter base. Draws the figure
(docs/scaling.svg), and prints last one JSON document: for each curve the sizes, the milliseconds a token, and the
exponent e of seconds = c tokens^e over the larger sizes. Time is linear in the number of tokens (e = 1) but for
attention, which for this model comes to a quarter of all arithmetic at 2,048 tokens, so that e is a little above 1 by
length; and e is below 1 by batch as long as the weights are read for few rows. Seconds are those in which a processor
worked for it, which on a shared machine hardly depend on the neighbours.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from benchmarks.paired import publish, say
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accordant.data.packing import pack_all
from accordant.engine import Engine, Sampling
from accordant.files import workspace, write_atomically
from accordant.machine import keep_freed_memory, peak_memory_gb, resolve_dtype
from accordant.model import Transformer
from accordant.model.base import bring_base
from accordant.model.hub import load_transformer
from accordant.text import Example, Renderer
from accordant.train.log_probs import score_tokens

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
LENGTHS = (64, 128, 256, 512, 1024, 2048)
MICRO_BATCH_TOKENS = 2048
LEAST_SECONDS = 0.5
"""A point is measured again and again for so long; its median counts."""
FITTED = 4
"""Largest sizes of a curve that its exponent is fitted to."""
PANELS = {"batch": "rows at once", "answer": "tokens of each answer", "context": "tokens before, or of a sequence"}
COLOURS = {"generation": "#d55e00", "prompts": "#cc79a7", "scoring": "#0072b2", "training": "#009e73"}


@dataclass(frozen=True)
class Curve:
    """Seconds by size; `tokens` are those that each size costs."""

    panel: str
    work: str
    sizes: Sequence[int]
    tokens: Sequence[int]
    seconds: Sequence[float]

    @property
    def milliseconds(self) -> list[float]:
        """Of one token."""
        return [1e3 * s / t for s, t in zip(self.seconds, self.tokens, strict=True)]

    @property
    def exponent(self) -> float | None:
        """Of time by number of tokens; None where every size costs as many."""
        if len(set(self.tokens)) == 1:
            return None
        logs = np.log([self.tokens[-FITTED:], self.seconds[-FITTED:]])
        return round(float(np.polyfit(logs[0], logs[1], 1)[0]), 2)

    def to_json(self) -> dict[str, object]:
        """The figures that count, to three digits."""
        cost = [float(f"{value:.3g}") for value in self.milliseconds]
        found = {"sizes": list(self.sizes), "milliseconds": cost}
        return found | ({} if self.exponent is None else {"exponent": self.exponent})


def seconds_of(work: Callable[[], object]) -> float:
    """Median over repetitions, without the first, in which weights are packed and kernels compiled."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < LEAST_SECONDS:
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times[1:])


class Subject:
    """The model and what is done with it; tokens are random, and no answer ends before its length."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self.model: Transformer = load_transformer(folder, dtype)
        renderer = Renderer.load(folder)
        endless = Renderer(replace(renderer.tokenizer, end_of_turn=-1), renderer.template)
        self.engine = Engine(self.model, endless, rows=max(BATCHES))

    def ids(self, count: int, seed: int) -> list[int]:
        """Tokens that depend on `seed` alone."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(100, self.model.config.vocab_size, (count,), generator=generator).tolist()

    def generate(self, rows: int, context: int, answer: int) -> float:
        """Seconds of `rows` answers of `answer` tokens after different prompts of `context` tokens."""
        prompts = [self.ids(context, row) for row in range(rows)]
        return seconds_of(lambda: self.engine.generate(prompts, Sampling(max_tokens=answer)))

    def stream(self, context: int, lengths: Sequence[int]) -> list[float]:
        """Seconds up to each of `lengths` tokens of one answer after a prompt of `context` tokens."""
        for _ in self.engine.stream(self.ids(context, 0), Sampling(max_tokens=8)):
            pass  # weights are packed at the first use
        began = time.process_time()
        answer = self.engine.stream(self.ids(context, 0), Sampling(max_tokens=max(lengths)))
        return [time.process_time() - began for token, _ in enumerate(answer, start=1) if token in lengths]

    def score(self, rows: int, length: int, train: bool) -> float:
        """Seconds of the log-probs of `rows` sequences of `length` tokens, and with `train` of their gradients."""
        examples = [Example(self.ids(length, row), [True] * length) for row in range(rows)]

        def work() -> None:
            with torch.set_grad_enabled(train):
                for batch in pack_all(examples, MICRO_BATCH_TOKENS, self.model.device):
                    loss = -score_tokens(self.model, batch).log_probs.mean()
                    if train:
                        loss.backward()  # type: ignore[no-untyped-call]
            for weight in self.model.parameters():
                weight.grad = None

        return seconds_of(work)


def by_batch(subject: Subject) -> list[Curve]:
    """Answers of 16 tokens after 16; sequences of 128 tokens."""
    generated = [subject.generate(rows, 16, 17) - subject.generate(rows, 16, 1) for rows in BATCHES]
    curves = [told(Curve("batch", "generation", BATCHES, [16 * rows for rows in BATCHES], generated))]
    for work, most in (("scoring", 32), ("training", 16)):
        sizes = [rows for rows in BATCHES if rows <= most]
        seconds = [subject.score(rows, 128, work == "training") for rows in sizes]
        curves.append(told(Curve("batch", work, sizes, [128 * rows for rows in sizes], seconds)))
    return curves


def by_answer(subject: Subject) -> list[Curve]:
    """One answer after a prompt of 16 tokens: its time up to each length."""
    return [told(Curve("answer", "generation", LENGTHS, LENGTHS, subject.stream(16, LENGTHS)))]


def by_context(subject: Subject) -> list[Curve]:
    """Two prompts of growing length and 16 tokens after each; 2,048 tokens as sequences of growing length.

    The time by number of tokens is that of one row: total times are divided by the rows that the 2,048 tokens make.
    """
    first = [subject.generate(2, length, 1) for length in LENGTHS]
    all_of_it = [subject.generate(2, length, 17) for length in LENGTHS]
    decoding = [a - b for a, b in zip(all_of_it, first, strict=True)]
    curves = [
        told(Curve("context", "prompts", LENGTHS, [2 * length for length in LENGTHS], first)),
        told(Curve("context", "generation", LENGTHS, [2 * 16] * len(LENGTHS), decoding)),
    ]
    for work in ("scoring", "training"):
        seconds = [subject.score(2048 // n, n, work == "training") * n / 2048 for n in LENGTHS]
        curves.append(told(Curve("context", work, LENGTHS, LENGTHS, seconds)))
    return curves


def told(curve: Curve) -> Curve:
    """Say what was found."""
    cost = "  ".join(f"{size}: {ms:.3g}" for size, ms in zip(curve.sizes, curve.milliseconds, strict=True))
    say(f"{curve.work} by {curve.panel}: ms a token {cost}  (exponent {curve.exponent}, {peak_memory_gb()} GB)")
    return curve


def draw(curves: Sequence[Curve], path: Path) -> None:
    """One panel for each thing that grows; a level line is linear time."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(PANELS), sharey=True))
    for axes, (panel, label) in zip(panels, PANELS.items(), strict=True):
        for curve in (c for c in curves if c.panel == panel):
            text = curve.work if curve.exponent is None else f"{curve.work}, $e$ = {curve.exponent:.2f}"
            axes.plot(curve.sizes, curve.milliseconds, "o-", color=COLOURS[curve.work], markersize=3, label=text)
        axes.set(yscale="log", xlabel=label)
        axes.set_xscale("log", base=2)
        axes.grid(axis="y", linewidth=0.4)
        axes.legend(fontsize=7, frameon=False)
    panels[0].set_ylabel("milliseconds a token")
    with matplotlib.rc_context({"svg.hashsalt": "accordant"}):
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomically(path, drawn.getvalue())


def main(path: Path) -> None:
    """Measure, draw, publish."""
    keep_freed_memory()
    threads, dtype = torch.get_num_threads(), resolve_dtype("auto")
    torch.set_num_threads(threads)
    subject = Subject(bring_base("starter", workspace() / "bases"), dtype)
    curves = [*by_batch(subject), *by_answer(subject), *by_context(subject)]
    draw(curves, path)
    publish("scaling", {"curves": {f"{c.work} by {c.panel}": c.to_json() for c in curves}, "gb": peak_memory_gb()})


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/scaling.svg"))
