"""What changes the logits before a token is drawn, and the log-probs of what could have been drawn."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Shaper(Protocol):
    """Changes one row's logits; it belongs to that row alone."""

    def shape(self, logits: Tensor, ids: Sequence[int], /) -> None:
        """Change `logits`, (vocabulary,) float32, in place; `ids` are the answer's tokens so far."""


@dataclass(frozen=True)
class Nudges:
    """Fixed biases, and penalties on tokens that the answer has already.

    Attributes:
        bias: added to the logits of these tokens.
        presence: subtracted once from the logit of each token that occurred.
        frequency: subtracted as many times as it occurred.
    """

    bias: Mapping[int, float] = field(default_factory=dict)
    presence: float = 0.0
    frequency: float = 0.0

    def shape(self, logits: Tensor, ids: Sequence[int], /) -> None:
        """See `Shaper`."""
        added = dict(self.bias)
        if self.presence or self.frequency:
            for token, count in Counter(ids).items():
                added[token] = added.get(token, 0.0) - self.presence - self.frequency * count
        if added:
            logits[list(added)] += torch.tensor(list(added.values()), device=logits.device)


class TokenChoice(NamedTuple):
    """A token that was drawn, its log-prob under the model itself (temperature 1, nothing cut), and the likeliest."""

    token: int
    log_prob: float
    likeliest: tuple[tuple[int, float], ...]


def likeliest(logits: Tensor, token: int, count: int) -> TokenChoice:
    """The `count` likeliest tokens beside the one that was drawn; `logits` are (vocabulary,)."""
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    values, tokens = log_probs.topk(count)
    return TokenChoice(token, float(log_probs[token]), tuple(zip(tokens.tolist(), values.tolist(), strict=True)))
