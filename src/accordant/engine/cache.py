"""Keys and values of the tokens so far, for a batch of rows of different lengths."""

from collections.abc import Sequence

import torch
from torch import Tensor

from accordant.kernels.decode import decode_attention, suits_decoding
from accordant.model import ModelConfig, PackedAttention
from accordant.model.sight import Sight

_STEP = 32
"""Slots are added so many at a time."""


class KeyValueCache:
    """Room for `rows` rows of `capacity` tokens, of which the first `count` rows are in use.

    Every row begins at slot 0, so nothing on the left is masked. Rows are moved only to fill a gap: what stays is
    never copied. Keys lie as the product with a query wants them, (layers, rows, kv_heads, head_size, capacity):
    turned at each step, they would cost more than the product. Values are (layers, rows, kv_heads, capacity,
    head_size). Attention goes over all slots, and there are few more than the longest row fills: products copy a part
    of the slots before they use it, which costs as much as the product does.

    Where `kernels.decode` attends, neighbours of what is added up lie side by side, `pair` (2) numbers in a last
    dimension: keys are (layers, rows, kv_heads, head_size / pair, capacity, pair), values (layers, rows, kv_heads,
    capacity / pair, head_size, pair). Elsewhere `pair` is 1.
    """

    def __init__(self, config: ModelConfig, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        heads, size, capacity = (config.layers, rows, config.kv_heads), config.head_size, _rounded(capacity)
        self.pair = pair = 2 if suits_decoding(dtype, device, size) else 1
        self.keys = torch.zeros(*heads, size // pair, capacity, pair, dtype=dtype, device=device)
        self.values = torch.zeros(*heads, capacity // pair, size, pair, dtype=dtype, device=device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.capacity = capacity
        self.count = 0

    def clear(self) -> None:
        """Take all rows out of use."""
        self.lengths.zero_()
        self.count = 0

    def reserve(self, tokens: int) -> None:
        """Have room for so many tokens in each row; what is there stays."""
        if tokens > self.capacity:
            self._resize(tokens)

    def fit(self, tokens: int) -> None:
        """Have room for so many tokens in each row, which are all that is in use, and not much more."""
        if not tokens <= self.capacity <= 2 * tokens + _STEP:
            self._resize(tokens)

    def _resize(self, tokens: int) -> None:
        keys, values, kept = self.keys, self.values, self.capacity
        pair, self.capacity = self.pair, _rounded(tokens)
        self.keys = keys.new_empty(*keys.shape[:4], self.capacity, pair)
        self.values = values.new_empty(*values.shape[:3], self.capacity // pair, *values.shape[4:])
        self.keys[:, : self.count, :, :, :kept] = keys[:, : self.count, :, :, : self.capacity]
        self.values[:, : self.count, :, : kept // pair] = values[:, : self.count, :, : self.capacity // pair]
        self.values[:, : self.count, :, kept // pair :] = 0

    def put(self, layer: int, rows: Tensor, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Write keys and values, (tokens, kv_heads, head_size), each to a slot of a row."""
        pair = self.pair
        self.keys[layer][rows, :, :, slots] = key.reshape(*key.shape[:2], -1, pair)
        self.values[layer][rows, :, slots // pair, :, slots % pair] = value

    def take(self, lengths: Tensor) -> None:
        """Take as many free rows as there are `lengths` into use, for so many tokens each."""
        first, self.count = self.count, self.count + len(lengths)
        self.lengths[first : self.count] = lengths
        self.values[:, first : self.count] = 0  # a slot that nothing was written to weighs 0, which makes no 0 of a NaN

    def keep(self, staying: Sequence[int]) -> list[int]:
        """Drop every row that is not in `staying`; the last ones take the places of the dropped.

        Returns:
            The number that each row in use had before, in the new order.
        """
        self.count = len(staying)
        stays = set(staying)
        order = list(range(self.count))
        gaps = [row for row in order if row not in stays]
        movers = [row for row in staying if row >= self.count]
        if gaps:
            widest = int(self.lengths[movers].max())
            self.keys[:, gaps, :, :, :widest] = self.keys[:, movers, :, :, :widest]
            widest = -(-widest // self.pair)
            self.values[:, gaps, :, :widest] = self.values[:, movers, :, :widest]
            self.lengths[gaps] = self.lengths[movers]
        for gap, mover in zip(gaps, movers, strict=True):
            order[gap] = mover
        return order


def _rounded(tokens: int) -> int:
    return -(-tokens // _STEP) * _STEP


class PrefillAttention(PackedAttention):
    """Causal attention over whole prompts, laid end to end, that also puts them in free rows of a cache.

    Args:
        cache: has room for `sum(copies)` more rows.
        lengths: tokens of each prompt.
        copies: rows that each prompt gets; one each by default.
    """

    def __init__(self, cache: KeyValueCache, lengths: Sequence[int], copies: Sequence[int] | None = None) -> None:
        device = cache.keys.device
        super().__init__(lengths, device)
        self._cache = cache
        self.prompt_of_row = torch.arange(len(lengths), device=device)
        if copies is not None:
            self.prompt_of_row = self.prompt_of_row.repeat_interleave(torch.tensor(copies, device=device))
        counts = torch.tensor(lengths, device=device)
        row_lengths = counts[self.prompt_of_row]
        rows = torch.arange(len(row_lengths), device=device) + cache.count
        self._places = rows.repeat_interleave(row_lengths)
        # The tokens of row r are those of its prompt, from the prompt's first one on.
        begins = (counts.cumsum(0) - counts)[self.prompt_of_row] - (row_lengths.cumsum(0) - row_lengths)
        self._tokens = torch.arange(len(self._places), device=device) + begins.repeat_interleave(row_lengths)
        cache.take(row_lengths)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `model.Attention`."""
        self.put(layer, key, value)
        return super().__call__(layer, query, key, value)

    def put(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Write keys and values of the prompts, (tokens, kv_heads, head_size), to their rows of the cache."""
        slots = self.positions[self._tokens]
        self._cache.put(layer, self._places, slots, key[self._tokens], value[self._tokens])


class DecodeAttention:
    """One new token per row in use against everything before it; makes room for that token in the cache.

    The query heads that share a key head become that head's rows, so no key or value is copied for them. Plain
    products: for so few queries the fused kernel of torch's CPU build takes 2.5 times as long (docs/log.md), and the
    arithmetic is that of `short_attention`, with which answers of usual length are trained.
    """

    def __init__(self, cache: KeyValueCache) -> None:
        lengths = cache.lengths[: cache.count]
        positions = lengths.clone()
        lengths += 1
        cache.fit(int(lengths.max()))
        self._look(cache, positions)

    def _look(self, cache: KeyValueCache, positions: Tensor) -> None:
        self._cache, self.positions = cache, positions
        self._rows = torch.arange(len(positions), device=positions.device)
        self._sight = Sight.up_to(positions[:, None], cache.capacity)
        self._keys, self._values = (part[:, : len(positions)].unbind() for part in (cache.keys, cache.values))

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `model.Attention`; here tokens = rows."""
        rows, heads, size = query.shape
        keys, values = self._keys[layer], self._values[layer]
        if self._cache.pair > 1:
            return decode_attention(query, key, value, keys, values, self.positions)
        self._cache.put(layer, self._rows, self.positions, key, value)
        keys, values = keys.flatten(0, 1).squeeze(-1), values.flatten(0, 1).squeeze(-1)
        scores = torch.bmm((query * size**-0.5).view(len(keys), -1, size), keys)
        weights = self._sight.weights(scores.view(rows, heads, 1, -1))
        return torch.bmm(weights.view(scores.shape), values).view(rows, heads, size)
