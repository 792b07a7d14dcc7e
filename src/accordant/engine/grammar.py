"""Answers that are JSON by construction: only tokens that a schema allows can be drawn (library: llguidance)."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from accordant.errors import AccordantError
from accordant.text import Tokenizer

_WRITTEN: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One way to write blanks: a small model given the choice may go on with blanks for ever."""


class Grammars:
    """Schemas over one tokenizer's tokens.

    Args:
        tokenizer: of the checkpoint.
        vocabulary: number of logits.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        self._tokenizer, self._vocabulary = tokenizer, vocabulary

    @cached_property
    def tokens(self) -> LLTokenizer:
        """The tokenizer as llguidance knows it; made when it is first needed."""
        return LLTokenizer(
            self._tokenizer.markup.to_str(), n_vocab=self._vocabulary, eos_token=self._tokenizer.end_of_turn
        )

    def spell(self, token: int) -> bytes:
        """The bytes that a token adds to a text: none for a control token."""
        return b"" if self.tokens.is_special_token(token) else self.tokens.decode_bytes([token])

    def follow(self, schema: dict[str, Any]) -> "Follower":
        """A shaper for one answer that is JSON of this schema.

        Raises:
            AccordantError: when the schema is wrong or says something that cannot be enforced.
        """
        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_WRITTEN)
        except ValueError as error:
            raise AccordantError(f"this JSON schema cannot be followed: {_line(error)}") from None
        matcher = LLMatcher(self.tokens, grammar, log_level=0)
        if fault := matcher.get_error():
            raise AccordantError(f"this JSON schema cannot be followed: {_line(fault)}")
        return Follower(matcher, self._vocabulary)


class Follower:
    """Forbids every token that a grammar does not allow next; at its end only the end of the turn is left."""

    def __init__(self, matcher: LLMatcher, vocabulary: int) -> None:
        self._matcher, self._vocabulary, self._seen = matcher, vocabulary, 0

    def shape(self, logits: Tensor, ids: Sequence[int], /) -> None:
        """See `Shaper`."""
        self._matcher.consume_tokens(list(ids[self._seen :]))
        self._seen = len(ids)
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        logits[allowed[: self._vocabulary].to(logits.device) == 0] = -torch.inf


def _line(fault: object) -> str:
    return " ".join(str(fault).split())[:300]
