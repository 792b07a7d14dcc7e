"""From a user's words to an answer in the making: what the model reads, a place in line, and the rows that say so."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from accordant import records
from accordant.engine import Sampling
from accordant.errors import AccordantError
from accordant.serve.access import Principal
from accordant.serve.answers import Answers, Live, Start
from accordant.serve.history import Prompter, fit
from accordant.serve.moderation import Moderation, told, why_withheld
from accordant.store import conversations, verdicts
from accordant.store.conversations import Opened, Plan, Written, spoken
from accordant.store.database import Database
from accordant.store.schema import Message
from accordant.store.verdicts import Judgement

MOST_READ = 200
"""Messages of a path that are looked at for a prompt; what fits is far less."""


class AnswerSettings(records.Record):
    """How an answer is drawn (a new seed each time)."""

    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(0.9, gt=0, le=1)
    max_tokens: int = Field(256, ge=1, le=4096)
    seed: int | None = Field(None, ge=0, lt=1 << 32)


class Answering(Protocol):
    """The part of `accordant.serve.service.Service` that is used here."""

    @property
    def start(self) -> Start:
        """Gets a prompt in line for the model."""

    def count_blocked(self, who: Principal, /) -> None:
        """Counts a question that is not answered; raises `serve.scheduler.Refused` when it is one too many."""


class Begun(NamedTuple):
    """What was written, and what moderation said of the question."""

    written: Written
    turns_left_out: int
    judgement: Judgement | None


class Dialogue:
    """Answers questions of stored conversations.

    Args:
        database: the store.
        answers: writes answers down.
        service: answers prompts.
        renderer: turns conversations into prompts.
        model: id of the model that answers.
        context: most tokens of a prompt and its answer together.
        moderation: judges the user's words before they are answered.
    """

    def __init__(
        self,
        database: Database,
        answers: Answers,
        service: Answering,
        renderer: Prompter,
        model: str,
        context: int,
        moderation: Moderation | None = None,
    ) -> None:
        self._database, self.answers, self._service = database, answers, service
        self._renderer, self._model, self._context, self.moderation = renderer, model, context, moderation

    async def check_system(self, who: Principal, system: str) -> None:
        """Judge the system message of a new conversation, which stays as it is.

        Raises:
            AccordantError: when it is blocked.
            Refused: when too many of this person's were blocked.
            Unjudged: when it cannot be judged.
        """
        said = told(await self.moderation.judge([system])) if self.moderation and system.strip() else None
        if said and said.withheld:
            self._service.count_blocked(who)
            raise AccordantError(why_withheld(said))

    async def begin(
        self, who: Principal, opened: Opened, path: Sequence[Message], question: str | None, settings: AnswerSettings
    ) -> Begun:
        """Begin the answer to `question` after `path`; None answers the question that the path ends with.

        The place in line comes first: when the line is full nothing is written.

        Raises:
            AccordantError: when question and system message alone do not fit into the context.
            Unjudged: when the question cannot be judged.
            Refused: when too many wait already, or the user asked too much.
            Changed: when the conversation was changed since it was read.
        """
        parent = path[-1] if path else None
        said = spoken(opened.conversation.system, path, question)
        fitted = await run_in_threadpool(fit, self._renderer, said, self._context - settings.max_tokens)
        judgement = await self.moderation.judge([said[-1].content]) if self.moderation else None
        if judgement and judgement.withheld:
            self._service.count_blocked(who)
            written = await run_in_threadpool(self._withhold, opened, path, question, judgement)
            return Begun(written, 0, judgement)
        older = (path[0].depth + 1) // 2 if path else 0
        left_out = fitted.turns_left_out + older
        seed = secrets.randbits(32) if settings.seed is None else settings.seed
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, seed=seed)
        plan = Plan(self._model, settings.temperature, settings.top_p, settings.max_tokens, seed, left_out)
        running = await self._service.start(fitted.prompt, sampling, left_out, who)
        try:
            written = await run_in_threadpool(self._write, opened, parent, question, plan)
        except BaseException:
            running.leave()
            raise
        assert written.generation is not None
        assert written.answer is not None
        live = Live(written.generation, written.answer, running, who)
        if judgement and written.question:
            live.judged.append((written.question, judgement))  # stored with the first of the answer
        self.answers.begin(live)
        return Begun(written, left_out, judgement)

    def _write(self, opened: Opened, parent: Message | None, question: str | None, plan: Plan) -> Written:
        with self._database.write() as session:
            return conversations.write(session, opened.conversation, parent, question, plan)

    def _withhold(self, opened: Opened, path: Sequence[Message], question: str | None, judgement: Judgement) -> Written:
        """Write down a question that is not answered, or that an older one is not any more, and why."""
        with self._database.write() as session:
            if question is None:
                written = Written(None, None, None)
                blamed = next(message for message in reversed(path) if message.role == "user")
            else:
                written = conversations.write(session, opened.conversation, path[-1] if path else None, question, None)
                assert written.question is not None
                blamed = written.question
            verdicts.add(session, [(blamed, judgement)])
            return written
