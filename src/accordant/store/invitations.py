"""Codes that let one person sign up."""

from collections.abc import Iterable
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.errors import AccordantError
from accordant.store.ids import new_id, now
from accordant.store.passwords import new_token, token_hash
from accordant.store.schema import Invitation, User
from accordant.store.users import checked


def add(session: Session, roles: Iterable[str] = (), days: float = 7.0) -> str:
    """A new invitation; returns its code, which is not stored."""
    code, moment = new_token(), now()
    session.add(
        Invitation(
            id=new_id("invitation"),
            code_hash=token_hash(code),
            roles=checked(roles),
            created_at=moment,
            expires_at=moment + timedelta(days=days),
        )
    )
    return code


def find(session: Session, code: str) -> Invitation:
    """The open invitation of a code.

    Raises:
        AccordantError: when there is none, it is used, or it is too old.
    """
    digest, moment = token_hash(code), now()
    found = session.scalar(
        sa.select(Invitation)
        .where(Invitation.code_hash == digest, Invitation.used_at.is_(None), Invitation.expires_at > moment)
        .with_for_update()
    )
    if found is None:
        raise AccordantError(
            "this invitation does not exist, is used already or has expired; ask for another", "invitation_invalid"
        )
    return found


def use(invitation: Invitation, user: User) -> None:
    """Spend it."""
    invitation.used_by, invitation.used_at = user.id, now()
