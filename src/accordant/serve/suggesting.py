"""Suggestions to a trainer who writes a demonstration: streamed as they come, stored before they have an id."""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Self

from pydantic import Field, model_validator
from starlette.concurrency import run_in_threadpool

from accordant.engine import Ask, Sampling
from accordant.records import Long, Messages, Record, check_turns
from accordant.serve.access import Principal
from accordant.serve.events import Delta, Error, Suggested, encode
from accordant.serve.history import fit
from accordant.serve.job import Job
from accordant.serve.requests import LARGEST_CONVERSATION
from accordant.serve.service import Service
from accordant.serve.stream import JobStream, events
from accordant.store import annotations
from accordant.store.database import Database


class SuggestionsWanted(Record):
    """Where the trainer is in a dialogue, and how many ways to go on they want to see."""

    messages: Messages = Field(description="Up to the person's last message.", min_length=1, max_length=100)
    begun: Long = Field("", description="What the trainer has typed of the answer so far; suggestions begin with it.")
    count: int = Field(3, ge=1, le=4)
    temperature: float = Field(0.8, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(96, ge=1, le=512)

    @model_validator(mode="after")
    def _conversation(self) -> Self:
        check_turns(self.messages, last="user")
        if sum(len(message.content) for message in self.messages) + len(self.begun) > LARGEST_CONVERSATION:
            raise ValueError(f"messages have more than {LARGEST_CONVERSATION} characters")
        return self


async def suggest(
    annotation_id: str, wanted: SuggestionsWanted, who: Principal, database: Database, service: Service
) -> JobStream:
    """Begin suggestions for this person's demonstration.

    Raises:
        NotFound: when it is not theirs.
        AccordantError: when the dialogue does not fit into the model's context.
        Refused: when the model has too much to do.
    """

    def prepare() -> list[int]:
        with database.read() as session:
            annotations.held(session, who.user_id, annotation_id, "demonstration")
        begun = service.engine.renderer.words(wanted.begun.rstrip())
        room = service.context - wanted.max_tokens - len(begun)
        return [*fit(service.engine.renderer, wanted.messages, room).prompt, *begun]

    prompt = await run_in_threadpool(prepare)
    drawn = [
        Sampling(wanted.temperature, wanted.top_p, wanted.max_tokens, seed=secrets.randbits(32))
        for _ in range(wanted.count)
    ]
    # The trainer's own words are not judged: who teaches to refuse must be able to write what is refused.
    job = await service.begin([Ask(prompt, sampling) for sampling in drawn], who, (), "messages")
    keep = _Keeping(database, annotation_id, service.model, wanted.begun.rstrip(), drawn)
    return JobStream(service.scheduler, job, _encoded(job, keep))


class _Keeping:
    """Stores suggestions once they are whole."""

    def __init__(
        self, database: Database, annotation_id: str, model: str, begun: str, drawn: Sequence[Sampling]
    ) -> None:
        self._database, self._annotation_id, self._model, self._drawn = database, annotation_id, model, drawn
        self.texts = [begun] * len(drawn)

    def store(self) -> list[Suggested]:
        """One event for each, with its id."""
        texts = [text.replace("\x00", "\ufffd") for text in self.texts]
        how = [{"temperature": one.temperature, "top_p": one.top_p, "seed": one.seed} for one in self._drawn]
        with self._database.write() as session:
            rows = list(zip(texts, how, strict=True))
            ids = annotations.add_suggestions(session, self._annotation_id, self._model, rows)
        return [Suggested(id=id, choice=n, text=text) for n, (id, text) in enumerate(zip(ids, texts, strict=True))]


async def _encoded(job: Job, keep: _Keeping) -> AsyncIterator[bytes]:
    async for event in events(job):
        if isinstance(event, Delta):
            keep.texts[event.choice] += event.text
        yield encode(event)
        if isinstance(event, Error):
            return
    for suggested in await run_in_threadpool(keep.store):
        yield encode(suggested)
