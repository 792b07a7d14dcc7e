"""How tokens of one packed batch attend: each sequence to itself, backwards only.

Every other part of the decoder works token by token on a flat batch without padding, so this is the one place
where sequences exist. `engine.cache` brings the second form, with keys and values kept.
"""

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from accordant.model.flash_attention import Stretches, flash_attention, has_flash_attention
from accordant.model.short_attention import short_attention
from accordant.model.sight import Sight

SHORT = 256
"""Up to this many tokens plain matrix products beat the fused kernel on a CPU, whose way back is four times slower
there (docs/log.md); longer ones would fill the memory with scores."""
_ALIKE = 0.75
"""Sequences share a rectangle while the shortest has at least this share of the longest's tokens."""
_TINY = 64
"""Up to this many tokens padding costs less than another rectangle would."""


class Attention(Protocol):
    """What the decoder asks of a batch layout."""

    positions: Tensor
    """Position of each token within its sequence, (tokens,)."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend.

        Args:
            layer: number of the calling layer, from 0.
            query: (tokens, heads, head_size), rotated.
            key: (tokens, kv_heads, head_size), rotated.
            value: (tokens, kv_heads, head_size).

        Returns:
            (tokens, heads, head_size).
        """


def rectangles(lengths: Sequence[int]) -> list[slice]:
    """Runs of sequences of like lengths, which share a rectangle on a CPU."""
    lengths = [max(length, _TINY) for length in lengths]
    starts, least, most = [0], lengths[0], lengths[0]
    for row, length in enumerate(lengths):
        least, most = min(least, length), max(most, length)
        if least < _ALIKE * most:
            starts.append(row)
            least = most = length
    return [slice(a, b) for a, b in itertools.pairwise([*starts, len(lengths)])]


class PackedAttention:
    """Causal attention within each of several sequences laid end to end.

    A GPU's kernel takes them as they lie. Elsewhere they are spread to a right-padded rectangle and gathered again; a
    causal mask alone keeps the padding out of every real token's sight, so what a sequence gets does not depend on its
    neighbours. On a CPU neighbours of other lengths get rectangles of their own: the cost of one is that of its
    longest, squared.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.lengths = list(lengths)
        widest = max(self.lengths)
        counts = torch.tensor(self.lengths, device=device)
        columns = torch.arange(widest, device=device)
        inside = columns < counts[:, None]
        self._rows = len(self.lengths)
        self._widest = widest
        self._slots = inside.flatten().nonzero().squeeze(1)
        self._regular = self._rows * widest == int(counts.sum())
        self.positions = columns.expand(self._rows, widest)[inside]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `Attention`."""
        if has_flash_attention(query):
            return flash_attention(query, key, value, self._stretches)
        if query.device.type == "cpu" and len(self._parts) > 1:
            tokens = [sum(part.lengths) for part in self._parts]
            cut = zip(*(torch.split(flat, tokens) for flat in (query, key, value)), strict=True)
            return torch.cat([part(layer, *own) for part, own in zip(self._parts, cut, strict=True)])
        spread = (self._spread(query), self._spread(key), self._spread(value))
        if query.device.type == "cpu" and self._widest <= SHORT:
            out = short_attention(*spread, self._sight)
        else:
            out = F.scaled_dot_product_attention(
                *spread,
                attn_mask=self._visible,
                is_causal=self._visible is None,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        flat = out.transpose(1, 2).reshape(self._rows * self._widest, *query.shape[1:])
        return flat if self._regular else flat.index_select(0, self._slots)  # indexing's way back is five times slower

    @cached_property
    def _parts(self) -> "list[PackedAttention]":
        """One for each run of sequences of like lengths."""
        return [self._part(rows) for rows in rectangles(self.lengths)]

    def _part(self, rows: slice) -> "PackedAttention":
        return PackedAttention(self.lengths[rows], self.positions.device)

    @cached_property
    def _stretches(self) -> Stretches:
        return Stretches(self.lengths, self.lengths, self.positions.device)

    @cached_property
    def _sight(self) -> Sight:
        return Sight.up_to(torch.arange(self._widest, device=self.positions.device)[None], self._widest)

    @cached_property
    def _visible(self) -> Tensor | None:
        """The fused kernel's mask, (rows, 1, widest, widest); None where causality alone says it."""
        return None

    def _spread(self, flat: Tensor) -> Tensor:
        """(tokens, heads, size) to (rows, heads, widest, size)."""
        if not self._regular:
            grid = flat.new_zeros(self._rows * self._widest, *flat.shape[1:])
            flat = grid.index_copy(0, self._slots, flat)
        return flat.view(self._rows, self._widest, *flat.shape[1:]).transpose(1, 2)


class BranchedAttention(PackedAttention):
    """Causal attention over stems with several branches each: answers to one prompt, which is computed once.

    A row is a stem and its branches end to end. A branch sees its stem and itself, and its positions go on from the
    stem's, so each token gets what it would get in a sequence of stem and branch alone.

    Args:
        stems: tokens of each stem.
        branches: tokens of each stem's branches, in their order.
        device: where the tokens are.
    """

    def __init__(
        self, stems: Sequence[int], branches: Sequence[Sequence[int]], device: torch.device | str = "cpu"
    ) -> None:
        super().__init__([stem + sum(own) for stem, own in zip(stems, branches, strict=True)], device)
        self._stems, self._branches = stems, branches
        slots = torch.arange(self._widest)
        bounds = torch.stack((slots * 0, slots * 0, slots + 1), -1).repeat(self._rows, 1, 1)
        positions = []
        for row, (stem, own) in enumerate(zip(stems, branches, strict=True)):
            positions.append(slots[:stem])
            for begin, end in itertools.pairwise(itertools.accumulate(own, initial=stem)):
                bounds[row, begin:end, 0], bounds[row, begin:end, 1] = stem, begin
                positions.append(slots[stem : stem + end - begin])
        self._bounds = bounds.to(device)
        self.positions = torch.cat(positions).to(device)

    def _part(self, rows: slice) -> PackedAttention:
        return BranchedAttention(self._stems[rows], self._branches[rows], self.positions.device)

    @cached_property
    def _stretches(self) -> Stretches:
        """Each stem is a sequence, and so is each branch, whose keys are the stem's tokens and its own."""
        queries: list[int] = []
        keys: list[list[int]] = []
        token = 0
        for stem, own in zip(self._stems, self._branches, strict=True):
            shared = list(range(token, token + stem))
            if stem:
                queries.append(stem)
                keys.append(shared)
            token += stem
            for length in own:
                queries.append(length)
                keys.append([*shared, *range(token, token + length)])
                token += length
        device = self.positions.device
        order = torch.tensor([token for seen in keys for token in seen], device=device)
        return Stretches(queries, [len(seen) for seen in keys], device, order)

    @cached_property
    def _sight(self) -> Sight:
        return Sight(self._bounds, self._widest)

    @cached_property
    def _visible(self) -> Tensor | None:
        return ~self._sight.hidden
