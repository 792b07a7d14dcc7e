"""Browsers that are logged in, and the brake on guessing passwords."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.store.database import insert_into
from accordant.store.ids import new_id, now
from accordant.store.passwords import new_token, token_hash
from accordant.store.schema import LoginSession, LoginThrottle, User

LASTS = timedelta(days=30)
FORGET_FAILURES = timedelta(hours=1)
LONGEST_WAIT = timedelta(minutes=15)


def begin(session: Session, user_id: str) -> str:
    """Log a browser in; returns the token for its cookie, which is not stored."""
    token = new_token()
    moment = now()
    session.add(
        LoginSession(
            id=new_id("login"),
            user_id=user_id,
            token_hash=token_hash(token),
            created_at=moment,
            expires_at=moment + LASTS,
        )
    )
    return token


def find(session: Session, token: str) -> tuple[LoginSession, User] | None:
    """Who a cookie's token belongs to, unless it has expired: one statement."""
    found = session.execute(
        sa.select(LoginSession, User)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.token_hash == token_hash(token), LoginSession.expires_at > now())
    ).first()
    return (found[0], found[1]) if found else None


def prolong(session: Session, login_id: str) -> None:
    """Who comes back stays logged in."""
    session.execute(sa.update(LoginSession).where(LoginSession.id == login_id).values(expires_at=now() + LASTS))


def end(session: Session, login_id: str) -> None:
    """Log a browser out."""
    session.execute(sa.delete(LoginSession).where(LoginSession.id == login_id))


def end_all(session: Session, user_id: str, but: str | None = None) -> None:
    """Log all browsers of a user out, except one."""
    session.execute(sa.delete(LoginSession).where(LoginSession.user_id == user_id, LoginSession.id != (but or "")))


def clean(session: Session) -> None:
    """Remove what has expired."""
    session.execute(sa.delete(LoginSession).where(LoginSession.expires_at < now()))
    session.execute(sa.delete(LoginThrottle).where(LoginThrottle.last_at < now() - FORGET_FAILURES))


def attempt(session: Session, free_tries: Mapping[str, int]) -> timedelta | None:
    """Count a try before the password is looked at, so that tries at the same moment count as well.

    Args:
        session: an open transaction.
        free_tries: for each thing tries are counted by (a name, an address), how many are free; each one beyond
            doubles the wait, from one second up to 15 minutes.

    Returns:
        None when it may go on, else how long to wait.
    """
    first = now()
    unknown = [{"key": key, "failures": 0, "last_at": first, "blocked_until": first} for key in sorted(free_tries)]
    session.execute(insert_into(session, LoginThrottle).on_conflict_do_nothing(), unknown)
    query = sa.select(LoginThrottle).where(LoginThrottle.key.in_(list(free_tries))).order_by(LoginThrottle.key)
    rows = session.scalars(query.with_for_update()).all()
    moment = now()  # after waiting for those who try at the same moment
    wait = max(row.blocked_until - moment for row in rows)
    if wait > timedelta():
        return wait
    for row in rows:
        if moment - row.last_at > FORGET_FAILURES:
            row.failures = 0
        row.failures += 1
        row.last_at = moment
        row.blocked_until = moment + _wait(row.failures - free_tries[row.key])
    return None


def succeeded(session: Session, own: str, others: Iterable[str]) -> None:
    """The password was right: tries by `own` are forgotten, and of the others this one alone.

    An address that logs in to its own account now and then must not get new tries at another one.
    """
    session.execute(sa.delete(LoginThrottle).where(LoginThrottle.key == own))
    session.execute(
        sa.update(LoginThrottle)
        .where(LoginThrottle.key.in_(list(others)), LoginThrottle.key != own)
        .values(failures=LoginThrottle.failures - 1, blocked_until=LoginThrottle.last_at)
    )


def _wait(beyond: int) -> timedelta:
    return min(timedelta(seconds=2.0 ** min(beyond, 20)), LONGEST_WAIT) if beyond > 0 else timedelta()


def seconds(wait: timedelta) -> int:
    """Whole seconds to wait, at least one."""
    return max(1, int(wait.total_seconds() + 0.999))
