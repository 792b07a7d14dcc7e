"""Answers in the making: append-only batches of events, a heartbeat, and an end."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.database import NotFound
from accordant.store.ids import now
from accordant.store.schema import Conversation, EventBatch, Generation, Message, Status

LOST_AFTER = timedelta(seconds=15)
"""A heartbeat older than this is a process that died: it beats several times a second."""


class End(NamedTuple):
    """How an answer ended, and its text."""

    generation_id: str
    message_id: str
    content: str
    status: Status
    finish: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


def beat(session: Session, ids: Iterable[str]) -> dict[str, bool]:
    """Say that these are still being written: one statement.

    Returns:
        for each one that still exists and runs, whether somebody wants it to stop.
    """
    rows = session.execute(
        sa.update(Generation)
        .where(Generation.id.in_(list(ids)), Generation.status == "running")
        .values(heartbeat_at=now())
        .returning(Generation.id, Generation.stop_asked)
        .execution_options(synchronize_session=False)
    )
    return {row.id: row.stop_asked for row in rows}


def append(session: Session, batches: Iterable[tuple[str, int, list[dict[str, Any]]]]) -> None:
    """Add events: for each answer its id, the number of the first event, and the events; one statement."""
    rows = [{"generation_id": one, "first": first, "events": events} for one, first, events in batches]
    if rows:
        session.execute(sa.insert(EventBatch), rows)


def finish(session: Session, ends: Sequence[End]) -> None:
    """Close answers and write their text into their messages: two statements."""
    if not ends:
        return
    moment = now()
    session.execute(sa.update(Message), [{"id": end.message_id, "content": end.content} for end in ends])
    session.execute(
        sa.update(Generation),
        [
            {
                "id": end.generation_id,
                "status": end.status,
                "finish": end.finish,
                "error": end.error,
                "prompt_tokens": end.prompt_tokens,
                "answer_tokens": end.answer_tokens,
                "ended_at": moment,
            }
            for end in ends
        ],
    )


def owned(session: Session, user_id: str, conversation_id: str, generation_id: str) -> Generation:
    """An answer in this user's conversation: one statement.

    Raises:
        NotFound: when there is none, or it is somebody else's.
    """
    query = sa.select(Generation).join(Conversation, Conversation.id == Generation.conversation_id)
    query = query.where(Generation.id == generation_id)
    found = session.scalar(query.where(Conversation.id == conversation_id, Conversation.user_id == user_id))
    if found is None:
        raise NotFound("there is no such answer")
    return found


def state(session: Session, generation_id: str) -> Generation | None:
    """An answer as it stands now, if it still exists."""
    return session.get(Generation, generation_id)


def events(session: Session, generation_id: str, start: int = 0) -> list[tuple[int, dict[str, Any]]]:
    """Stored events with their numbers, from `start` on: one statement."""
    of_this = EventBatch.generation_id == generation_id
    holding = sa.select(sa.func.max(EventBatch.first)).where(of_this, EventBatch.first <= start).scalar_subquery()
    query = sa.select(EventBatch).where(of_this, EventBatch.first >= sa.func.coalesce(holding, 0))
    return [
        (number, event)
        for batch in session.scalars(query.order_by(EventBatch.first))
        for number, event in enumerate(batch.events, batch.first)
        if number >= start
    ]


def ask_to_stop(session: Session, generation_id: str) -> None:
    """Leave the wish to stop for the process that writes the answer."""
    session.execute(sa.update(Generation).where(Generation.id == generation_id).values(stop_asked=True))


def lost(session: Session, but: Iterable[str] = ()) -> Sequence[Generation]:
    """Answers that count as running, but whose process is gone; those in `but` are known to live."""
    query = sa.select(Generation).where(
        Generation.status == "running",
        Generation.heartbeat_at < now() - LOST_AFTER,
        Generation.id.not_in(list(but)),
    )
    return session.scalars(query.with_for_update(skip_locked=True)).all()
