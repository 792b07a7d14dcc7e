"""An engine that says what it was told to: serving and chatting are tested in milliseconds, without a model."""

import itertools
import time
from collections.abc import Generator, Sequence

from accordant.engine import Generation, Sampling
from accordant.records import Message


class WordRenderer:
    """Counts instead of tokenising: one id for each message and one for each word in it."""

    def prompt(self, messages: Sequence[Message], /) -> list[int]:
        """As many ids as messages and words."""
        return list(range(sum(1 + len(message.content.split()) for message in messages)))


class ScriptedEngine:
    """Streams the given replies in turn, from the first again after the last, piece by piece.

    A piece is a word with the space before it and counts as one token. A reply that is an exception is raised.

    Args:
        replies: what to say.
        delay: seconds before each piece.

    Attributes:
        asked: prompt and sampling of each answer, in order.
        written: pieces so far, over all answers.
    """

    def __init__(self, replies: Sequence[str | Exception], delay: float = 0.0) -> None:
        self.renderer = WordRenderer()
        self.asked: list[tuple[list[int], Sampling]] = []
        self.written = 0
        self._replies, self._delay = itertools.cycle(replies), delay

    def stream(self, prompt: list[int], sampling: Sampling) -> Generator[str, None, Generation]:
        """Text of one answer, as `accordant.engine.Engine.stream` gives it; returns the whole answer."""
        self.asked.append((prompt, sampling))
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        pieces = [word if place == 0 else f" {word}" for place, word in enumerate(reply.split(" "))]
        for piece in pieces[: sampling.max_tokens]:
            time.sleep(self._delay)
            self.written += 1
            yield piece
        said = pieces[: sampling.max_tokens]
        finish = "stop" if len(pieces) <= sampling.max_tokens else "length"
        return Generation(list(range(len(said))), [0.0] * len(said), "".join(said), finish)  # type: ignore[arg-type]
