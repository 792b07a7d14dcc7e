"""Choosing the next token, with its log-probability under the distribution it was drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accordant.errors import AccordantError, NotFinite


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: temperature 0 is greedy; `stop` are texts that end an answer and are cut off."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 128
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise AccordantError(f"temperature = {self.temperature}: must be 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise AccordantError(f"top_p = {self.top_p}: must be above 0 and at most 1")
        if self.max_tokens < 1:
            raise AccordantError(f"max_tokens = {self.max_tokens}: must be at least 1")
        if "" in self.stop:
            raise AccordantError("stop has an empty text: it would end every answer before it begins")


def uniforms(seed: int, row: int, count: int) -> Tensor:
    """The random numbers of one row, (count,) in [0, 1), float64.

    They depend on the seed and the row's own number alone, so an answer does not depend on who shares its batch.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + row) % (1 << 63))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def choose(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary), any float dtype.
        uniform: (rows,) in [0, 1).
        sampling: temperature and top_p; both are part of the distribution whose log-probs are returned.

    Returns:
        Tokens (rows,) and their log-probs (rows,), float32. Greedy choices are certain: log-prob 0.

    Raises:
        NotFinite: when logits are not.
    """
    wide = logits.float()
    largest = wide.amax(-1, keepdim=True)
    if not bool(torch.isfinite(largest).all()):
        raise NotFinite("the model's logits are not finite; go back to an earlier checkpoint")
    if sampling.temperature == 0:
        tokens = wide.argmax(-1)
        return tokens, torch.zeros(len(tokens), device=logits.device)
    # The largest logit becomes 0 first, so that no temperature, however small, makes infinities of all.
    log_probs = torch.log_softmax((wide - largest) / max(sampling.temperature, 1e-30), dim=-1)
    if sampling.top_p < 1:
        log_probs = _nucleus(log_probs, sampling.top_p)
    # In float64: a float32 sum of a large vocabulary loses its rare tokens, and a uniform just below 1 rounds to 1,
    # which is past the last token that has any mass.
    cumulative = log_probs.exp().cumsum(-1, dtype=torch.float64)
    target = uniform.to(cumulative) * cumulative[:, -1]
    tokens = torch.searchsorted(cumulative, target[:, None], right=True).squeeze(-1)
    return tokens, log_probs.gather(-1, tokens[:, None]).squeeze(-1)


def choose_each(logits: Tensor, uniform: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """`choose` where each row has a sampling of its own; those with one temperature and top_p are drawn together."""
    alike: dict[tuple[float, float], list[int]] = {}
    for row, sampling in enumerate(samplings):
        alike.setdefault((sampling.temperature, sampling.top_p), []).append(row)
    if len(alike) == 1:
        return choose(logits, uniform, samplings[0])
    tokens = torch.empty(len(logits), dtype=torch.long, device=logits.device)
    log_probs = torch.empty(len(logits), device=logits.device)
    for rows in alike.values():
        tokens[rows], log_probs[rows] = choose(logits[rows], uniform[rows], samplings[rows[0]])
    return tokens, log_probs


def _nucleus(log_probs: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose mass reaches `top_p`, renormalised (Holtzman et al. 2020)."""
    ordered, order = log_probs.sort(dim=-1, descending=True)
    mass_before = ordered.exp().cumsum(-1) - ordered.exp()
    ordered = ordered.masked_fill(mass_before >= top_p, -torch.inf)
    ordered = ordered - ordered.logsumexp(-1, keepdim=True)
    return torch.full_like(log_probs, -torch.inf).scatter(-1, order, ordered)
