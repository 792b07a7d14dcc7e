"""One request to the model: what is asked, and the events that come back."""

import asyncio
import codecs
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from starlette.concurrency import run_in_threadpool

from accordant.engine import Generation, TokenChoice
from accordant.serve.events import Delta, Done, Error, Event, Finish, Flagged, Token
from accordant.serve.moderation import UNJUDGED, AnswersFilter
from accordant.store.verdicts import Judgement

log = logging.getLogger(__name__)


class Answering(Protocol):
    """The part of `accordant.engine.Row` that is used here."""

    answer: Generation
    over: bool

    @property
    def certain(self) -> int:
        """Characters of the answer's text that stay as they are."""


class Wanted(Protocol):
    """The part of `accordant.engine.Request` that is used here."""

    @property
    def prompt(self) -> list[int]:
        """Ids that are read."""

    @property
    def rows(self) -> Sequence[Answering]:
        """The answers to it."""


class Job:
    """One or several prompts, each with one or several answers, for one person.

    The scheduler's thread puts events in, the event loop that created the job takes them out. Answers are numbered over
    prompts, then samples.

    Args:
        requests: from the engine that will answer them.
        who: the person or key that asks; the line is fair between them.
        turns_left_out: told at the end.
        ended: called once when the job is over, however it ended, in a thread that is not the model's.
        filter: what stands between the model and the reader; `event` is the only way out, and it lies behind it.
        said: what is told first.
    """

    def __init__(
        self,
        requests: Sequence[Wanted],
        who: str = "local",
        turns_left_out: int = 0,
        ended: "Callable[[Job], None] | None" = None,
        filter: AnswersFilter | None = None,
        said: Iterable[Event] = (),
    ) -> None:
        self.who, self.ended = who, ended
        self.requests = deque(requests)
        self.prompt_tokens = sum(len(request.prompt) for request in requests)
        self.choices: list[Answering] = [row for request in requests for row in request.rows]
        self.left = threading.Event()
        self.created = time.monotonic()
        self.first_token: float | None = None
        self.ahead = 0
        self._turns_left_out = turns_left_out
        self._open = len(self.choices)
        self._sent = [_Sent() for _ in self.choices]
        self._number = {id(row): number for number, row in enumerate(self.choices)}
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._filter, self._out, self._withheld = filter, deque(said), set[int]()

    @property
    def over(self) -> bool:
        """Whether every answer has been told to its end."""
        return self._open == 0

    @property
    def answer_tokens(self) -> int:
        """Tokens written so far, over all answers."""
        return sum(len(row.answer.ids) for row in self.choices)

    @property
    def read_tokens(self) -> int:
        """Tokens of its prompts, once they were read."""
        return self.prompt_tokens if self.first_token is not None else 0

    async def event(self) -> Event:
        """The next event; the last `Done`, or an `Error`, is the end."""
        while not self._out:
            made = [await self._events.get()]
            while not self._events.empty():
                made.append(self._events.get_nowait())
            self._out.extend(await self._filtered(self._filter, made) if self._filter else made)
        return self._out.popleft()

    def judgements(self) -> list[Judgement]:
        """What moderation said of the answers since this was last asked."""
        return self._filter.take_judgements() if self._filter else []

    async def _filtered(self, filter: AnswersFilter, made: list[Event]) -> list[Event]:
        try:
            found = await run_in_threadpool(lambda: [out for event in made for out in filter.push(event)])
        except Exception:
            log.exception("an answer could not be judged")
            self.left.set()
            return [Error(message=UNJUDGED)]
        self._withheld |= {event.choice for event in found if isinstance(event, Flagged) and event.withheld}
        return found

    def tell(self, event: Event) -> None:
        """Hand an event over from any thread; without a reader any more it is dropped."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def tell_progress(self, row: Answering, spell: Callable[[int], bytes]) -> None:
        """Tell what the last token of one of its answers has settled."""
        number = self._number[id(row)]
        row.over |= number in self._withheld
        text, tokens = self._sent[number].new(row, spell)
        if text or tokens:
            self.tell(Delta(text=text, choice=number, tokens=tokens))
        if row.over:
            self._open -= 1
            self.tell(self._done(number, row, row.answer.finish))

    def cancel(self) -> None:
        """End all answers that are still open, telling so."""
        for number, row in enumerate(self.choices):
            if not row.over:
                row.over = True
                self.tell(self._done(number, row, "cancelled"))
        self._open = 0

    def fail(self, message: str) -> None:
        """End with one line for the reader."""
        for row in self.choices:
            row.over = True
        self._open = 0
        self.tell(Error(message=message))

    def _done(self, number: int, row: Answering, finish: Finish) -> Done:
        return Done(
            finish=finish,
            prompt_tokens=self.prompt_tokens,
            answer_tokens=len(row.answer.ids),
            turns_left_out=self._turns_left_out,
            choice=number,
        )


class _Sent:
    """How much of an answer has been told: characters, and tokens with the place where the last of them ends."""

    def __init__(self) -> None:
        self._characters = self._tokens = self._place = self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def new(self, row: Answering, spell: Callable[[int], bytes]) -> tuple[str, tuple[Token, ...]]:
        """What is new since the last call; tokens come with their text, never those of a text that was cut off."""
        answer, certain = row.answer, row.certain
        text, self._characters = answer.text[self._characters : certain], certain
        tokens = []
        while self._tokens < len(answer.tokens):
            end = self._place + len(answer.pieces[self._tokens])
            if end > certain and not (row.over and self._place < certain):
                break
            tokens.append(self._token(answer.tokens[self._tokens], spell))
            self._place, self._tokens = end, self._tokens + 1
        return text, tuple(tokens)

    def _token(self, choice: TokenChoice, spell: Callable[[int], bytes]) -> Token:
        raw = spell(choice.token)
        if raw and raw[0] & 0xC0 != 0x80:  # it continues no character, so what was begun before it stays broken
            self._offset += len(self._decoder.decode(b"", final=True))
        offset = self._offset
        self._offset += len(self._decoder.decode(raw))

        def spelled(token: int, log_prob: float, likeliest: tuple[Token, ...] = ()) -> Token:
            raw = spell(token)
            text = raw.decode(errors="replace")
            return Token(text=text, bytes=tuple(raw), log_prob=log_prob, offset=offset, likeliest=likeliest)

        return spelled(choice.token, choice.log_prob, tuple(spelled(*other) for other in choice.likeliest))
