"""An engine that says what it was told to: serving and chatting are tested in milliseconds, without a model."""

import itertools
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from accordant.engine import Ask, Generation, Sampling, TokenChoice
from accordant.records import Message

Reply = str | Sequence[str] | Exception
"""What to say: a text, said word by word, or its pieces; an exception is raised."""


def pieces_of(reply: str | Sequence[str]) -> list[str]:
    """Of a text its words, each with the space before it."""
    if not isinstance(reply, str):
        return list(reply)
    first, *rest = reply.split(" ")
    return [first, *(f" {word}" for word in rest)]


class WordRenderer:
    """Counts instead of tokenising: one id for each message and one for each word in it."""

    def prompt(self, messages: Sequence[Message], /) -> list[int]:
        """As many ids as messages and words."""
        return list(range(sum(1 + len(message.content.split()) for message in messages)))

    def words(self, text: str, /) -> list[int]:
        """As many ids as words."""
        return list(range(len(text.split())))


@dataclass
class ScriptedRow:
    """An answer that grows by a piece at each step."""

    reply: Reply
    sampling: Sampling
    alternatives: int | None = None
    answer: Generation = field(default_factory=Generation)
    over: bool = False

    @property
    def certain(self) -> int:
        """All of it."""
        return len(self.answer.text)

    def step(self) -> None:
        """Say one more piece, which counts as one token."""
        if isinstance(self.reply, Exception):
            raise self.reply
        said, pieces = len(self.answer.ids), pieces_of(self.reply)
        piece = pieces[said]
        self.answer.text += piece
        self.answer.pieces.append(piece)
        self.answer.ids.append(said)
        self.answer.log_probs.append(0.0)
        if self.alternatives is not None:
            self.answer.tokens.append(TokenChoice(said, 0.0, ((said, 0.0),) * self.alternatives))
        if said + 1 == len(pieces):
            self.answer.finish, self.over = "stop", True
        elif said + 1 == self.sampling.max_tokens:
            self.over = True


@dataclass(frozen=True)
class ScriptedRequest:
    """A prompt with its answers."""

    prompt: list[int]
    rows: list[ScriptedRow]


class ScriptedEngine:
    """Says the given replies in turn, from the first again after the last, piece by piece.

    Args:
        replies: what to say.
        delay: seconds before each step.
        rows: how many answers are in the making at once.

    Attributes:
        asked: prompt and sampling of each request, in order.
        asks: all of what was asked.
        written: pieces so far, over all answers.
    """

    def __init__(self, replies: Sequence[Reply], delay: float = 0.0, rows: int = 1) -> None:
        self.renderer = WordRenderer()
        self.rows, self.vocabulary = rows, 100_000
        self.asked: list[tuple[list[int], Sampling]] = []
        self.asks: list[Ask] = []
        self.written = 0
        self._delay = delay
        self.say(replies)

    def say(self, replies: Sequence[Reply]) -> None:
        """What to say from now on."""
        self._replies = itertools.cycle(replies)

    def request(self, ask: Ask) -> ScriptedRequest:
        """As `accordant.engine.Engine.request`."""
        self.asks.append(ask)
        return ScriptedRequest(
            ask.prompt, [ScriptedRow("", ask.sampling, ask.alternatives) for _ in range(ask.samples)]
        )

    def serve(self, source: Callable[[int], list[ScriptedRequest]]) -> Generator[list[ScriptedRow], None, None]:
        """As `accordant.engine.Engine.serve`."""
        live: list[ScriptedRow] = []
        while True:
            for request in source(self.rows - len(live)):
                self.begin(request)
                live = live + request.rows
            if not live:
                return
            time.sleep(self._delay)
            for row in live:
                row.step()
                self.written += 1
            yield live
            live = [row for row in live if not row.over]

    def begin(self, request: ScriptedRequest) -> None:
        """A request joins: the next replies are its answers."""
        self.asked.append((request.prompt, request.rows[0].sampling))
        for row in request.rows:
            row.reply = next(self._replies)

    def spell(self, token: int) -> bytes:
        """Tokens are numbers here."""
        return str(token).encode()

    def stream(self, prompt: list[int], sampling: Sampling) -> Generator[str, None, Generation]:
        """Text of one answer, as `accordant.engine.Engine.stream` gives it; returns the whole answer."""
        request = self.request(Ask(prompt, sampling))
        self.begin(request)
        [row] = request.rows
        while not row.over:
            time.sleep(self._delay)
            row.step()
            self.written += 1
            yield row.answer.pieces[-1]
        return row.answer
