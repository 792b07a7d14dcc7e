"""What there is to rank: work that waits for somebody, or alternatives to a random answer, sampled there and then."""

import secrets
import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import cycle, islice
from typing import NamedTuple

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from accordant import records
from accordant.data.load import load_prompts
from accordant.engine import Ask, Sampling
from accordant.errors import AccordantError
from accordant.files import digest
from accordant.labelling.settings import LabellingSettings
from accordant.serve.access import Principal
from accordant.serve.faults import Fault
from accordant.serve.history import fit
from accordant.serve.openai.chunks import gather
from accordant.serve.service import Service
from accordant.serve.stream import collect
from accordant.store import tasks
from accordant.store.annotations import Work
from accordant.store.conversations import spoken
from accordant.store.database import Changed, Database, NotFound
from accordant.store.ids import now
from accordant.store.schema import Message

TRIES = 3
NOTHING = "there is nothing to rank now: no conversation may be used for training, or all of its answers were drawn"

_random = secrets.SystemRandom()


class Origin(NamedTuple):
    """What alternatives are sampled for: an answer in a conversation, or a prompt by its digest."""

    messages: records.Messages
    of: Message | str


class Alternatives:
    """Gives people answers to rank.

    Args:
        database: the store.
        service: samples the answers.
        settings: how many, how, and for whom.

    Raises:
        AccordantError: when the prompts of the settings cannot be read.
    """

    def __init__(self, database: Database, service: Service, settings: LabellingSettings) -> None:
        self._database, self._service, self._settings = database, service, settings
        self.lease = timedelta(minutes=settings.lease_minutes)
        self._prompts: dict[str, records.Messages] = {}
        self._lock = threading.Lock()
        if settings.prompts:
            found = load_prompts(settings.prompts).records
            self._prompts = {digest([m.model_dump() for m in one.messages]): one.messages for one in found}
            with database.read() as session:
                for known in tasks.prompts(session):
                    self._prompts.pop(known, None)

    async def next(self, who: Principal, request: Request) -> Work:
        """What this person should rank now; a reader who leaves while answers are sampled ends that.

        Raises:
            NotFound: when there is nothing.
            Changed: when others were faster each time.
            Refused: when the model has too much to do.
        """
        for _ in range(TRIES):
            try:
                if work := await run_in_threadpool(self._waiting, who.user_id):
                    return work
                break
            except Changed:
                continue
        origin = await run_in_threadpool(self._draw)
        try:
            candidates = await self._sample(origin.messages, who, request)
            return await run_in_threadpool(self._keep, who.user_id, origin, candidates)
        except BaseException:
            if isinstance(origin.of, str):
                self._prompts[origin.of] = origin.messages
            raise

    def _waiting(self, user_id: str) -> Work | None:
        settings, drawn = self._settings, _random.random()
        wish: tasks.Wish = "gold" if drawn < settings.gold_share else "plain"
        if settings.gold_share <= drawn < settings.gold_share + settings.repeat_share:
            wish = "repeat"
        with self._database.write() as session:
            found = tasks.find(session, user_id, wish, now() - timedelta(hours=settings.repeat_after_hours))
            if found is None:
                return None
            if found.own:
                found.own.leased_until = now() + self.lease
                return Work(found.own, found.task, found.steps)
            order = _shuffled(len(found.task.candidates))
            return Work(tasks.claim(session, user_id, found, order, self.lease), found.task, 0)

    def _draw(self) -> Origin:
        """An answer of a conversation, with as much before it as the model reads; else a prompt."""
        with self._database.read() as session:
            drawn = tasks.draw(session)
        if drawn and (messages := self._read(drawn)):
            return Origin(messages, drawn.path[-1])
        with self._lock:
            if not self._prompts:
                raise NotFound(NOTHING)
            key = _random.choice(list(self._prompts))
            return Origin(self._prompts.pop(key), key)

    def _read(self, drawn: tasks.Drawn) -> records.Messages | None:
        """As much of a conversation as fits before an answer; None where not even its last question does."""
        said = spoken(drawn.conversation.system, drawn.path[:-1], None)
        try:
            room = self._service.context - self._settings.max_tokens
            left_out = fit(self._service.engine.renderer, said, room).turns_left_out
        except AccordantError:
            return None
        system = int(said[0].role == "system")
        return (*said[:system], *said[system + 2 * left_out :])

    async def _sample(
        self, messages: records.Messages, who: Principal, request: Request
    ) -> Sequence[records.Candidate]:
        """Different answers of the model in service, at least two.

        Raises:
            Fault: when the model fails.
            Fault: 503 when it says the same again and again.
        """
        settings = self._settings
        prompt = await run_in_threadpool(self._service.engine.renderer.prompt, messages)
        different: dict[str, records.Candidate] = {}
        for _ in range(TRIES):
            drawn = [
                Sampling(temperature, settings.top_p, settings.max_tokens, seed=secrets.randbits(32))
                for temperature in islice(cycle(settings.temperatures), settings.alternatives)
            ]
            job = await self._service.begin([Ask(prompt, sampling) for sampling in drawn], who, (), "messages")
            found = gather(await collect(request, self._service.scheduler, job), len(drawn))
            for answer, how in zip(found.answers, drawn, strict=True):
                content = answer.text.replace("\x00", "\ufffd")
                if content.strip() and answer.finish != "content_filter":  # what was cut off is not what the model says
                    sampling = records.Sampling(temperature=how.temperature, top_p=how.top_p, seed=how.seed)
                    whole = answer.finish == "stop"
                    one = records.Candidate(content=content, model=self._service.model, sampling=sampling, ended=whole)
                    different.setdefault(content.strip(), one)
            if len(different) > 1:
                return list(different.values())[: settings.alternatives]
        raise Fault("the model gives the same answer each time; try again", code="same_answers", status=503)

    def _keep(self, user_id: str, origin: Origin, candidates: Sequence[records.Candidate]) -> Work:
        several = _random.random() < self._settings.overlap_share
        others = self._settings.overlap_people - 1 if several else 0
        with self._database.write() as session:
            task = tasks.add(session, origin.messages, candidates, others, origin.of)
            return Work(tasks.begin(session, user_id, task, _shuffled(len(candidates)), self.lease), task, 0)


def _shuffled(count: int) -> list[int]:
    return _random.sample(range(count), count)
