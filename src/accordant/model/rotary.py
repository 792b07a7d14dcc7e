"""Rotary positions (Su et al. 2021)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from accordant import kernels
from accordant.model.config import ModelConfig


class RotaryPositions:
    """Cosines and sines of rotary positions (Su et al. 2021), computed in float32 for the positions at hand."""

    def __init__(self, config: ModelConfig) -> None:
        # On the CPU by name: a model is first made on the meta device, where nothing has a value.
        half = torch.arange(0, config.head_size, 2, dtype=torch.float32, device="cpu") / config.head_size
        frequencies = 1.0 / config.rope_base**half
        if config.rope_scaling:
            frequencies = torch.tensor([config.rope_scaling.apply(f) for f in frequencies.tolist()], device="cpu")
        self.frequencies = frequencies

    def at(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each (tokens, 1, head_size); the sine's first half negative, as `rotate` wants it."""
        self.frequencies = self.frequencies.to(positions.device)  # once: a recorded graph must not copy from the CPU
        angles = positions.float()[:, None, None] * self.frequencies
        cosine, sine = angles.cos().to(dtype), angles.sin().to(dtype)
        return torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (i, i + size/2) of `x`, (tokens, heads, size), by its position's angle."""
    if not kernels.suits(x, cosine):
        return x * cosine + x.roll(x.shape[-1] // 2, -1) * sine
    if torch.is_grad_enabled() and x.requires_grad:
        return _Rotation.apply(x, cosine, sine)  # type: ignore[no-any-return, no-untyped-call]
    return kernels.rotate(x, cosine, sine)


class _Rotation(torch.autograd.Function):
    """The gradient is turned back by the same angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return kernels.rotate(x, cosine, sine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return kernels.rotate(gradients[0], cosine, sine, sign=-1.0), None, None
