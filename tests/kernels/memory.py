"""Memory in which a loop that reads or writes beside its tensors is seen."""

from typing import Any

import torch
from torch import Tensor

_ZONE = 67
"""Numbers before and behind each tensor; odd, so that no tensor begins where a vector register would like it to."""
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64, 1: torch.uint8}


def bits(x: Tensor) -> Tensor:
    """The bits of a tensor's numbers, as integers: NaN is equal to itself, and 0 is not -0."""
    return x.contiguous().view(_BITS[x.element_size()])


class Memory:
    """Tensors between zones of NaN (for bool and integers: of 1), and in the place of `torch` for `accordant.kernels`.

    What a loop reads beside a tensor makes its result NaN, and so does what it leaves unwritten of a new tensor; what
    it writes there is found by `check`.
    """

    def __init__(self) -> None:
        self._buffers: list[tuple[Tensor, int]] = []
        self._constants: list[tuple[Tensor, Tensor]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """As `torch.empty`, full of NaN."""
        count = torch.Size(shape).numel()
        fill = torch.nan if dtype.is_floating_point else 1
        buffer = torch.full((count + 2 * _ZONE,), fill, dtype=dtype)
        self._buffers.append((buffer, count))
        return buffer[_ZONE : _ZONE + count].view(shape)

    def empty_like(self, x: Tensor) -> Tensor:
        """As `torch.empty_like`."""
        return self.empty(*x.shape, dtype=x.dtype)

    def zeros(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """As `torch.zeros`."""
        return self.empty(*shape, dtype=dtype).zero_()

    def hold(self, x: Tensor) -> Tensor:
        """A copy of `x` in this memory, which a loop may change."""
        return self.empty_like(x).copy_(x)

    def keep(self, x: Tensor) -> Tensor:
        """A copy of `x` in this memory, which nobody may change."""
        held = self.hold(x)
        self._constants.append((held, x.clone()))
        return held

    def check(self) -> None:
        """Fails where something was written that is not a result."""
        for buffer, count in self._buffers:
            empty = torch.full((_ZONE,), torch.nan if buffer.dtype.is_floating_point else 1, dtype=buffer.dtype)
            assert torch.equal(bits(buffer[:_ZONE]), bits(empty)), "written before a tensor"
            assert torch.equal(bits(buffer[_ZONE + count :]), bits(empty)), "written behind a tensor"
        for held, x in self._constants:
            assert torch.equal(bits(held), bits(x)), "an argument was changed"
