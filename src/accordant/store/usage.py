"""What was used: requests and tokens by user, key and day."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.database import insert_into
from accordant.store.ids import now
from accordant.store.schema import Usage


def add(session: Session, user_id: str, key_id: str | None, prompt_tokens: int, answer_tokens: int) -> None:
    """Count one request and its tokens, today (UTC): one statement, right under any number of writers."""
    statement = insert_into(session, Usage).values(
        user_id=user_id,
        key_id=key_id or "",
        day=now().date(),
        requests=1,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
    )
    counters = ("requests", "prompt_tokens", "answer_tokens")
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id", "key_id", "day"],
            set_={name: getattr(Usage, name) + getattr(statement.excluded, name) for name in counters},
        )
    )


def of_user(session: Session, user_id: str, most_days: int = 31) -> Sequence[Usage]:
    """Counters of a user and their keys, newest day first."""
    days = sa.select(Usage.day).where(Usage.user_id == user_id).distinct().order_by(Usage.day.desc()).limit(most_days)
    query = sa.select(Usage).where(Usage.user_id == user_id, Usage.day.in_(days))
    return session.scalars(query.order_by(Usage.day.desc(), Usage.key_id)).all()
