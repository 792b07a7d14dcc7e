"""Accounts and their roles."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.errors import AccordantError
from accordant.store.database import NotFound
from accordant.store.ids import new_id, now
from accordant.store.schema import Annotation, Feedback, User, UserRole

ROLES: tuple[UserRole, ...] = get_args(UserRole)
LOCAL = "user_local"
"""The one person of a machine without accounts."""


def add(session: Session, name: str, password_hash: str | None, roles: Iterable[str] = ()) -> User:
    """Create an account; everyone is a `user` besides the roles given.

    Raises:
        AccordantError: when the name is taken or is none, or a role is none.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._@+-]{0,63}", name := name.strip().lower()):
        message = f"{name[:70]!r} is no user name: up to 64 of a-z 0-9 . _ @ + -, a letter or digit first"
        raise AccordantError(message, "name_invalid")
    if session.scalar(sa.select(User.id).where(User.name == name)):
        raise AccordantError(f"there is a user {name!r} already; choose another name", "name_taken")
    user = User(id=new_id("user"), name=name, password_hash=password_hash, roles=checked(roles), created_at=now())
    session.add(user)
    session.flush()
    return user


def checked(roles: Iterable[str]) -> list[str]:
    """The roles in their usual order, `user` always among them.

    Raises:
        AccordantError: when one does not exist.
    """
    asked = {"user", *roles}
    if unknown := asked - set(ROLES):
        raise AccordantError(f"{sorted(unknown)[0]!r} is no role; there are {', '.join(ROLES)}")
    return [role for role in ROLES if role in asked]


def ensure_local(session: Session) -> None:
    """Make the one person of a machine without accounts, who is an admin."""
    if session.get(User, LOCAL) is None:
        session.add(User(id=LOCAL, name="local", password_hash=None, roles=["user", "admin"], created_at=now()))


def named(session: Session, name: str) -> User:
    """The user of that name.

    Raises:
        NotFound: when there is none.
    """
    if user := find(session, name):
        return user
    raise NotFound(f"there is no user {name!r}; see: accordant user list")


def find(session: Session, name: str) -> User | None:
    """The user of that name, if there is one."""
    return session.scalar(sa.select(User).where(User.name == name.strip().lower()))


def everyone(session: Session) -> Sequence[User]:
    """All accounts by name."""
    return session.scalars(sa.select(User).order_by(User.name)).all()


def who_judged(session: Session) -> list[User]:
    """Those who ranked, wrote, gave feedback or reviewed, by name: one statement."""
    rows = [column for table in (Annotation, Feedback) for column in (table.user_id, table.reviewer_id)]
    judged = User.id.in_(sa.union(*(sa.select(column) for column in rows)))
    return list(session.scalars(sa.select(User).where(judged).order_by(User.name)))


def shown_names(people: Iterable[User]) -> dict[str, str]:
    """What others call them, by id: a name that is an address without what stands behind the @.

    Two that would then be called the same have the end of their id besides.
    """
    short = {user.id: user.name.partition("@")[0] or user.name for user in people}
    often = Counter(short.values())
    return {id: name if often[name] == 1 else f"{name} …{id[-5:]}" for id, name in short.items()}


def set_roles(session: Session, user: User, roles: Iterable[str]) -> None:
    """Replace the roles.

    Raises:
        AccordantError: when a role does not exist, or nobody would be admin any more.
    """
    wanted = checked(roles)
    if "admin" in user.roles and "admin" not in wanted:
        _keep_an_admin(session, user)
    user.roles = wanted


def delete(session: Session, user: User) -> None:
    """Delete the account with everything in it: keys, conversations, events, verdicts, usage.

    Raises:
        AccordantError: for the last admin.
    """
    if "admin" in user.roles:
        _keep_an_admin(session, user)
    session.execute(sa.delete(User).where(User.id == user.id))


def _keep_an_admin(session: Session, leaving: User) -> None:
    others = (user for user in everyone(session) if user.id not in (leaving.id, LOCAL))
    if not any("admin" in user.roles for user in others):
        raise AccordantError(f"{leaving.name} is the only admin; make somebody else one first", "last_admin")
