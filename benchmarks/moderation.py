"""How long the moderation of one message takes, by its length.

    python -m benchmarks.moderation DATA [--texts 300] [--turns 3]

DATA is a file of labelled texts (the public set of Markov et al. 2022), of which every so-manieth is taken, in order.
They are judged one by one on one thread, each in every number format in turn. A text's time is the least of the turns,
in milliseconds of the processor: what one free core takes, as other work on the machine only adds to it.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from benchmarks.paired import publish, say

from accordant.data.load import load_labelled_texts
from accordant.machine import keep_freed_memory
from accordant.moderation.moderator import Moderator

LONGEST = (200, 400, 800, 1600)
"""Characters: messages are shown apart up to each of these, and beyond the last."""
FORMATS = {
    "float32": {"dtype": torch.float32, "int8": False},
    "bfloat16": {"dtype": torch.bfloat16, "int8": False},
    "int8": {"dtype": torch.bfloat16, "int8": True},
}


def milliseconds(moderator: Moderator, text: str) -> float:
    """Of the processor, for one judgement."""
    start = time.process_time()
    moderator.judge(text)
    return (time.process_time() - start) * 1e3


def summary(values: Sequence[float]) -> dict[str, float]:
    """How many, and how long they take."""
    quantiles = {f"p{share}": float(np.quantile(values, share / 100)) for share in (50, 90, 99)}
    figures = {**quantiles, "mean": statistics.fmean(values)}
    return {"messages": len(values), **{name: float(f"{value:.3g}") for name, value in figures.items()}}


def by_length(texts: Sequence[str], took: Sequence[float]) -> dict[str, dict[str, float]]:
    """All of them, and those of like length."""
    found = {"all": summary(took)}
    for shortest, longest in zip((0, *LONGEST), (*LONGEST, 10**9), strict=True):
        own = [ms for text, ms in zip(texts, took, strict=True) if shortest < max(1, len(text)) <= longest]
        name = f"over {shortest} characters" if longest == 10**9 else f"up to {longest} characters"
        if own:
            found[name] = summary(own)
    return found


def main() -> None:
    """Parse, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    every = [row.text for row in load_labelled_texts(given.data).records]
    texts = every[:: max(1, len(every) // given.texts)][: given.texts]
    moderators = {name: Moderator.load(**how) for name, how in FORMATS.items()}
    took: dict[str, list[list[float]]] = {name: [] for name in moderators}
    for turn in range(1 + given.turns):  # the first is to warm up
        now: dict[str, list[float]] = {name: [] for name in moderators}
        for text in texts:
            for name, moderator in moderators.items():
                now[name].append(milliseconds(moderator, text))
        for name, values in now.items():
            say(f"{name}: {summary(values)}{'' if turn else '  (warm-up)'}")
            took[name] += [values] if turn else []
    characters = {f"p{share}": int(np.quantile([len(text) for text in texts], share / 100)) for share in (50, 90, 99)}
    figures = {name: by_length(texts, [min(own) for own in zip(*runs, strict=True)]) for name, runs in took.items()}
    publish("moderation", {"characters": characters, "milliseconds": figures})


if __name__ == "__main__":
    main()
