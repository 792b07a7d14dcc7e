"""Root-mean-square normalisation."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from accordant import kernels
from accordant.model.precision import widened


class RMSNorm(nn.Module):
    """Scale to root mean square 1, in float32 inside (Zhang & Sennrich 2019)."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if not torch.is_grad_enabled():
            return _normalised(x, self.weight, self.epsilon)[0]
        return _RMSNorm.apply(x, self.weight, self.epsilon)  # type: ignore[no-any-return, no-untyped-call]


def _normalised(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The result, and one number per row by which it was scaled."""
    if kernels.suits(x, weight):
        return kernels.rms_norm(x, weight, epsilon)
    wide = widened(x)
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return weight * (wide * scale).to(x.dtype), scale


class _RMSNorm(torch.autograd.Function):
    """Keeps its input and one number per row for the way back, where autograd would keep three float32 copies.

    With n = x / rms(x) and y = w n, the gradient by x is (w g - n mean(w g n)) / rms(x).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        normal, scale = _normalised(x, weight, epsilon)
        ctx.save_for_backward(x, weight, scale)
        return normal

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        if kernels.suits(x, weight, gradients[0]):
            return *kernels.rms_norm_backward(x, weight, scale, gradients[0]), None
        normal, gradient = widened(x) * scale, widened(gradients[0])
        by_weight = (gradient * normal).flatten(0, -2).sum(0).to(weight.dtype)
        gradient = gradient * weight
        by_x = (gradient - normal * (gradient * normal).mean(-1, keepdim=True)).mul_(scale)
        return by_x.to(x.dtype), by_weight, None
