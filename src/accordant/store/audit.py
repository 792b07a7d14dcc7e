"""Who did what to whom: written with the deed, in its transaction, and never changed."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.ids import new_id, now
from accordant.store.schema import AuditEntry


def record(session: Session, actor: str, action: str, subject: str = "", **details: Any) -> None:
    """Note a deed.

    Args:
        session: the transaction of the deed itself.
        actor: id of a user or key, or `cli`.
        action: such as `user.roles`.
        subject: id of what it was done to.
        details: small facts; never a secret, never what somebody wrote.
    """
    entry = AuditEntry(id=new_id("audit"), at=now(), actor=actor, action=action, subject=subject, details=details)
    session.add(entry)


def latest(session: Session, most: int = 100) -> Sequence[AuditEntry]:
    """The last entries, newest first."""
    return session.scalars(sa.select(AuditEntry).order_by(AuditEntry.at.desc(), AuditEntry.id).limit(most)).all()
