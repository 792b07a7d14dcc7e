"""Moderation as the service uses it: words are judged before they are answered, and answers on their way out."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, cast

from starlette.concurrency import run_in_threadpool

from accordant.errors import AccordantError
from accordant.moderation.policy import Action, Side, Verdict
from accordant.moderation.stream import DEFAULT_SPANS, Blocked, Mode, Noticed, Released, Spans, StreamFilter
from accordant.moderation.stream import Event as Filtered
from accordant.records import Category
from accordant.serve.events import Delta, Done, Error, Event, Flagged, Token, VerdictView
from accordant.store.ids import new_id
from accordant.store.verdicts import Judgement

log = logging.getLogger(__name__)

UNJUDGED = "moderation could not check this; the server's log says why"
Heard = Callable[[Side, Judgement], None]
"""Is told of a judgement on what one side said."""

_SEVERITY: list[Action] = ["allow", "warn", "block"]


class Unjudged(AccordantError):
    """Words could not be judged, so nothing is answered."""


class Moderator(Protocol):
    """The part of `accordant.moderation.moderator.Moderator` that is used here."""

    name: str

    def judge(self, text: str, side: Side = "model", /) -> Verdict:
        """Look at one text; takes milliseconds and is called outside the event loop, in several threads at once."""


class Moderation:
    """A classifier and what is done with its verdicts.

    It is read in a thread of its own, so that the server starts meanwhile; whoever has words to judge waits for it.

    Args:
        load: gives the classifier.
        mode: when the words of an answer are released; in mode audit nothing is withheld, of questions either.
        spans: how an answer is cut.

    Attributes:
        heard: told of every judgement, in any thread.
    """

    def __init__(self, load: Callable[[], Moderator], mode: Mode = "hold", spans: Spans = DEFAULT_SPANS) -> None:
        self.mode, self._spans = mode, spans
        self.heard: Heard = lambda side, judgement: None
        self._loaded: Future[Moderator] = Future()
        threading.Thread(target=self._load, args=(load,), name="accordant-moderation", daemon=True).start()

    async def moderator(self) -> Moderator:
        """The classifier, once it is read."""
        return await asyncio.shield(asyncio.wrap_future(self._loaded))

    @property
    def ready(self) -> bool:
        """Whether it can judge."""
        return self._loaded.done() and self._loaded.exception() is None

    async def judge(self, texts: Sequence[str], side: Side = "user") -> Judgement | None:
        """The most severe judgement on what a user wrote, the last of several like it; None without words.

        With side `model` it is on what a user says that the model wrote.

        Raises:
            Unjudged: when that is not possible.
        """
        try:
            moderator = await self.moderator()
            verdicts = await run_in_threadpool(lambda: [moderator.judge(text, side) for text in texts])
        except Exception:
            log.exception("words could not be judged")
            raise Unjudged(UNJUDGED) from None
        if not verdicts:
            return None
        worst = max(range(len(texts)), key=lambda place: (_SEVERITY.index(verdicts[place].action), place))
        withheld = verdicts[worst].action == "block" and self.mode != "audit"
        said = judgement(verdicts[worst], moderator.name, 0, len(texts[worst]), withheld)
        self.heard(side, said)
        return said

    def filter(self, heard: Heard) -> "AnswersFilter":
        """Of the answers of one job, whose question was judged before; `heard` is told of its judgements, too."""

        def both(side: Side, said: Judgement) -> None:
            self.heard(side, said)
            heard(side, said)

        return AnswersFilter(self._loaded.result(), self.mode, self._spans, both)

    def _load(self, load: Callable[[], Moderator]) -> None:
        try:
            self._loaded.set_result(load())
        except Exception as error:
            log.error("moderation cannot be loaded, and nothing is answered without it: %s", error)
            self._loaded.set_exception(error)


class AnswersFilter:
    """Lets events of a job through as far as moderation does; judges in the caller's thread.

    Args:
        moderator: the classifier.
        mode: when text is released.
        spans: how it is cut.
        heard: told of each judgement.
    """

    def __init__(self, moderator: Moderator, mode: Mode, spans: Spans, heard: Heard) -> None:
        self._moderator, self._mode, self._spans, self._heard = moderator, mode, spans, heard
        self._answers: dict[int, _Answer] = {}
        self._judgements: list[Judgement] = []

    def push(self, event: Event) -> list[Event]:
        """What may go out once this has come."""
        match event:
            case Delta(choice=choice):
                return self._answer(choice).delta(event)
            case Done(choice=choice):
                return self._answer(choice).done(event)
            case Error():  # what was written before may still be shown
                return [*(rest for answer in self._answers.values() for rest in answer.finish()), event]
        return [event]

    def take_judgements(self) -> list[Judgement]:
        """Those since the last call: of what was flagged, and one of each answer in which nothing was."""
        found, self._judgements = self._judgements, []
        return found

    def _answer(self, choice: int) -> "_Answer":
        if choice not in self._answers:
            self._answers[choice] = _Answer(choice, self._moderator, self._mode, self._spans, self._judged)
        return self._answers[choice]

    def _judged(self, said: Judgement) -> None:
        self._judgements.append(said)
        self._heard("model", said)


class _Answer:
    """One of them: its text, and what it is made of, in step."""

    def __init__(
        self, choice: int, moderator: Moderator, mode: Mode, spans: Spans, judged: Callable[[Judgement], None]
    ) -> None:
        self._choice, self._moderator, self._judged = choice, moderator, judged
        self._filter = StreamFilter(self._judge, mode, spans)
        self._tokens: deque[Token] = deque()
        self._released = self._length = 0
        self._scores: dict[Category, float] = {}
        self._flagged = self._over = False

    def delta(self, event: Delta) -> list[Event]:
        """More text."""
        self._length += len(event.text)
        self._tokens.extend(event.tokens)
        return self._told(self._filter.push(event.text))

    def finish(self) -> list[Event]:
        """Its end came, or will never come."""
        if self._over:
            return []
        self._over = True
        events = self._told(self._filter.finish())
        if not self._filter.blocked and self._tokens:
            events.append(Delta(text="", choice=self._choice, tokens=tuple(self._tokens)))
        if not self._flagged:
            allowed = Verdict(self._scores, dict.fromkeys(self._scores, "allow"))
            self._judged(judgement(allowed, self._moderator.name, 0, self._length, False))
        return events

    def done(self, event: Done) -> list[Event]:
        """The same, with the event that says so."""
        rest = self.finish()
        return [*rest, event.model_copy(update={"finish": "content_filter"}) if self._filter.blocked else event]

    def _judge(self, text: str) -> Verdict:
        verdict = self._moderator.judge(text, "model")
        self._scores = {c: max(score, self._scores.get(c, 0.0)) for c, score in verdict.scores.items()}
        return verdict

    def _told(self, events: Sequence[Filtered]) -> list[Event]:
        found: list[Event] = []
        for event in events:
            if isinstance(event, Released):
                self._released += len(event.text)
                found.append(Delta(text=event.text, choice=self._choice, tokens=tuple(self._settled())))
            else:
                found.append(self._flag(event))
        return found

    def _settled(self) -> list[Token]:
        """Tokens that end within what is released: the next one begins there."""
        found = []
        while len(self._tokens) > 1 and self._tokens[1].offset <= self._released:
            found.append(self._tokens.popleft())
        return found

    def _flag(self, event: Noticed | Blocked) -> Flagged:
        self._flagged = True
        said = judgement(event.verdict, self._moderator.name, event.start, event.end, isinstance(event, Blocked))
        self._judged(said)
        return Flagged(**view(said, "model").model_dump(), choice=self._choice)


def judgement(verdict: Verdict, classifier: str, start: int, end: int, withheld: bool) -> Judgement:
    """A verdict on characters `start` to `end` of a message, as it is stored."""
    categories: dict[str, float] = {category: verdict.scores[category] for category in verdict.categories}
    scores = cast("dict[str, float]", dict[Category, float](verdict.scores))
    return Judgement(new_id("verdict"), verdict.action, withheld, categories, scores, start, end, classifier)


def why_withheld(said: VerdictView | Judgement) -> str:
    """One line for whoever wrote the words."""
    found = ", ".join(f"{category} ({score:.2f})" for category, score in said.categories.items())
    return f"moderation blocked these words: {found}"


def view(said: Judgement, side: Side) -> VerdictView:
    """A judgement as it is told; one that allows is not."""
    assert said.action != "allow"
    fields = {name: getattr(said, name) for name in VerdictView.model_fields if name != "side"}
    return VerdictView(side=side, **fields)


def told(said: Judgement | None, side: Side = "user") -> VerdictView | None:
    """What is told of a user's words: nothing where nothing was flagged."""
    return view(said, side) if said and said.action != "allow" else None
