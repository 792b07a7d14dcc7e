"""What the routes share: the engine behind its scheduler, and everything that is known of who asks."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from accordant.engine import Ask
from accordant.serve.faults import Fault
from accordant.serve.job import Job
from accordant.serve.limits import Limiter, UsageLog, Used
from accordant.serve.metrics import Metrics
from accordant.serve.principal import Keys, Principal
from accordant.serve.requests import About
from accordant.serve.scheduler import Scheduler, Speaker
from accordant.serve.settings import ServeSettings

log = logging.getLogger("accordant.serve")


class Judgement(Protocol):
    """What a moderator thinks of a text."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Probability of each category."""

    @property
    def flags(self) -> Mapping[str, bool]:
        """Whether each category applies."""


class Moderator(Protocol):
    """The part of the moderation classifier that is used here."""

    name: str

    def judge(self, text: str, /) -> Judgement:
        """Look at one text; takes milliseconds and is called outside the event loop."""


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
    keys: Keys | None
    moderator: Moderator | None
    created: int = field(default_factory=lambda: int(time.time()))

    def knows(self, token: int) -> bool:
        """Whether the model has such a token."""
        return 0 <= token < self.engine.vocabulary

    def check_answers(self, count: int) -> None:
        """Refuse more answers in one request than can be in the making at once."""
        if count > self.engine.rows:
            raise Fault(f"a request may have {self.engine.rows} answers in all, this one asks for {count}", "n")

    async def begin(
        self, asks: Sequence[Ask], principal: Principal, turns_left_out: int = 0, end_user: str = ""
    ) -> Job:
        """Put a job in line.

        Raises:
            AccordantError: when the engine cannot answer it.
            Refused: when it must come later.
        """
        requests = await run_in_threadpool(lambda: [self.engine.request(ask) for ask in asks])
        most = sum(len(ask.prompt) + ask.samples * ask.sampling.max_tokens for ask in asks)
        self.limiter.begin(principal, most)

        def ended(job: Job) -> None:
            read = job.prompt_tokens if job.first_token is not None else 0
            self.limiter.end(principal, most - read - job.answer_tokens)
            self.usage.add(Used(principal, read, job.answer_tokens, end_user))
            if self.settings.log_text:
                log.info("answer", extra={"facts": {"texts": [row.answer.text for row in job.choices]}})

        job = Job(requests, principal.who, turns_left_out, ended)
        try:
            self.scheduler.submit(job)
        except BaseException:
            self.limiter.end(principal, most)
            raise
        return job


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Serving = Annotated[Service, Depends(_service)]
"""The parameter of a route that gives it the service."""
