"""Choosing the next token, with its log-probability under the distribution it was drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from accordant.errors import AccordantError, NotFinite

_BLOCK = 256
"""Tokens that are first taken together when one is drawn."""
_LIKELY = 512
"""The nucleus is sought among so many tokens first."""
_ALMOST_ONE = 1 - 2.0**-53
"""The largest share that is not the whole."""


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
    largest = logits.amax(-1, keepdim=True).float()
    if not bool(torch.isfinite(largest).all()):
        raise NotFinite("the model's logits are not finite; go back to an earlier checkpoint")
    if sampling.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, torch.zeros(len(tokens), device=logits.device)
    # The largest logit becomes 0 first, so that no temperature, however small, makes infinities of all.
    temperature = max(sampling.temperature, 1e-30)
    weights = (logits - largest).div_(temperature).exp_()
    if sampling.top_p < 1:
        weights = _nucleus(weights, sampling.top_p)
    tokens, total = _invert(weights, uniform)
    chosen = (logits.gather(-1, tokens[:, None]) - largest).squeeze(-1) / temperature
    return tokens, (chosen - total.log()).float()


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


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of the heaviest tokens whose share of the mass reaches `top_p` (Holtzman et al. 2020).

    It nearly always lies among the `_LIKELY` heaviest; only the rows where it does not are sorted as a whole.
    """
    enough = weights.sum(-1, keepdim=True) * top_p
    kept, reached = _heaviest(weights, enough, min(_LIKELY, weights.shape[-1]))
    if not bool(reached.all()):
        rest = ~reached
        kept[rest], _ = _heaviest(weights[rest], enough[rest], weights.shape[-1])
    return kept


def _heaviest(weights: Tensor, enough: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`weights` without all but the heaviest that together reach `enough`, at most `count`; and which rows reach it."""
    ordered, order = weights.topk(count, dim=-1)
    mass = ordered.cumsum(-1)
    kept = torch.zeros_like(weights).scatter_(-1, order, torch.where(mass - ordered < enough, ordered, 0.0))
    return kept, mass[:, -1] >= enough[:, 0]


def _invert(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Where the running sum of `weights`, (rows, vocabulary), passes the share `uniform` of the whole.

    First among the sums of blocks, then within a block: a running sum over a large vocabulary costs more than all
    else here. In float64: a float32 sum loses the rare tokens, and a uniform just below 1 rounds to 1, which is past
    the last token that has any mass.

    Returns:
        Tokens (rows,), each of positive weight, and the whole sums (rows,), float64.
    """
    short = -weights.shape[-1] % _BLOCK
    blocks = (F.pad(weights, (0, short)) if short else weights).reshape(len(weights), -1, _BLOCK)
    ends = blocks.sum(-1).double().cumsum(-1)
    target = uniform.to(ends)[:, None] * ends[:, -1:]
    block = torch.searchsorted(ends, target, right=True)
    begin = F.pad(ends, (1, 0)).gather(-1, block)
    share = (target - begin) / (ends.gather(-1, block) - begin)
    inner = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK)).squeeze(1).double().cumsum(-1)
    place = torch.searchsorted(inner, share.clamp_max(_ALMOST_ONE) * inner[:, -1:], right=True)
    return (block * _BLOCK + place).squeeze(-1), ends[:, -1]
