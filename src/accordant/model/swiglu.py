"""The gate of the MLP (Shazeer 2020)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from accordant import kernels


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, for tensors of one shape."""
    if not kernels.suits(gate, up):
        return F.silu(gate) * up
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        return _SwiGLU.apply(gate, up)  # type: ignore[no-any-return, no-untyped-call]
    return kernels.swiglu(gate, up)


class _SwiGLU(torch.autograd.Function):
    """Keeps its inputs alone for the way back, where autograd would keep silu(gate), too."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return kernels.swiglu(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return kernels.swiglu_backward(gate, up, gradients[0])
