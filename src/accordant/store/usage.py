"""What was used: requests and tokens by user, key, day and model."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.database import insert_into
from accordant.store.ids import now
from accordant.store.schema import ApiKey, Usage, User


class Total(NamedTuple):
    """What somebody used of a model over some days."""

    user_id: str
    user_name: str
    model: str
    requests: int
    prompt_tokens: int
    answer_tokens: int
    last_day: date


def add(session: Session, user_id: str, key_id: str | None, model: str, prompt_tokens: int, answer_tokens: int) -> None:
    """Count one request and its tokens, today (UTC): one statement, right under any number of writers."""
    statement = insert_into(session, Usage).values(
        user_id=user_id,
        key_id=key_id or "",
        day=now().date(),
        model=model,
        requests=1,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
    )
    counters = ("requests", "prompt_tokens", "answer_tokens")
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id", "key_id", "day", "model"],
            set_={name: getattr(Usage, name) + getattr(statement.excluded, name) for name in counters},
        )
    )


def today(session: Session, user_id: str, key_id: str | None) -> int:
    """Tokens of a user, over all keys, or of one key since midnight UTC: one statement."""
    query = sa.select(sa.func.coalesce(sa.func.sum(Usage.prompt_tokens + Usage.answer_tokens), 0))
    query = query.where(Usage.user_id == user_id, Usage.day == now().date())
    return int(session.scalar(query if key_id is None else query.where(Usage.key_id == key_id)) or 0)


def of_user(session: Session, user_id: str, since: date = date.min) -> Sequence[tuple[Usage, str]]:
    """Counters of a user and their keys from a day on, newest first, each with the name of its key: one statement."""
    query = (
        sa.select(Usage, sa.func.coalesce(ApiKey.name, ""))
        .outerjoin(ApiKey, ApiKey.id == Usage.key_id)
        .where(Usage.user_id == user_id, Usage.day >= since)
        .order_by(Usage.day.desc(), Usage.key_id, Usage.model)
    )
    return [(row, name) for row, name in session.execute(query)]


def totals(session: Session, since: date) -> list[Total]:
    """What everybody used from a day on, by user and model, who used most first: one statement."""
    requests, read, written = map(sa.func.sum, (Usage.requests, Usage.prompt_tokens, Usage.answer_tokens))
    query = (
        sa.select(User.id, User.name, Usage.model, requests, read, written, sa.func.max(Usage.day))
        .join(User, User.id == Usage.user_id)
        .where(Usage.day >= since)
        .group_by(User.id, User.name, Usage.model)
        .order_by((read + written).desc(), User.name, Usage.model)
    )
    return [
        Total(row[0], row[1], row[2], int(row[3]), int(row[4]), int(row[5]), row[6]) for row in session.execute(query)
    ]
