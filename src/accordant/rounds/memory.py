"""What training and sampling hold in memory, in bytes, from a model's shape alone.

Each function counts what the code of its stage allocates; tests/rounds/test_memory.py counts the real tensors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accordant.model import ModelConfig
from accordant.model.attention import SHORT, rectangles

_WIDE = 4
"""Bytes of a float32 number."""
_SLOTS = 32
"""A row of the cache has a multiple of so many (`engine.cache`)."""
_PRODUCT_ROWS = 256
"""Rows whose logits stand at once when log-probs are taken (`train.log_probs`)."""


@dataclass(frozen=True)
class Shape:
    """A decoder's shape and the bytes of one of its numbers."""

    config: ModelConfig
    width: int

    @property
    def projections(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each projection of a layer."""
        c = self.config
        query, shared = c.heads * c.head_size, c.kv_heads * c.head_size
        attention = [(c.hidden_size, query), (c.hidden_size, shared), (c.hidden_size, shared), (query, c.hidden_size)]
        return [*attention, (c.hidden_size, c.mlp_size), (c.hidden_size, c.mlp_size), (c.mlp_size, c.hidden_size)]

    @property
    def embedding(self) -> int:
        """Numbers of the embeddings, and of an output head."""
        return self.config.vocab_size * self.config.hidden_size

    @property
    def parameters(self) -> int:
        """Weights of the language model."""
        c = self.config
        query, shared = c.heads * c.head_size, c.kv_heads * c.head_size
        matrices = sum(inputs * outputs for inputs, outputs in self.projections)
        biases = c.attention_bias * (query + 2 * shared) + c.output_bias * c.hidden_size
        biases += c.mlp_bias * (2 * c.mlp_size + c.hidden_size)
        norms = 2 * c.hidden_size + {"none": 0, "head": 2 * c.head_size, "all": query + shared}[c.qk_norm]
        heads = 1 if c.tied_embeddings else 2
        return heads * self.embedding + c.layers * (matrices + biases + norms) + c.hidden_size

    @property
    def scalar_parameters(self) -> int:
        """Weights of a scalar model on this trunk."""
        untied = 0 if self.config.tied_embeddings else self.embedding
        return self.parameters - untied + self.config.hidden_size

    def adapters(self, rank: int) -> int:
        """Weights of the adapters of `model.lora`."""
        return self.config.layers * rank * sum(map(sum, self.projections))

    def weights(self, parameters: int) -> int:
        """Bytes of so many weights as they compute."""
        return self.width * parameters

    @staticmethod
    def gradients(trained: int) -> int:
        """Bytes of the gradients of so many weights, gathered in float32 from several passes."""
        return _WIDE * trained

    @staticmethod
    def moments(trained: int) -> int:
        """Bytes of AdamW's two moments."""
        return 2 * _WIDE * trained

    def masters(self, trained: int) -> int:
        """Bytes of the float32 masters beside the weights, which hold a part of them or, in float32, all."""
        return (_WIDE - self.width) * trained

    def packed(self) -> int:
        """Bytes of the linear layers' copies in the order of the CPU's kernels, while answers are sampled."""
        matrices = self.config.layers * sum(inputs * outputs for inputs, outputs in self.projections)
        return self.width * (matrices + self.embedding)

    def cache(self, rows: int, capacity: int) -> int:
        """Bytes of keys and values of `rows` rows of `capacity` tokens."""
        c, slots = self.config, math.ceil(capacity / _SLOTS) * _SLOTS
        return 2 * self.width * c.layers * rows * c.kv_heads * slots * c.head_size

    def activations(self, lengths: Sequence[int], rank: int = 0, branched: bool = False) -> int:
        """Bytes that a pass over sequences of these lengths keeps for its way back.

        Args:
            lengths: tokens of each sequence; a ranking is one.
            rank: of the adapters beside each projection; 0 is none.
            branched: whether they are rankings, whose answers do not see each other.
        """
        c, tokens = self.config, sum(lengths)
        # Inputs of both norms and of the projections; of the gated MLP both branches and the product.
        inputs = 4 * c.hidden_size + c.heads * c.head_size + 3 * c.mlp_size + len(self.projections) * rank
        per_layer = tokens * (self.width * inputs + 2 * _WIDE)  # and each norm's scale
        per_layer += sum(self._attention(lengths[rows], branched) for rows in rectangles(lengths))
        last = tokens * (self.width * (2 * c.hidden_size + 2 * c.head_size) + _WIDE)
        return c.layers * per_layer + last

    def _attention(self, lengths: Sequence[int], branched: bool) -> int:
        """What attention in one rectangle keeps."""
        c, rows, widest = self.config, len(lengths), max(lengths)
        query, shared, slots = c.heads * c.head_size, c.kv_heads * c.head_size, rows * widest
        # What is spread to a rectangle is kept as it was, too.
        spread = sum(lengths) * (query + 2 * shared) if slots > sum(lengths) else 0
        if widest <= SHORT:
            return self.width * (spread + slots * (query + 2 * shared) + slots * c.heads * widest)
        kept = self.width * (spread + slots * 2 * (query + shared) + branched * slots * widest)
        return kept + _WIDE * slots * c.heads

    def passing(self, lengths: Sequence[int]) -> int:
        """Bytes that a pass without gradients holds at once, at its widest: in a layer's MLP or in its attention."""
        c = self.config
        tokens, rows, widest = sum(lengths), len(lengths), max(lengths)
        query, shared = c.heads * c.head_size, c.kv_heads * c.head_size
        attention = rows * widest * self.width * 2 * (query + 2 * shared)
        if widest <= SHORT:
            attention += (2 * self.width + 2 * _WIDE) * rows * c.heads * widest * widest
        mlp = 4 * self.width * tokens * c.mlp_size
        return tokens * self.width * 3 * c.hidden_size + max(mlp, attention)

    def logits(self, targets: int) -> int:
        """Bytes of the logits of so many targets while their log-probs are taken."""
        return self.width * min(targets, _PRODUCT_ROWS) * self.config.vocab_size

    def sampled_logits(self, rows: int) -> int:
        """Bytes of the logits of `rows` next tokens, and of what is made of them to draw one (`engine.sampler`)."""
        return (self.width + 4 * _WIDE + 2 * 8) * rows * self.config.vocab_size
