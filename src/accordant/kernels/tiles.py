"""A matrix in bfloat16 as one thread multiplies with it fastest, from one row to many."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from accordant.kernels.compiled import has_loop, loops_for
from accordant.kernels.loops.sizes import OUTPUTS


def suits_tiles(weight: Tensor) -> bool:
    """Whether there may be `Tiles` of (outputs, inputs) here and now: they compute in one thread."""
    return (
        weight.is_cpu
        and weight.dtype == torch.bfloat16
        and has_loop("tiles.tiled_product", weight.dtype)
        and torch.get_num_threads() == 1
        and weight.shape[0] % OUTPUTS == 0
        and weight.shape[1] % 2 == 0
    )


class Tiles:
    """What `F.linear` gives, bit for bit where that is oneDNN's, and faster the fewer rows there are (docs/log.md).

    Args:
        weight: (outputs, inputs), of those that `suits_tiles` takes.
        bias: (outputs,), if there is one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs, self.inputs = weight.shape
        pairs = weight.contiguous().view(torch.int32).view(-1, OUTPUTS, self.inputs // 2)
        self._tiles = pairs.transpose(1, 2).contiguous()
        self._bias = torch.zeros(self.outputs) if bias is None else bias.float()
        self._ends = _ends_of_sums(self.inputs)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if x.dtype != torch.bfloat16 or x.shape[-1] != self.inputs:  # the loop looks at nothing but addresses
            raise ValueError(f"{x.dtype} of {tuple(x.shape)}: must be bfloat16 of (..., {self.inputs})")
        x = x.contiguous()
        out = x.new_empty(*x.shape[:-1], self.outputs)
        given = x, self._tiles, self._ends, self._bias, out
        sizes = x.numel() // self.inputs, self.inputs, self.outputs, len(self._ends)
        loops_for(x.dtype).tiled_product(*(tensor.data_ptr() for tensor in given), *sizes)
        return out


@cache
def _ends_of_sums(inputs: int) -> Tensor:
    """After which pairs of inputs `F.linear` begins another sum, which it adds to the one before; (parts,), int64.

    oneDNN cuts long sums at places of its own choice, and other ones would round otherwise. A number so large that
    others beside it are lost stands where a sum begins, its negative in each output at another place, and behind that
    a 1: which is lost where the negative stands in another sum by itself, but for the last place of that.
    """
    pairs, large = inputs // 2, 2.0**60
    places, ends = torch.arange(pairs), [0]
    while ends[-1] < pairs:
        weight = torch.zeros(pairs, pairs, 2, dtype=torch.bfloat16)
        weight[:, ends[-1], 0] = large
        weight[places, places, 0] = -large
        weight[places[:-1], places[1:], 0] = 1
        sums = F.linear(torch.ones(64, inputs, dtype=weight.dtype), weight.view(pairs, inputs))[0]
        lost = [place for place in range(ends[-1] + 1, pairs - 1) if sums[place] == 0]
        ends.append(lost[0] if lost else pairs)
    return torch.tensor(ends[1:])
