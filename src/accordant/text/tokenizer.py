"""A thin layer over `tokenizers`: markup is parsed only where we wrote it, and streamed text is whole Unicode."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers

from accordant.errors import AccordantError
from accordant.files import read_json, write_atomically, write_json


@dataclass(frozen=True)
class Tokenizer:
    """Text to ids and back.

    `end_of_turn` closes an assistant's answer and is trained; `pad` is never the same token, because a pad that is
    also the end hides where an answer ended. `bos` is what chat templates call `bos_token`, empty where there is none.
    """

    markup: tokenizers.Tokenizer
    plain: tokenizers.Tokenizer = field(repr=False)
    end_of_turn: int
    pad: int
    bos: str = ""

    @classmethod
    def from_json(cls, text: str, end_of_turn: str, pad: str | None = None, bos: str = "") -> "Tokenizer":
        """Build from the content of a `tokenizer.json`.

        Raises:
            AccordantError: when the text is not a tokenizer or lacks the named tokens.
        """
        try:
            markup, plain = tokenizers.Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
        except Exception as error:
            raise AccordantError(f"tokenizer.json cannot be read: {error}") from error
        for tokenizer in (markup, plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        plain.encode_special_tokens = True
        end = markup.token_to_id(end_of_turn)
        if end is None:
            raise AccordantError(f"the tokenizer has no end-of-turn token {end_of_turn!r}")
        return cls(markup, plain, end, _pad_id(markup, pad, end), bos)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read `tokenizer.json` and `tokenizer_config.json` of a folder in the hub's format."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise AccordantError(f"{folder} has no tokenizer.json; a base needs one in the hub's format")
        settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
        end = _token_text(settings.get("eos_token"))
        if end is None:
            raise AccordantError(f"{folder}/tokenizer_config.json names no eos_token")
        pad, bos = _token_text(settings.get("pad_token")), _token_text(settings.get("bos_token"))
        return cls.from_json(path.read_text(encoding="utf-8"), end, pad, bos or "")

    def save(self, folder: Path, chat_template: str) -> None:
        """Write tokenizer.json, tokenizer_config.json and chat_template.jinja in the hub's format."""
        write_atomically(folder / "tokenizer.json", self.markup.to_str())
        write_atomically(folder / "chat_template.jinja", chat_template)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.text_of(self.end_of_turn),
            "pad_token": self.text_of(self.pad),
            "clean_up_tokenization_spaces": False,
            "chat_template": chat_template,
        }
        write_json(folder / "tokenizer_config.json", settings | ({"bos_token": self.bos} if self.bos else {}))

    def text_of(self, token: int) -> str:
        """The vocabulary entry of one token."""
        return str(self.markup.id_to_token(token))

    def encode(self, text: str) -> list[int]:
        """Ids of untrusted text: `<|im_end|>` written by a user is ten characters, not a control token."""
        return list(self.plain.encode(text, add_special_tokens=False).ids)

    def encode_markup(self, text: str) -> list[int]:
        """Ids of text from a chat template, in which control tokens are meant."""
        return list(self.markup.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without control tokens."""
        return str(self.markup.decode(list(ids), skip_special_tokens=True))


class TextStream:
    """Turns tokens into text as they arrive, holding back only what may be part of a character."""

    _KEPT = 4

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []
        self._before = deque([""], maxlen=3)
        self._sent = 0

    def push(self, token: int) -> str:
        """Add one token; the text that became certain, maybe empty."""
        self._window.append(token)
        text = self._tokenizer.decode(self._window)
        # An unfinished character shows as replacement characters, with byte fallback together with the whole run of
        # bytes before it. It is at most 3 tokens old: what the last 4 readings agree on is really in the text.
        unsure = text.endswith("\ufffd")
        agreed = os.path.commonprefix([*self._before, text]) if unsure else text  # noqa: RUF071
        certain = agreed[self._sent :]
        self._before.append(text)
        self._sent += len(certain)
        if not unsure and len(self._window) > 4 * self._KEPT:
            self._shorten(text)
        return certain

    def flush(self) -> str:
        """What was still held back at the end of the answer."""
        text = self._tokenizer.decode(self._window)[self._sent :]
        self._sent += len(text)
        return text

    def _shorten(self, text: str) -> None:
        """Keep a few tokens as context, so that the cost per token does not grow with the answer."""
        for count in range(self._KEPT, 2 * self._KEPT):  # one of them begins with a whole character
            tail = self._tokenizer.decode(self._window[-count:])
            if text.endswith(tail):
                self._window, self._sent = self._window[-count:], len(tail)
                self._before = deque([tail], maxlen=3)
                return


def _token_text(entry: Any) -> str | None:
    """`eos_token` is a string in some files and an object with `content` in others."""
    value = entry.get("content") if isinstance(entry, dict) else entry
    return value if isinstance(value, str) else None


def _pad_id(tokenizer: tokenizers.Tokenizer, wanted: str | None, end_of_turn: int) -> int:
    names = [wanted, "<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>"]
    names += ["<|end_of_text|>", "<unk>", "</s>", "<s>"]
    for name in names:
        found = tokenizer.token_to_id(name) if name else None
        if found is not None and found != end_of_turn:
            return int(found)
    raise AccordantError("the tokenizer has no token for padding other than its end-of-turn token; add one to it")
