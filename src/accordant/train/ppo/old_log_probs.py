"""Log-probs of an iteration's answers under the policy as it sampled them: the denominators of all ratios."""

from typing import NamedTuple

import torch
from torch import Tensor

from accordant.model import Transformer
from accordant.train.ppo.rollout import Rollout


class OldLogProbs(NamedTuple):
    """What the policy gave before its first update.

    `log_probs` and `entropy` are (answers, tokens), in nats; `scored` is true on the tokens that a pass has scored, and
    elsewhere the log-prob is that of sampling and there is no entropy. `gaps` are |scored / sampled probability - 1|
    where something was scored, else 0.
    """

    log_probs: Tensor
    entropy: Tensor
    scored: Tensor
    gaps: Tensor


def old_log_probs(policy: Transformer, rollout: Rollout, temperature: float, largest_gap: float) -> OldLogProbs:
    """Those of sampling, once a pass over the first minibatch has shown that it would give the same.

    The first minibatch keeps those of its pass, of which the first update's are the same bits. Where that pass and
    sampling differ by more than `largest_gap`, as they do where their kernels round differently, the others are scored,
    too.

    Args:
        policy: as it sampled.
        rollout: its answers.
        temperature: of sampling.
        largest_gap: most that a probability's ratio may differ from 1.
    """
    first, *others = rollout.minibatches
    found, scored = rollout.score(policy, temperature, with_entropy=True, slices=first), rollout.within(first)
    gaps = _gaps(found.log_probs, rollout, scored)
    if gaps.max().item() <= largest_gap:
        log_probs = torch.where(scored, found.log_probs, rollout.sampled_log_probs)
        return OldLogProbs(log_probs, found.entropy, scored, gaps)
    rest = rollout.score(policy, temperature, with_entropy=True, slices=[part for own in others for part in own])
    log_probs, entropy = (torch.where(scored, one, other) for one, other in zip(found, rest, strict=True))
    return OldLogProbs(log_probs, entropy, rollout.mask, _gaps(log_probs, rollout, rollout.mask))


def _gaps(log_probs: Tensor, rollout: Rollout, scored: Tensor) -> Tensor:
    return torch.where(scored, (torch.exp(log_probs - rollout.sampled_log_probs) - 1).abs(), 0.0)
