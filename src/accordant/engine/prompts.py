"""Prompts on their way into the cache: short ones together, long ones in pieces, so that a step stays short."""

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from accordant.engine.cache import KeyValueCache, PrefillAttention
from accordant.engine.row import Request, Row
from accordant.model import Transformer
from accordant.model.flash_attention import Stretches, flash_attention, has_flash_attention
from accordant.model.sight import Sight


class Entering(NamedTuple):
    """Rows whose prompts are read, and the logits after these, (rows, vocabulary)."""

    rows: list[Row]
    logits: Tensor


class PromptReader:
    """Reads prompts, each once, and gives them to the free rows of a cache.

    Where a prompt is cut depends on it alone, and not on what is read besides.

    Args:
        model: reads them.
        cache: gets them.
        piece: most tokens at a time; longer prompts are read in pieces of so many.
    """

    def __init__(self, model: Transformer, cache: KeyValueCache, piece: float) -> None:
        self._model, self._cache, self._piece = model, cache, piece
        self._short: deque[Request] = deque()
        self._long: deque[Request] = deque()
        self._part: PartOfPrompt | None = None
        self._turn_of_long = False

    @property
    def rows(self) -> int:
        """Rows that wait for their prompts."""
        return sum(len(request.open) for request in (*self._short, *self._long))

    def add(self, requests: list[Request]) -> None:
        """Get in line."""
        for request in requests:
            (self._short if len(request.prompt) <= self._piece else self._long).append(request)

    def read(self) -> Entering | None:
        """Read short prompts, or a piece of a long one, by turns where both wait; None while no prompt is whole."""
        self._short = deque(request for request in self._short if request.open)
        while self._long and not self._long[0].open:
            self._long.popleft()
            self._part = None
        self._turn_of_long = bool(self._long) and not (self._turn_of_long and self._short)
        return self._read_piece(self._long[0]) if self._turn_of_long else self._read_whole()

    def _read_whole(self) -> Entering | None:
        requests, tokens = list[Request](), 0
        while self._short and (tokens := tokens + len(self._short[0].prompt)) <= self._piece:
            requests.append(self._short.popleft())
        if not requests:
            return None
        lengths = [len(request.prompt) for request in requests]
        self._cache.reserve(max(lengths))
        attention = PrefillAttention(self._cache, lengths, [len(request.open) for request in requests])
        ids = torch.tensor([token for request in requests for token in request.prompt], device=self._model.device)
        last = torch.tensor(lengths, device=self._model.device).cumsum(0) - 1
        logits = self._model.logits(self._model.hidden(ids, attention)[last])[attention.prompt_of_row]
        return Entering([row for request in requests for row in request.open], logits)

    def _read_piece(self, request: Request) -> Entering | None:
        self._part = part = self._part or PartOfPrompt(self._model, len(request.prompt))
        ids = request.prompt[part.tokens :][: int(self._piece)]
        hidden = self._model.hidden(torch.tensor(ids, device=self._model.device), PieceAttention(part, len(ids)))
        if part.tokens < len(request.prompt):
            return None
        part.enter(self._cache, len(request.open))
        self._long.popleft()
        self._part = None
        return Entering(request.open, self._model.logits(hidden[-1:]).expand(len(request.open), -1))


class PartOfPrompt:
    """Keys and values of a prompt as far as it is read, (layers, tokens, kv_heads, head_size).

    They lie as attention over many tokens wants them, and come into the cache when they are complete: until then the
    rows there need not know of it.
    """

    def __init__(self, model: Transformer, length: int) -> None:
        config = model.config
        shape = (config.layers, length, config.kv_heads, config.head_size)
        self.keys = torch.empty(shape, dtype=model.lm_head.weight.dtype, device=model.device)
        self.values = torch.empty_like(self.keys)
        self.tokens = 0

    def enter(self, cache: KeyValueCache, copies: int) -> None:
        """Give the whole prompt to so many free rows."""
        length = self.keys.shape[1]
        cache.reserve(length)
        prefill = PrefillAttention(cache, [length], [copies])
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            prefill.put(layer, keys, values)


class PieceAttention:
    """The next `count` tokens of a prompt, causally, against all of it so far; adds their keys and values.

    Without a GPU's kernel by plain products, in the arithmetic of `DecodeAttention`: with a mask, the fused kernel of
    torch's CPU build takes three times as long (docs/log.md).
    """

    def __init__(self, part: PartOfPrompt, count: int) -> None:
        self._keys, self._values = part.keys, part.values
        self._begin, self._end = part.tokens, part.tokens + count
        part.tokens = self._end
        device = part.keys.device
        self.positions = torch.arange(self._begin, self._end, device=device)
        self._stretches = Stretches([count], [self._end], device)
        self._sight = Sight.up_to(self.positions[None], self._end)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `model.Attention`."""
        self._keys[layer, self._begin : self._end] = key
        self._values[layer, self._begin : self._end] = value
        keys, values = self._keys[layer, : self._end], self._values[layer, : self._end]
        if has_flash_attention(query):
            return flash_attention(query, keys, values, self._stretches)
        count, heads, size = query.shape
        keys, values = keys.transpose(0, 1), values.transpose(0, 1)
        below = (query * size**-0.5).transpose(0, 1).reshape(len(keys), -1, size)
        scores = torch.bmm(below, keys.transpose(1, 2))
        weights = self._sight.weights(scores.view(1, heads, count, -1)).view(scores.shape)
        return torch.bmm(weights, values).view(heads, count, size).transpose(0, 1)
