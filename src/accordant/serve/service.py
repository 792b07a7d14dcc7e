"""What the routes share: the engine behind its scheduler, and everything that is known of who asks."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from accordant.engine import Ask, Sampling
from accordant.moderation.policy import Side
from accordant.serve.access import Principal
from accordant.serve.events import Event, Flagged
from accordant.serve.faults import Fault
from accordant.serve.job import Job
from accordant.serve.limits import Holder, Limiter, UsageLog, Used, check_day
from accordant.serve.metrics import Metrics
from accordant.serve.moderation import Heard, Moderation, told, why_withheld
from accordant.serve.requests import About
from accordant.serve.samples import Samples
from accordant.serve.scheduler import Scheduler, Speaker
from accordant.serve.settings import ServeSettings
from accordant.store import verdicts
from accordant.store.database import Database
from accordant.store.verdicts import Judgement

log = logging.getLogger("accordant.serve")


@dataclass
class Service:
    """One model, served."""

    engine: Speaker
    model: str
    context: int
    about: About
    settings: ServeSettings
    scheduler: Scheduler
    metrics: Metrics
    limiter: Limiter
    usage: UsageLog
    moderation: Moderation | None
    database: Database | None
    samples: Samples
    created: int = field(default_factory=lambda: int(time.time()))

    def knows(self, token: int) -> bool:
        """Whether the model has such a token."""
        return 0 <= token < self.engine.vocabulary

    def spell(self, tokens: Iterable[int]) -> str:
        """The text that tokens stand for."""
        return b"".join(map(self.engine.spell, tokens)).decode(errors="replace")

    def check_answers(self, count: int) -> None:
        """Refuse more answers in one request than can be in the making at once."""
        if count > self.engine.rows:
            raise Fault(f"a request may have {self.engine.rows} answers in all, this one asks for {count}", "n")

    async def begin(
        self,
        asks: Sequence[Ask],
        who: Principal,
        words: Sequence[str],
        param: str,
        turns_left_out: int = 0,
        end_user: str = "",
        answers: Sequence[str] = (),
    ) -> Job:
        """Put a job in line, whose tokens are counted. What moderation flags is kept without the words.

        Args:
            asks: what the model reads.
            who: who asks.
            words: what they say in it, which is judged first.
            param: the field of the request in which it stands.
            turns_left_out: told at the end.
            end_user: whom the asking program asks for.
            answers: what they say that the model said before, judged as the model's words.

        Raises:
            AccordantError: when the engine cannot answer it.
            Fault: when the words are blocked.
            Unjudged: when they cannot be judged.
            Refused: when it must come later.
        """

        def keep(side: Side, said: Judgement) -> None:
            self._keep(who, side, said)

        first: list[Event] = []
        spoken: tuple[tuple[Side, Sequence[str]], ...] = (("user", words), ("model", answers))
        for side, texts in spoken:
            said = await self.moderation.judge(texts, side) if self.moderation else None
            if said is None:
                continue
            await run_in_threadpool(keep, side, said)
            if said.withheld:
                self.count_blocked(who)
                raise Fault(why_withheld(said), param, "content_filter")
            if seen := told(said, side):
                first.append(Flagged(**seen.model_dump()))
        requests = await run_in_threadpool(lambda: [self.engine.request(ask) for ask in asks])

        def count(job: Job) -> None:
            self.usage.add(Used(who.user_id, who.key_id, self.model, job.read_tokens, job.answer_tokens, end_user))

        return await self._submit(asks, requests, who, turns_left_out, count, first, keep)

    def count_blocked(self, who: Principal) -> None:
        """A request that moderation blocked is one of those within a minute.

        Raises:
            LimitReached: when it is one too many.
        """
        holders = self._holders(who)
        self.limiter.begin(holders, 0)
        self.limiter.end(holders, 0)

    async def start(self, prompt: list[int], sampling: Sampling, turns_left_out: int, who: Principal) -> "InLine":
        """Put the answer of a stored conversation in line, which counts its tokens itself (`serve.answers.Start`)."""
        ask = Ask(prompt, sampling)
        job = await self._submit([ask], [self.engine.request(ask)], who, turns_left_out, lambda _: None)
        return InLine(self.scheduler, job)

    async def _submit(
        self,
        asks: Sequence[Ask],
        requests: Sequence[Any],
        who: Principal,
        turns_left_out: int,
        count: Callable[[Job], None],
        said: Iterable[Event] = (),
        heard: Heard = lambda side, said: None,
    ) -> Job:
        most = sum(len(ask.prompt) + ask.samples * ask.sampling.max_tokens for ask in asks)
        holders = self._holders(who)
        if any(holder.limits.tokens_per_day for holder in holders):
            await run_in_threadpool(check_day, holders, self.usage)
        self.limiter.begin(holders, most)

        def ended(job: Job) -> None:
            self.limiter.end(holders, most - job.read_tokens - job.answer_tokens)
            if self.settings.log_text:
                log.info("answer", extra={"facts": {"texts": [row.answer.text for row in job.choices]}})
            try:
                count(job)
            except Exception:
                log.exception("the tokens of a request could not be counted")

        filter = self.moderation.filter(heard) if self.moderation else None
        job = Job(requests, who.key_id or who.user_id, turns_left_out, ended, filter, said)
        try:
            self.scheduler.submit(job)
        except BaseException:
            self.limiter.end(holders, most)
            raise
        return job

    def _keep(self, who: Principal, side: Side, said: Judgement) -> None:
        """Store what was flagged in a request; its words are stored nowhere."""
        if not self.database or said.action == "allow":
            return
        try:
            with self.database.write() as session:
                verdicts.add_of_request(session, who.user_id, who.key_id, side, said)
        except Exception:
            log.exception("a verdict could not be stored")

    def _holders(self, who: Principal) -> list[Holder]:
        holders = [Holder(who.user_id, None, self.settings.limits)]
        if who.key_id:
            holders.append(Holder(who.user_id, who.key_id, who.limits))
        return holders


class InLine(NamedTuple):
    """A job as stored answers see it (`serve.answers.Running`)."""

    scheduler: Scheduler
    job: Job

    async def event(self) -> Event:
        """The next event; `Done` or `Error` is the last."""
        return await self.job.event()

    def judgements(self) -> list[Judgement]:
        """What moderation said of it since this was last asked."""
        return self.job.judgements()

    def leave(self) -> None:
        """Nobody wants it any more: it ends with the token in the making, by a `Done` that is `cancelled`."""
        self.scheduler.drop(self.job)


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Serving = Annotated[Service, Depends(_service)]
"""The parameter of a route that gives it the service."""
