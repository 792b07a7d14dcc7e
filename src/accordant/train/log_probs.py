"""Log-probabilities of given tokens, with logits only where they are needed and never all at once."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from accordant.data.packing import PackedBatch
from accordant.model import Transformer

_CHUNK = 512


class TokenScores(NamedTuple):
    """Per target token: log-probability and the entropy of its distribution, both (targets,) float32, in nats."""

    log_probs: Tensor
    entropy: Tensor


def score_tokens(model: Transformer, batch: PackedBatch, temperature: float = 1.0) -> TokenScores:
    """Log-probs of the batch's targets under softmax(logits / temperature), differentiable.

    The logits of a chunk are dropped after use and computed again on the way back: at 49,152 words they would be
    the largest tensors of the whole pass.
    """
    hidden = model.hidden(batch.ids, batch.attention)[batch.predicting]
    parts = [
        checkpoint(_score_chunk, model.lm_head.weight, states, targets, temperature, use_reentrant=False)
        if torch.is_grad_enabled()
        else _score_chunk(model.lm_head.weight, states, targets, temperature)
        for states, targets in zip(torch.split(hidden, _CHUNK), torch.split(batch.targets, _CHUNK), strict=True)
    ]
    return TokenScores(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))


def _score_chunk(head: Tensor, states: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    log_probs = F.log_softmax(F.linear(states, head).float() / temperature, dim=-1)
    chosen = log_probs.gather(-1, targets[:, None]).squeeze(-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    return chosen, entropy
