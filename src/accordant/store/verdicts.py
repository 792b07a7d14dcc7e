"""What moderation said of messages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.ids import new_id, now
from accordant.store.schema import Action, Message, Verdict


class Judgement(NamedTuple):
    """What a classifier says of a text: a score for each category, and what follows from the thresholds."""

    action: Action
    categories: Mapping[str, float]
    classifier: str


def add(session: Session, judged: Iterable[tuple[Message, Judgement]]) -> None:
    """Write verdicts on messages: one statement."""
    rows = [
        {
            "id": new_id("verdict"),
            "conversation_id": message.conversation_id,
            "message_id": message.id,
            "action": judgement.action,
            "categories": dict(judgement.categories),
            "classifier": judgement.classifier,
            "created_at": now(),
        }
        for message, judgement in judged
    ]
    if rows:
        session.execute(sa.insert(Verdict), rows)


def of_messages(session: Session, ids: Sequence[str]) -> dict[str, list[Verdict]]:
    """Verdicts by message: one statement."""
    return _by_message(session, Verdict.message_id.in_(ids))


def of_conversation(session: Session, conversation_id: str) -> dict[str, list[Verdict]]:
    """Verdicts by message: one statement."""
    return _by_message(session, Verdict.conversation_id == conversation_id)


def _by_message(session: Session, which: sa.ColumnElement[bool]) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for verdict in session.scalars(sa.select(Verdict).where(which).order_by(Verdict.created_at, Verdict.id)):
        found.setdefault(verdict.message_id, []).append(verdict)
    return found
