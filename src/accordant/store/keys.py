"""API keys: shown once, stored as a digest, found by their prefix."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.database import NotFound
from accordant.store.ids import new_id, now
from accordant.store.passwords import new_token, token_hash
from accordant.store.schema import ApiKey, User

BEGINNING = "acc-"


class NewKey(NamedTuple):
    """A key and its text, `acc-PREFIX-SECRET`, which can never be shown again."""

    row: ApiKey
    text: str


def add(session: Session, user_id: str, name: str, limits: Mapping[str, int] | None = None) -> NewKey:
    """Create a key, with limits of its own."""
    prefix, secret = secrets.token_hex(6), new_token()
    row = ApiKey(
        id=new_id("key"),
        user_id=user_id,
        name=name,
        prefix=prefix,
        secret_hash=token_hash(secret),
        limits=dict(limits or {}),
        created_at=now(),
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    return NewKey(row, f"{BEGINNING}{prefix}-{secret}")


def find(session: Session, text: str) -> tuple[ApiKey, User] | None:
    """The key and its user, unless it is wrong or revoked: one statement."""
    prefix, _, secret = text.removeprefix(BEGINNING).partition("-")
    found = session.execute(
        sa.select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_(None))
    ).first()
    if not text.startswith(BEGINNING) or found is None:
        return None
    row, user = found
    return (row, user) if hmac.compare_digest(row.secret_hash, token_hash(secret)) else None


def of_user(session: Session, user_id: str | None = None) -> Sequence[tuple[ApiKey, str]]:
    """Keys with the names of their users, oldest first: of one user, or all."""
    query = sa.select(ApiKey, User.name).join(User, User.id == ApiKey.user_id).order_by(ApiKey.created_at, ApiKey.id)
    if user_id:
        query = query.where(ApiKey.user_id == user_id)
    return [(key, name) for key, name in session.execute(query)]


def named(session: Session, which: str, user_id: str | None = None) -> ApiKey:
    """A key by id or prefix, of one user or of anybody.

    Raises:
        NotFound: when there is none, or it is another user's.
    """
    query = sa.select(ApiKey).where(sa.or_(ApiKey.id == which, ApiKey.prefix == which.removeprefix(BEGINNING)))
    if user_id:
        query = query.where(ApiKey.user_id == user_id)
    row = session.scalar(query)
    if row is None:
        raise NotFound(f"there is no key {which!r}; see: accordant key list")
    return row


def revoke(session: Session, which: str, user_id: str | None = None) -> ApiKey:
    """End a key, as `named` finds it; one that is revoked stays so."""
    row = named(session, which, user_id)
    row.revoked_at = row.revoked_at or now()
    return row
