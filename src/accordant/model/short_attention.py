"""Attention by plain matrix products, for sequences so short that all scores fit in memory."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from accordant import kernels
from accordant.model.precision import widened
from accordant.model.sight import Sight


def short_attention(query: Tensor, key: Tensor, value: Tensor, sight: Sight) -> Tensor:
    """Attention whose softmax is computed in float32 (or wider) and rounded once, differentiable.

    Args:
        query: (rows, heads, tokens, size).
        key: (rows, kv_heads, tokens, size).
        value: like `key`.
        sight: what each token sees of them.

    Returns:
        (rows, heads, tokens, size).
    """
    return _ShortAttention.apply(query, key, value, sight)  # type: ignore[no-any-return, no-untyped-call]


class _ShortAttention(torch.autograd.Function):
    """The query heads that share a key head are laid below each other, so that each product is one large one.

    Only the rounded weights are kept for the way back: the float32 ones would be the largest tensors of a pass.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, sight: Sight) -> Tensor:
        rows, heads, tokens, size = query.shape
        shared = key.shape[1]
        below = (rows * shared, heads // shared * tokens)
        query = (query * size**-0.5).reshape(*below, size)
        key, value = key.reshape(rows * shared, tokens, size), value.reshape(rows * shared, tokens, size)
        scores = torch.bmm(query, key.transpose(1, 2)).view(rows, heads, tokens, tokens)
        weights = sight.weights(scores).view(*below, tokens)
        ctx.save_for_backward(query, key, value, weights)
        ctx.shape = (rows, heads, shared, tokens, size)
        return torch.bmm(weights, value).view(rows, heads, tokens, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        rows, heads, shared, tokens, size = ctx.shape
        gradient = gradients[0].reshape(query.shape)
        by_value = torch.bmm(weights.transpose(1, 2), gradient)
        by_scores = _softmax_backward(weights, torch.bmm(gradient, value.transpose(1, 2)))
        by_query = torch.bmm(by_scores, key) * size**-0.5
        by_key = torch.bmm(by_scores.transpose(1, 2), query)
        per_head = (rows, shared, tokens, size)
        return by_query.view(rows, heads, tokens, size), by_key.view(per_head), by_value.view(per_head), None


def _softmax_backward(weights: Tensor, gradient: Tensor) -> Tensor:
    """From w g, with w the weights and g their gradient: w (g - sum(w g))."""
    if kernels.suits(weights, gradient):
        return kernels.softmax_backward_(weights, gradient)
    along = widened(gradient) * weights
    return (along - widened(weights) * along.sum(-1, keepdim=True)).to(weights.dtype)
