"""A request to the engine: a prompt, and a row for each answer to it."""

from dataclasses import dataclass

from torch import Tensor

from accordant.engine.ask import Generation
from accordant.engine.sampler import Sampling, uniforms
from accordant.engine.shaping import Shaper, likeliest
from accordant.text import Renderer, TextStream


@dataclass(frozen=True)
class Request:
    """A prompt and the rows that answer it."""

    prompt: list[int]
    rows: "list[Row]"

    @property
    def open(self) -> "list[Row]":
        """Those that nobody has let go."""
        return [row for row in self.rows if not row.over]


class Row:
    """Collects the tokens of one answer and knows when it is over.

    Args:
        renderer: of the checkpoint that answers.
        sampling: how the answer is drawn.
        answer: filled token by token.
        number: decides, with the seed, the row's random numbers.

    Attributes:
        over: no more tokens; set it to let the row go before its time.
        shapers: change the logits that the next token is drawn from.
        alternatives: how many of the likeliest tokens `answer.tokens` shows beside each chosen one; None: no record.
    """

    shapers: tuple[Shaper, ...] = ()
    alternatives: int | None = None

    def __init__(self, renderer: Renderer, sampling: Sampling, answer: Generation, number: int) -> None:
        self._end = renderer.tokenizer.end_of_turn
        self._stream = TextStream(renderer.tokenizer)
        self.sampling = sampling
        self._uniforms: list[float] = uniforms(sampling.seed, number, sampling.max_tokens).tolist()
        self.answer = answer
        self.over = False

    def note(self, logits: Tensor, token: int, alternatives: int) -> None:
        """Record what else could have been drawn; the turn's end is no part of the text."""
        if token != self._end:
            self.answer.tokens.append(likeliest(logits, token, alternatives))

    def push(self, token: int, log_prob: float) -> None:
        """Add one token; the row is over at the end of the turn, at a stop text (cut off), or out of tokens."""
        answer = self.answer
        answer.ids.append(token)
        answer.log_probs.append(log_prob)
        ends = token == self._end
        self.over = ends or len(answer.ids) == self.sampling.max_tokens
        piece = "" if ends else self._stream.push(token)
        if self.over:
            piece += self._stream.flush()  # what was held back of the last character
        answer.pieces.append(piece)
        answer.text += piece
        cuts = [] if ends else [place for stop in self.sampling.stop if (place := answer.text.find(stop)) >= 0]
        if cuts:
            answer.text = answer.text[: min(cuts)]
        if ends or cuts:
            answer.finish, self.over = "stop", True

    @property
    def draw(self) -> float:
        """The random number that decides the next token."""
        return self._uniforms[len(self.answer.ids)]

    @property
    def certain(self) -> int:
        """Characters that no stop text can still take back."""
        text = self.answer.text
        if self.over:
            return len(text)
        stops = self.sampling.stop
        held = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        return len(text) - held
