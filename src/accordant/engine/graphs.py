"""Decode steps recorded as CUDA graphs: replayed by one launch instead of several hundred.

A step of a small model is over before the host has said what to do in it. A recorded step works on fixed addresses: the
weights, which training changes in place, and the cache and buffers here.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from accordant.engine.cache import DecodeAttention, KeyValueCache
from accordant.model import Transformer


def can_record(device: torch.device) -> bool:
    """Whether steps can be recorded there."""
    return device.type == "cuda"


class DecodeGraphs:
    """Steps of a model on a cache, recorded at their first use for each power of two of rows.

    Rows past those in use are computed, too, in rows of the cache that are free, at any slot: who takes such a row
    fills every slot before reading it.

    Args:
        model: its weights may change their values, not their places.
        cache: to be used by nobody else.
    """

    def __init__(self, model: Transformer, cache: KeyValueCache) -> None:
        self.model, self.cache = model, cache
        self._places = _places(model)
        self._tokens = torch.zeros_like(cache.lengths)
        self._positions = torch.zeros_like(cache.lengths)
        self._recorded: dict[int, Callable[[], Tensor]] = {}

    def fits(self, rows: int, capacity: int) -> bool:
        """Whether so many rows of so many tokens have room, and the weights are where they were."""
        has_room = rows <= len(self.cache.lengths) and capacity <= self.cache.capacity
        return has_room and self._places == _places(self.model)

    def __call__(self, tokens: Tensor) -> Tensor:
        """One token more in each row in use, (rows,), to the logits after it, (rows, vocabulary).

        They stand in a buffer that the next call overwrites.
        """
        count = len(tokens)
        rows = min(1 << (count - 1).bit_length(), len(self._tokens))
        lengths = self.cache.lengths[:count]
        self._tokens[:count] = tokens
        self._positions[:count] = lengths
        lengths += 1
        if rows not in self._recorded:
            self._recorded[rows] = record(lambda: self._step(rows))
        return self._recorded[rows]()[:count]

    def _step(self, rows: int) -> Tensor:
        logits: Tensor = self.model(self._tokens[:rows], RecordedAttention(self.cache, self._positions[:rows]))
        return logits


class RecordedAttention(DecodeAttention):
    """As `DecodeAttention`, at positions that stand in a buffer, in a cache that stays as it is."""

    def __init__(self, cache: KeyValueCache, positions: Tensor) -> None:
        self._look(cache, positions)


def record(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """What does `work` again, on the same addresses, and returns its result in the same place.

    `work` is done once before: what its kernels set up at their first use cannot be recorded.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)  # each place is written once in a step: any order gives the same bits
    try:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work()
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def _places(model: Transformer) -> list[int]:
    return [weight.data_ptr() for weight in model.parameters()]
