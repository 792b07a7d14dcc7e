"""How tokens of one packed batch attend: each sequence to itself, backwards only.

Every other part of the decoder works token by token on a flat batch without padding, so this is the one place
where sequences exist. `engine.cache` brings the second form, with keys and values kept.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


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
        repeated = query.shape[1] != key.shape[1]
        out = F.scaled_dot_product_attention(
            self._spread(query), self._spread(key), self._spread(value), is_causal=True, enable_gqa=repeated
        )
        flat = out.transpose(1, 2).reshape(self._rows * self._widest, *query.shape[1:])
        return flat if self._regular else flat[self._slots]

    def _spread(self, flat: Tensor) -> Tensor:
        """(tokens, heads, size) to (rows, heads, widest, size)."""
        if not self._regular:
            grid = flat.new_zeros(self._rows * self._widest, *flat.shape[1:])
            flat = grid.index_copy(0, self._slots, flat)
        return flat.view(self._rows, self._widest, *flat.shape[1:]).transpose(1, 2)
