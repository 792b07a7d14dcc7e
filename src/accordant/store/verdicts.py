"""What moderation said of messages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.ids import now
from accordant.store.schema import Action, Message, RequestVerdict, Side, Verdict


class Judgement(NamedTuple):
    """What a classifier says of a text, and what followed.

    Attributes:
        action: what the policy says.
        withheld: whether anything was kept back.
        categories: the flagged ones with their probability, the most probable first.
        scores: the probability of every category.
        start: first character of what was judged.
        end: the one after its last.
        classifier: who says it.
    """

    id: str
    action: Action
    withheld: bool
    categories: Mapping[str, float]
    scores: Mapping[str, float]
    start: int
    end: int
    classifier: str


def add(session: Session, judged: Iterable[tuple[Message, Judgement]]) -> None:
    """Write verdicts on messages: one statement."""
    rows = [
        {
            **judgement._asdict(),
            "conversation_id": message.conversation_id,
            "message_id": message.id,
            "created_at": now(),
        }
        for message, judgement in judged
    ]
    if rows:
        session.execute(sa.insert(Verdict), rows)


def add_of_request(session: Session, user_id: str, key_id: str | None, side: Side, judgement: Judgement) -> None:
    """Write a verdict on words that are stored nowhere: one statement."""
    whose = {"user_id": user_id, "key_id": key_id, "side": side, "created_at": now()}
    session.execute(sa.insert(RequestVerdict), [judgement._asdict() | whose])


def of_requests(session: Session, user_id: str) -> Sequence[RequestVerdict]:
    """Those of a person's requests, the oldest first: one statement."""
    query = sa.select(RequestVerdict).where(RequestVerdict.user_id == user_id)
    return session.scalars(query.order_by(RequestVerdict.created_at, RequestVerdict.id)).all()


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
