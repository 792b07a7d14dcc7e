"""What a decoder does between its products, each in one loop over the numbers instead of several operators of torch.

For tensors on a CPU in bfloat16 or float32; `suits` says where they pay. Each takes and gives contiguous tensors unless
it says otherwise, and rounds where the operators that it stands for round.
"""

import torch
from torch import Tensor

from accordant.kernels.compiled import DTYPES, loops_for
from accordant.kernels.loops.sizes import BLOCK

_THREADS = 3
"""A loop runs in one thread and is three to five times as fast as one thread of torch's operators (docs/log.md)."""
_FEW = 1 << 18
"""Numbers of the first tensor that a loop is through with before several threads of torch's operators are."""


def suits(*tensors: Tensor, of_any_size: bool = False) -> bool:
    """Whether the loops take these tensors, which have one dtype, and are faster than torch's operators.

    `of_any_size`: whether they would be for larger ones, too; for what must add up in one order everywhere.
    """
    first = tensors[0]
    if not all(tensor.is_cpu and tensor.dtype == first.dtype for tensor in tensors) or first.dtype not in DTYPES:
        return False
    return few_threads() or (first.numel() <= _FEW and not of_any_size)


def few_threads() -> bool:
    """Whether a loop, which runs in one thread, is faster than torch's operators whatever the size."""
    return torch.get_num_threads() <= _THREADS


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """(..., size) and (size,) to the normalised x, weighted, and the float32 (..., 1) by which each row was scaled."""
    x, weight, size = x.contiguous(), weight.contiguous(), x.shape[-1]
    out, scales = torch.empty_like(x), torch.empty(*x.shape[:-1], 1, dtype=torch.float32)
    addresses = x.data_ptr(), weight.data_ptr(), out.data_ptr(), scales.data_ptr()
    loops_for(x.dtype).rms_norm(*addresses, scales.numel(), size, epsilon)
    return out, scales


def rms_norm_backward(x: Tensor, weight: Tensor, scales: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients by x and by weight, from what `rms_norm` took and gave and the gradient of its result."""
    x, weight, gradient = x.contiguous(), weight.contiguous(), gradient.contiguous()
    by_x, by_weight = torch.empty_like(x), torch.zeros(len(weight), dtype=torch.float32)
    taken = x.data_ptr(), weight.data_ptr(), scales.data_ptr(), gradient.data_ptr()
    loops_for(x.dtype).rms_norm_backward(*taken, by_x.data_ptr(), by_weight.data_ptr(), scales.numel(), len(weight))
    return by_x, by_weight.to(weight.dtype)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, for tensors of one shape."""
    gate, up = gate.contiguous(), up.contiguous()
    out = torch.empty_like(gate)
    loops_for(gate.dtype).swiglu(gate.data_ptr(), up.data_ptr(), out.data_ptr(), gate.numel())
    return out


def swiglu_backward(gate: Tensor, up: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients by gate and by up."""
    gate, up, gradient = gate.contiguous(), up.contiguous(), gradient.contiguous()
    by_gate, by_up = torch.empty_like(gate), torch.empty_like(up)
    taken = gate.data_ptr(), up.data_ptr(), gradient.data_ptr()
    loops_for(gate.dtype).swiglu_backward(*taken, by_gate.data_ptr(), by_up.data_ptr(), gate.numel())
    return by_gate, by_up


def rotate(x: Tensor, cosine: Tensor, sine: Tensor, sign: float = 1.0) -> Tensor:
    """Turn each pair (i, i + size/2) of `x` by its token's angle times `sign`.

    Args:
        x: (tokens, heads, size), a part of each token's numbers that lie together.
        cosine: (tokens, 1, size).
        sine: like `cosine`; its first half is not looked at.
        sign: 1 or, to turn back, -1.
    """
    tokens, heads, size = x.shape
    if x.stride()[1:] != (size, 1):
        x = x.contiguous()
    out = torch.empty(tokens, heads, size, dtype=x.dtype)
    addresses = x.data_ptr(), cosine.data_ptr(), sine.data_ptr(), out.data_ptr()
    loops_for(x.dtype).rotate(*addresses, tokens, x.stride(0), heads, size, sign)
    return out


def softmax(scores: Tensor, sights: Tensor) -> Tensor:
    """Scores (rows, heads, tokens, slots) to weights; each line's are the same bits wherever it is a part of more.

    `sights` (rows or 1, tokens, 3), int64, are those of `model.sight.Sight`.
    """
    rows, heads, tokens, slots = scores.shape
    scores, out, room = scores.contiguous(), torch.empty_like(scores), torch.empty(slots + BLOCK, dtype=torch.float32)
    addresses = scores.data_ptr(), sights.data_ptr(), out.data_ptr(), room.data_ptr()
    loops_for(scores.dtype).softmax(*addresses, rows, len(sights), heads, tokens, slots)
    return out


def softmax_backward_(weights: Tensor, gradient: Tensor) -> Tensor:
    """`gradient` by softmax weights to that by their scores, in place; both (..., tokens)."""
    tokens = weights.shape[-1]
    rows = weights.numel() // tokens
    loops_for(weights.dtype).softmax_backward(weights.data_ptr(), gradient.data_ptr(), rows, tokens)
    return gradient
