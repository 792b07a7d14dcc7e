"""How tokens of one packed batch attend: each sequence to itself, backwards only.

Every other part of the decoder works token by token on a flat batch without padding, so this is the one place
where sequences exist. `engine.cache` brings the second form, with keys and values kept.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

_SHORT = 256
"""Up to this many tokens plain matrix products beat the fused kernel on a CPU, whose way back is four times slower
there (docs/log.md); longer ones would fill the memory with scores."""


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


class PackedAttention:
    """Causal attention within each of several sequences laid end to end.

    Sequences are spread to a right-padded rectangle for the kernel and gathered again; a causal mask alone keeps
    the padding out of every real token's sight, so what a sequence gets does not depend on its neighbours.
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
        spread = (self._spread(query), self._spread(key), self._spread(value))
        if query.device.type == "cpu" and self._widest <= _SHORT:
            out = short_causal_attention(*spread)
        else:
            out = F.scaled_dot_product_attention(*spread, is_causal=True, enable_gqa=query.shape[1] != key.shape[1])
        flat = out.transpose(1, 2).reshape(self._rows * self._widest, *query.shape[1:])
        return flat if self._regular else flat[self._slots]

    def _spread(self, flat: Tensor) -> Tensor:
        """(tokens, heads, size) to (rows, heads, widest, size)."""
        if not self._regular:
            grid = flat.new_zeros(self._rows * self._widest, *flat.shape[1:])
            flat = grid.index_copy(0, self._slots, flat)
        return flat.view(self._rows, self._widest, *flat.shape[1:]).transpose(1, 2)


def short_causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention by plain matrix products, with the softmax in float32.

    The query heads that share a key head are laid below each other, so that each product is one large one.

    Args:
        query: (rows, heads, tokens, size).
        key: (rows, kv_heads, tokens, size).
        value: like `key`.

    Returns:
        (rows, heads, tokens, size).
    """
    rows, heads, tokens, size = query.shape
    shared = key.shape[1]
    grouped = query.reshape(rows * shared, heads // shared * tokens, size)
    scores = torch.bmm(grouped, key.reshape(rows * shared, tokens, size).transpose(1, 2))
    future = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1).repeat(heads // shared, 1)
    weights = (scores.float() * size**-0.5).masked_fill(future, -torch.inf).softmax(-1).to(value.dtype)
    return torch.bmm(weights, value.reshape(rows * shared, tokens, size)).view(rows, heads, tokens, size)
