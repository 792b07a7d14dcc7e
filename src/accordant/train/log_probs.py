"""Log-probabilities of given tokens, with logits only where they are needed and never all at once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from accordant.data.packing import PackedBatch
from accordant.model import Transformer
from accordant.model.precision import widened

_PRODUCT_ROWS = 256
"""Rows of one matrix product: enough for its full rate, few enough that their logits fit in memory."""
_SOFTMAX_ROWS = {"cpu": 32, "cuda": _PRODUCT_ROWS}
"""Rows of one softmax: their float32 logits stay in the processor's cache, which made it three times faster. On a GPU
each softmax is a few launches more, so that it takes the whole product."""


class TokenScores(NamedTuple):
    """Per token: log-probability, and the entropy of the distribution it is from (empty unless asked for); nats."""

    log_probs: Tensor
    entropy: Tensor


def score_tokens(
    model: Transformer, batch: PackedBatch, temperature: float = 1.0, with_entropy: bool = False
) -> TokenScores:
    """Log-probs of the batch's targets under softmax(logits / temperature), float32, differentiable.

    The entropy carries no gradient.
    """
    return score_states(model, predicting_states(model, batch), batch.targets, temperature, with_entropy)


def predicting_states(model: Transformer, batch: PackedBatch) -> Tensor:
    """The hidden states that the batch's targets are predicted from, (targets, hidden)."""
    return model.hidden(batch.ids, batch.attention).index_select(0, batch.predicting)


def score_states(
    model: Transformer, states: Tensor, targets: Tensor, temperature: float = 1.0, with_entropy: bool = False
) -> TokenScores:
    """`score_tokens` from the (targets, hidden) states themselves, which may serve something else as well."""
    head = model.lm_head.weight
    return TokenScores(*LinearLogProbs.apply(states, head, targets, temperature, with_entropy))  # type: ignore[no-untyped-call]


class LinearLogProbs(torch.autograd.Function):
    """log softmax(hidden @ head.T / temperature)[target], a few rows at a time.

    Logits are dropped after use and computed again on the way back: at 49,152 words they would be the largest
    tensors of the whole pass. The gradient by the logits is (1[target] - softmax) / temperature.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, temperature: float, with_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        """(rows, hidden), (vocabulary, hidden), (rows,) to log-probs and, if asked for, entropies; (rows,) float32."""
        log_probs = hidden.new_empty(len(hidden), dtype=torch.promote_types(hidden.dtype, torch.float32))
        normalisers = torch.empty_like(log_probs)
        entropy = torch.empty_like(log_probs) if with_entropy else log_probs.new_empty(0)
        for product in _cut(0, len(hidden), _PRODUCT_ROWS):
            logits = F.linear(hidden[product], head)
            for rows in _cut(product.start, product.stop, _SOFTMAX_ROWS[hidden.device.type]):
                wide = _wide(logits[rows.start - product.start : rows.stop - product.start], temperature)
                normalisers[rows] = normaliser = wide.logsumexp(-1)
                log_probs[rows] = wide.gather(-1, targets[rows, None]).squeeze(-1) - normaliser
                if with_entropy:
                    shares = (wide - normaliser[:, None]).exp_()
                    entropy[rows] = normaliser - shares.mul_(wide).sum(-1)
        ctx.save_for_backward(hidden, head, targets, normalisers)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by hidden and, unless it is frozen, head."""
        hidden, head, targets, normalisers = ctx.saved_tensors
        scale = (gradients[0] / ctx.temperature)[:, None]
        by_hidden = torch.empty_like(hidden)
        by_head = torch.zeros_like(head) if ctx.needs_input_grad[1] else None
        for product in _cut(0, len(hidden), _PRODUCT_ROWS):
            logits = F.linear(hidden[product], head)
            for rows in _cut(product.start, product.stop, _SOFTMAX_ROWS[hidden.device.type]):
                narrow = logits[rows.start - product.start : rows.stop - product.start]
                by_logits = _wide(narrow, ctx.temperature).sub(normalisers[rows, None]).exp_().mul_(-scale[rows])
                narrow.copy_(by_logits.scatter_add_(-1, targets[rows, None], scale[rows].to(by_logits.dtype)))
            by_hidden[product] = logits @ head
            if by_head is not None:
                by_head.addmm_(logits.t(), hidden[product])
        return by_hidden, by_head, None, None, None


def _cut(start: int, stop: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `start` to `stop`."""
    return (slice(first, min(first + size, stop)) for first in range(start, stop, size))


def _wide(logits: Tensor, temperature: float) -> Tensor:
    wide = widened(logits)
    return wide if temperature == 1 else wide / temperature
