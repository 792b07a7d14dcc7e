"""What users said of messages: one row for each user, kind and message (or pair); consent is not looked at here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.errors import AccordantError
from accordant.records import Choice, Said
from accordant.store import audit
from accordant.store.database import NotFound
from accordant.store.ids import new_id, now
from accordant.store.newest import newest_first
from accordant.store.schema import Conversation, Feedback, FeedbackKind, Message, Review

TEXTS = ("note", "ideal")
"""Fields of `Said` in which people write: they never enter the audit log."""


class Given(NamedTuple):
    """A piece of feedback with the message it is on, and whether the conversation may be trained on today."""

    feedback: Feedback
    message: Message
    consent: bool


def give(session: Session, user_id: str, conversation_id: str, message_id: str, said: Said) -> Feedback:
    """Say something of a message, or something else than before; the audit log keeps what was said, but no text.

    Four statements.

    Raises:
        NotFound: when a message is not in this user's conversation.
        AccordantError: when such a thing cannot be said of this message.
    """
    ids = [said.left, said.right] if isinstance(said, Choice) else [message_id]
    messages = _own_messages(session, user_id, conversation_id, ids)
    _check(said, messages)
    subject = "~".join(message.id for message in messages)
    mine = (Feedback.user_id == user_id) & (Feedback.kind == said.kind) & (Feedback.subject == subject)
    found = session.scalar(sa.select(Feedback).where(mine))
    moment, value = now(), said.model_dump(mode="json")
    facts = {name: entry for name, entry in value.items() if name not in TEXTS}
    if found is None:
        found = Feedback(
            id=new_id("fb"),
            conversation_id=conversation_id,
            user_id=user_id,
            kind=said.kind,
            message_id=messages[0].id,
            other_id=messages[1].id if len(messages) > 1 else None,
            subject=subject,
            value=value,
            created_at=moment,
            updated_at=moment,
        )
        session.add(found)
        audit.record(session, user_id, "feedback.give", found.id, messages=subject, **facts)
    else:
        if found.value != value:  # what was reviewed is no longer what is said
            found.review, found.review_reason, found.reviewer_id, found.reviewed_at = "open", "", None, None
        found.value, found.updated_at = value, moment
        audit.record(session, user_id, "feedback.change", found.id, messages=subject, **facts)
    session.flush()
    return found


def withdraw(session: Session, user_id: str, feedback_id: str) -> None:
    """Take it back: it is gone from the store, and from the next data that are built.

    Raises:
        NotFound: when it is not this user's.
    """
    mine = (Feedback.id == feedback_id) & (Feedback.user_id == user_id)
    if session.execute(sa.delete(Feedback).where(mine).returning(Feedback.id)).first() is None:
        raise NotFound("there is no such feedback")
    audit.record(session, user_id, "feedback.withdraw", feedback_id)


def of_conversation(session: Session, user_id: str, conversation_id: str) -> Sequence[Feedback]:
    """What this user said in a conversation, oldest first: one statement."""
    mine = (Feedback.user_id == user_id) & (Feedback.conversation_id == conversation_id)
    return session.scalars(sa.select(Feedback).where(mine).order_by(Feedback.created_at, Feedback.id)).all()


def listed(
    session: Session,
    kind: FeedbackKind | None = None,
    review: Review | None = None,
    user_id: str | None = None,
    value: Mapping[str, str] | None = None,
    most: int = 50,
    before: str | None = None,
) -> list[Given]:
    """Feedback of everyone for reviewers, newest first: one statement.

    Args:
        session: an open session.
        kind: only of this kind.
        review: only what stands so with the reviewers.
        user_id: only of this user.
        value: only where these fields are so, such as `{"thumb": "down"}`.
        most: how many.
        before: only what is older than the feedback of this id.
    """
    query = sa.select(Feedback, Message, Conversation.consent)
    query = query.join(Message, Message.id == Feedback.message_id)
    query = query.join(Conversation, Conversation.id == Feedback.conversation_id)
    wanted = {Feedback.kind: kind, Feedback.review: review, Feedback.user_id: user_id}
    query = query.where(*(column == one for column, one in wanted.items() if one is not None))
    query = query.where(*(Feedback.value[name].as_string() == one for name, one in (value or {}).items()))
    query = newest_first(query, Feedback.created_at, Feedback.id, most, before)
    return [Given(*row) for row in session.execute(query)]


def reviewed(session: Session, reviewer_id: str, row: Any, review: Review, reason: str) -> None:
    """A reviewer's word on feedback or an annotation."""
    row.review, row.review_reason, row.reviewer_id, row.reviewed_at = review, reason, reviewer_id, now()
    audit.record(session, reviewer_id, "judgement.review", row.id, review=review)


def one(session: Session, feedback_id: str) -> Given:
    """A piece of anybody's feedback.

    Raises:
        NotFound: when there is none.
    """
    query = sa.select(Feedback, Message, Conversation.consent).where(Feedback.id == feedback_id)
    query = query.join(Message, Message.id == Feedback.message_id)
    found = session.execute(query.join(Conversation, Conversation.id == Feedback.conversation_id)).first()
    if found is None:
        raise NotFound("there is no such feedback")
    return Given(*found)


def _own_messages(session: Session, user_id: str, conversation_id: str, ids: list[str]) -> list[Message]:
    query = sa.select(Message).join(Conversation, Conversation.id == Message.conversation_id)
    query = query.where(Conversation.id == conversation_id, Conversation.user_id == user_id, Message.id.in_(ids))
    found = list(session.scalars(query.order_by(Message.number)))
    if len(found) < len(set(ids)):
        raise NotFound("there is no such message in this conversation")
    return found


def _check(said: Said, messages: list[Message]) -> None:
    if said.kind != "report" and any(message.role != "assistant" for message in messages):
        raise AccordantError("only answers of the model are rated or chosen; this message is the user's own")
    if said.kind == "choice" and (len(messages) != 2 or messages[0].parent_id != messages[1].parent_id):
        raise AccordantError("left and right must be two answers to the same question")
