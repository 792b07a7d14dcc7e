"""From a user's words to an answer in the making: what the model reads, a place in line, and the rows that say so."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from accordant import records
from accordant.engine import Sampling
from accordant.serve.access import Principal
from accordant.serve.answers import Answers, Live, Moderate, Start
from accordant.serve.history import Prompter, fit
from accordant.store import conversations, verdicts
from accordant.store.conversations import Opened, Plan, Written
from accordant.store.database import Database
from accordant.store.schema import Message
from accordant.store.verdicts import Judgement

MOST_READ = 200
"""Messages of a path that are looked at for a prompt; what fits is far less."""


class AnswerSettings(records.Record):
    """How an answer is drawn (a new seed each time)."""

    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(0.9, gt=0, le=1)
    max_tokens: int = Field(256, ge=1, le=1024)
    seed: int | None = Field(None, ge=0, lt=1 << 32)


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
        start: gets a prompt in line for the model.
        renderer: turns conversations into prompts.
        model: id of the model that answers.
        context: most tokens of a prompt and its answer together.
        moderate: judges the user's words before they are answered.
    """

    def __init__(
        self,
        database: Database,
        answers: Answers,
        start: Start,
        renderer: Prompter,
        model: str,
        context: int,
        moderate: Moderate | None = None,
    ) -> None:
        self._database, self.answers, self._start = database, answers, start
        self._renderer, self._model, self._context, self._moderate = renderer, model, context, moderate

    async def begin(
        self, who: Principal, opened: Opened, path: Sequence[Message], question: str | None, settings: AnswerSettings
    ) -> Begun:
        """Begin the answer to `question` after `path`; None answers the question that the path ends with.

        The place in line comes first: when the line is full nothing is written.

        Raises:
            AccordantError: when question and system message alone do not fit into the context.
            Refused: when too many wait already, or the user asked too much.
            Changed: when the conversation was changed since it was read.
        """
        judgement = None
        if self._moderate and question is not None:
            judgement = await run_in_threadpool(self._moderate, "user", question)
        parent = path[-1] if path else None
        if judgement and judgement.action == "block":
            written = await run_in_threadpool(self._write, opened, parent, question, None, judgement)
            return Begun(written, 0, judgement)
        said = spoken(opened.conversation.system, path, question)
        fitted = await run_in_threadpool(fit, self._renderer, said, self._context - settings.max_tokens)
        older = (path[0].depth + 1) // 2 if path else 0
        left_out = fitted.turns_left_out + older
        seed = secrets.randbits(32) if settings.seed is None else settings.seed
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, seed=seed)
        plan = Plan(self._model, settings.temperature, settings.top_p, settings.max_tokens, seed, left_out)
        running = self._start(fitted.prompt, sampling, left_out, who.user_id)
        try:
            written = await run_in_threadpool(self._write, opened, parent, question, plan, None)
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

    def _write(
        self,
        opened: Opened,
        parent: Message | None,
        question: str | None,
        plan: Plan | None,
        judgement: Judgement | None,
    ) -> Written:
        with self._database.write() as session:
            written = conversations.write(session, opened.conversation, parent, question, plan)
            if judgement and written.question:
                verdicts.add(session, [(written.question, judgement)])
            return written


def spoken(system: str, path: Sequence[Message], question: str | None) -> list[records.Message]:
    """What a model reads: the system message, each question with its answer, and the last question.

    Questions without an answer (it was stopped before the first word, failed, or was never begun) are left out.
    """
    said = [records.Message(role="system", content=system)] if system.strip() else []
    asked = None
    for message in path:
        if message.role == "user":
            asked = message.content
        elif asked is not None and message.content.strip():
            said += [
                records.Message(role="user", content=asked),
                records.Message(role="assistant", content=message.content),
            ]
            asked = None
    last = question if question is not None else asked
    assert last is not None, "the path must end with a question"
    return [*said, records.Message(role="user", content=last)]
