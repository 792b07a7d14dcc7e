"""Log-probabilities of given tokens, with logits only where they are needed and never all at once."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from accordant.data.packing import PackedBatch
from accordant.model import Transformer

_CHUNK = 512


class TokenScores(NamedTuple):
    """Per target token: log-probability and, where asked for, the entropy of its distribution; (targets,), nats."""

    log_probs: Tensor
    entropy: Tensor | None


def score_tokens(
    model: Transformer, batch: PackedBatch, temperature: float = 1.0, with_entropy: bool = False
) -> TokenScores:
    """Log-probs of the batch's targets under softmax(logits / temperature), float32, differentiable.

    The entropy carries no gradient.
    """
    hidden = model.hidden(batch.ids, batch.attention)[batch.predicting]
    head = model.lm_head.weight
    log_probs: Tensor = LinearLogProbs.apply(hidden, head, batch.targets, temperature)  # type: ignore[no-untyped-call]
    return TokenScores(log_probs, _entropy(hidden, head, temperature) if with_entropy else None)


class LinearLogProbs(torch.autograd.Function):
    """log softmax(hidden @ head.T / temperature)[target], in chunks of rows.

    The logits of a chunk are dropped after use and computed again on the way back: at 49,152 words they would be the
    largest tensors of the whole pass. The gradient by the logits is (1[target] - softmax) / temperature.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, temperature: float) -> Tensor:
        """(rows, hidden), (vocabulary, hidden), (rows,) to (rows,) float32."""
        chosen, normalisers = [], []
        for states, wanted in zip(torch.split(hidden, _CHUNK), torch.split(targets, _CHUNK), strict=True):
            logits = _wide_logits(states, head, temperature)
            normalisers.append(logits.logsumexp(-1))
            chosen.append(logits.gather(-1, wanted[:, None]).squeeze(-1) - normalisers[-1])
        if not chosen:
            return hidden.new_zeros(0, dtype=torch.float32)
        ctx.save_for_backward(hidden, head, targets, torch.cat(normalisers))
        ctx.temperature = temperature
        return torch.cat(chosen)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by hidden and head."""
        (gradient,) = gradients
        hidden, head, targets, normalisers = ctx.saved_tensors
        by_hidden, by_head = torch.empty_like(hidden), torch.zeros_like(head)
        for rows in torch.split(torch.arange(len(hidden), device=hidden.device), _CHUNK):
            states, scale = hidden[rows], (gradient[rows] / ctx.temperature)[:, None]
            by_logits = _wide_logits(states, head, ctx.temperature)
            by_logits.sub_(normalisers[rows, None]).exp_().mul_(-scale)
            by_logits.scatter_add_(-1, targets[rows, None], scale.to(by_logits.dtype))
            narrow = by_logits.to(head.dtype)
            by_hidden[rows] = narrow @ head
            by_head.addmm_(narrow.t(), states)
        return by_hidden, by_head, None, None


def _wide_logits(states: Tensor, head: Tensor, temperature: float) -> Tensor:
    logits = F.linear(states, head)
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    return wide if temperature == 1 else wide / temperature


def _entropy(hidden: Tensor, head: Tensor, temperature: float) -> Tensor:
    with torch.no_grad():
        parts = []
        for states in torch.split(hidden, _CHUNK):
            log_probs = F.log_softmax(_wide_logits(states, head, temperature), dim=-1)
            parts.append(-(log_probs.exp() * log_probs).sum(-1))
        return torch.cat(parts)
