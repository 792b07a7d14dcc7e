"""float32 masters of bfloat16 weights, of which only that half is kept that the weight does not hold already."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

_PIECE = 2**20
"""Numbers that are worked on at once: no second copy of a large weight, and more of it stays in the cache."""


def places(numbers: int) -> Iterator[slice]:
    """The pieces of a flat tensor of so many numbers."""
    return (slice(start, start + _PIECE) for start in range(0, numbers, _PIECE))


class Master:
    """The float32 value of a weight in training (Micikevicius et al. 2018, section 3.1).

    A bfloat16 weight has the upper 16 bits of its master, rounded; `lower` has the others, as a number with a sign.
    With the bits taken as integers, master = 2^16 weight + lower: nothing is lost, both take the 4 bytes of the
    master alone, and the weight is always its master rounded to the nearest (of two as near, the larger in size).

    Args:
        weight: contiguous, and changed with its master; in float32 it is its own.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight.detach()
        self.lower = None if weight.dtype == torch.float32 else torch.zeros_like(self.weight, dtype=torch.int16)

    def read(self, place: slice) -> Tensor:
        """A piece of the flat master; what it is changed to counts once it is written."""
        piece = self.weight.view(-1)[place]
        if self.lower is None:
            return piece
        lower = self.lower.view(-1)[place]
        bits = piece.float().view(torch.int32)
        return bits.add_(lower.int()).view(torch.float32)  # adding another dtype is ten times slower

    def write(self, place: slice, piece: Tensor) -> None:
        """Take over what a piece that was read has become; it is used up by that."""
        if self.lower is not None:  # else it was the weight itself
            bits = piece.view(torch.int32)
            self.lower.view(-1)[place].copy_(bits)  # an int16 takes the last 16 bits
            upper = bits.add_(2**15).bitwise_right_shift_(16)
            self.weight.view(-1)[place].view(torch.int16).copy_(upper)

    def value(self) -> Tensor:
        """A copy of all of it, in the weight's shape."""
        return torch.cat([self.read(place) for place in places(self.weight.numel())]).view(self.weight.shape)

    def set(self, value: Tensor) -> None:
        """Take over another value, float32, of the weight's shape."""
        flat = value.flatten()
        for place in places(self.weight.numel()):
            piece = self.read(place)
            piece.copy_(flat[place])
            self.write(place, piece)
