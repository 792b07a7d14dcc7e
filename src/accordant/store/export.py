"""Everything of a person, to take away: as documents that say what they are without us."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store import annotations, conversations, feedback, keys, usage, verdicts
from accordant.store.database import NotFound
from accordant.store.schema import Annotation, Generation, Message, User

_SAID = ("id", "action", "withheld", "categories", "scores", "start", "end", "classifier")
_MADE_BY = ("model", "temperature", "top_p", "max_tokens", "seed", "turns_left_out", "status", "finish", "error")


def account(session: Session, user: User) -> dict[str, Any]:
    """The account itself: name, roles, keys (never their secrets), usage, verdicts on requests that are not stored."""
    return {
        "id": user.id,
        "name": user.name,
        "roles": user.roles,
        "created_at": user.created_at.isoformat(),
        "keys": [
            {
                "id": key.id,
                "name": key.name,
                "prefix": key.prefix,
                "limits": key.limits,
                "created_at": key.created_at.isoformat(),
                "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
            }
            for key, _ in keys.of_user(session, user.id)
        ],
        "usage": [
            {
                "day": row.day.isoformat(),
                "key": row.key_id or None,
                "model": row.model,
                "requests": row.requests,
                "prompt_tokens": row.prompt_tokens,
                "answer_tokens": row.answer_tokens,
            }
            for row, _ in usage.of_user(session, user.id)
        ],
        "verdicts": [
            {
                **{name: getattr(one, name) for name in (*_SAID, "side")},
                "key": one.key_id,
                "created_at": one.created_at.isoformat(),
            }
            for one in verdicts.of_requests(session, user.id)
        ],
    }


def conversation(session: Session, user_id: str, conversation_id: str) -> dict[str, Any]:
    """A whole conversation, all branches in the order of writing: how it was made, what moderation and its user said.

    Raises:
        NotFound: when it is not this user's.
    """
    found = conversations.opened(session, user_id, conversation_id, most=1).conversation
    rows = session.execute(
        sa.select(Message, Generation)
        .outerjoin(Generation, Generation.message_id == Message.id)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.number)
    ).all()
    judged = verdicts.of_conversation(session, conversation_id)
    return {
        "id": found.id,
        "title": found.title,
        "system": found.system,
        "consent": found.consent,
        "created_at": found.created_at.isoformat(),
        "updated_at": found.updated_at.isoformat(),
        "leaf": found.leaf_id,
        "messages": [
            {
                "id": message.id,
                "parent": message.parent_id,
                "role": message.role,
                "content": message.content,
                "created_at": message.created_at.isoformat(),
                "made_by": {name: getattr(made, name) for name in _MADE_BY} if made else None,
                "verdicts": [{name: getattr(one, name) for name in _SAID} for one in judged.get(message.id, [])],
            }
            for message, made in rows
        ],
        "feedback": [
            {"id": row.id, "message": row.message_id, "other": row.other_id, **row.value}
            for row in feedback.of_conversation(session, user_id, conversation_id)
        ],
    }


def work(session: Session, user_id: str, annotation_id: str) -> dict[str, Any]:
    """A ranking or a demonstration of this person, with what the model suggested for it.

    What was ranked may be of somebody else's conversation and is not this person's to take: a ranking names the places
    at which the answers were shown.

    Raises:
        NotFound: when it is not this person's.
    """
    found = session.get(Annotation, annotation_id)
    if found is None or found.user_id != user_id:
        raise NotFound("there is no such work")
    return {
        "id": found.id,
        "kind": found.kind,
        "task": found.task_id,
        "state": found.state,
        "skip_reason": found.skip_reason,
        "value": found.value,
        "seconds": found.seconds,
        "begun_at": found.begun_at.isoformat(),
        "ended_at": found.ended_at.isoformat() if found.ended_at else None,
        "review": found.review,
        "review_reason": found.review_reason,
        "suggestions": [
            {"id": one.id, "model": one.model, "sampling": one.sampling, "content": one.content}
            for one in annotations.suggestions(session, annotation_id).values()
        ],
    }


def markdown(document: dict[str, Any]) -> str:
    """The path of `conversation(...)` that is shown, to read."""
    messages = {message["id"]: message for message in document["messages"]}
    parts, place = [], document["leaf"]
    while place:
        message = messages[place]
        parts.append(f"## {message['role'].capitalize()}\n\n{message['content']}")
        place = message["parent"]
    if document["system"]:
        parts.append(f"## System\n\n{document['system']}")
    return "\n\n".join([f"# {document['title'] or 'Conversation'}", *reversed(parts)]) + "\n"
