"""Which keys a token sees, and the softmax of its scores among them."""

from functools import cached_property

import torch
from torch import Tensor

from accordant import kernels


class Sight:
    """What each token of each row sees of so many slots: some first ones, and a stretch that ends with itself.

    Args:
        bounds: (rows or 1, tokens, 3), int64: a token with (s, b, e) sees the slots before s and those from b to before
            e; s <= b < e.
        slots: number of them.
    """

    def __init__(self, bounds: Tensor, slots: int) -> None:
        self._bounds, self._slots = bounds, slots

    @classmethod
    def up_to(cls, last: Tensor, slots: int) -> "Sight":
        """All slots up to `last`, (rows or 1, tokens), with it."""
        bounds = last.new_zeros(*last.shape, 3)
        bounds[:, :, 2] = last + 1
        return cls(bounds, slots)

    @cached_property
    def hidden(self) -> Tensor:
        """(rows or 1, 1, tokens, slots): what is not seen."""
        slots = torch.arange(self._slots, device=self._bounds.device)
        stem, begin, end = self._bounds[:, None, :, :, None].unbind(3)
        return (slots >= stem) & ((slots < begin) | (slots >= end))

    def weights(self, scores: Tensor) -> Tensor:
        """The softmax, in float32 or wider and rounded once, of (rows, heads, tokens, slots), which are used up.

        On a CPU with few threads a token's weights are the same bits in a pass and in a step of the engine.
        """
        if kernels.suits(scores, of_any_size=True):
            return kernels.softmax(scores, self._bounds)
        return scores.masked_fill_(self.hidden, -torch.inf).softmax(-1)
