"""Accounts: signing up, logging in and out, passwords, roles, invitations; taking everything away, deleting it."""

import json
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from accordant.records import Record
from accordant.serve.access import Access, Principal
from accordant.serve.deps import AccessDep, Admin, DatabaseDep, DialogueDep, InPerson, Signed
from accordant.serve.faults import Fault
from accordant.serve.limits import LimitReached
from accordant.store import annotations, audit, conversations, export, invitations, logins, passwords, settings, users
from accordant.store.database import Database, NotFound
from accordant.store.schema import User, UserRole
from accordant.store.settings import AccountSettings

router = APIRouter(prefix="/api", tags=["accounts"])

Name = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(min_length=1, max_length=passwords.LONGEST)]


class Credentials(Record):
    """Who logs in."""

    name: Name
    password: Password


class SignUp(Credentials):
    """Who wants an account."""

    invitation: str = Field("", max_length=100)


class NewPassword(Record):
    """The old one proves who asks."""

    old: Password
    new: Password


class Proof(Record):
    """The password once more, before what cannot be undone."""

    password: Password


class Me(Record):
    """Who is asking; `csrf` goes into the header X-CSRF-Token of each change, where there are accounts."""

    id: str
    name: str
    roles: list[str]
    accounts: bool
    csrf: str | None


class Person(Record):
    """An account as admins see it."""

    id: str
    name: str
    roles: list[str]
    created_at: str


class Roles(Record):
    """All roles of somebody."""

    roles: list[UserRole] = Field(max_length=10)


class Invite(Record):
    """What an invitation gives."""

    roles: list[UserRole] = Field([], max_length=10)
    days: float = Field(7.0, gt=0, le=365)


class Invited(Record):
    """The code, shown this once."""

    code: str


@router.post("/signup", status_code=201)
def sign_up(asked: SignUp, request: Request, response: Response, access: AccessDep) -> Me:
    """Open an account: by invitation, or for everyone where the settings say so. Logs in at once."""
    database = _accounts(access)
    tries = {f"sign-up from {_address(request)}": 20}
    _brake(database, tries)
    digest = passwords.hash_password(asked.password)
    with database.write() as session:
        open_to_all = settings.load(session, AccountSettings).sign_up == "open"
        if not open_to_all and not asked.invitation:
            raise Fault("signing up needs an invitation", code="invitation_needed", status=403)
        invitation = invitations.find(session, asked.invitation) if asked.invitation else None
        user = users.add(session, asked.name, digest, invitation.roles if invitation else ())
        if invitation:
            invitations.use(invitation, user)
        audit.record(session, user.id, "user.sign_up", user.id)
        token = logins.begin(session, user.id)
    return _logged_in(access, response, user, token)


@router.post("/login")
def log_in(asked: Credentials, request: Request, response: Response, access: AccessDep) -> Me:
    """Log a browser in. Wrong tries are slowed down, by name and by address."""
    database = _accounts(access)
    name, address = asked.name.strip().lower(), _address(request)
    own = f"{name} from {address}"
    tries = {own: 5, f"from {address}": 30, name: 50}
    _brake(database, tries)
    with database.read() as session:
        user = users.find(session, name)
    if not passwords.password_fits(user.password_hash if user else None, asked.password) or user is None:
        raise Fault("name or password is wrong", code="login_wrong", status=401)
    with database.write() as session:
        logins.succeeded(session, own, tries)
        logins.clean(session)
        audit.record(session, user.id, "user.login", user.id)
        token = logins.begin(session, user.id)
    return _logged_in(access, response, user, token)


@router.post("/logout", status_code=204)
def log_out(who: InPerson, response: Response, access: AccessDep) -> None:
    """Log this browser out."""
    if who.login_id:
        with _accounts(access).write() as session:
            logins.end(session, who.login_id)
        response.delete_cookie(access.cookie, path="/", secure=access.secure, httponly=True, samesite="lax")


@router.get("/me")
def me(who: Signed, access: AccessDep) -> Me:
    """Who is asking. Opening a page asks this, and so keeps the login alive."""
    if who.login_id:
        with _accounts(access).write() as session:
            logins.prolong(session, who.login_id)
    return Me(id=who.user_id, name=who.name, roles=sorted(who.roles), accounts=access.accounts, csrf=who.csrf)


@router.put("/me/password", status_code=204)
def change_password(asked: NewPassword, who: InPerson, request: Request, access: AccessDep) -> None:
    """Change the password; all other browsers are logged out."""
    database = _accounts(access)
    _prove(database, who, asked.old, request)
    digest = passwords.hash_password(asked.new)
    with database.write() as session:
        _row(session.get(User, who.user_id)).password_hash = digest
        logins.end_all(session, who.user_id, but=who.login_id)
        audit.record(session, who.user_id, "user.password", who.user_id)


@router.delete("/me", status_code=204)
async def delete_me(asked: Proof, who: InPerson, request: Request, access: AccessDep, talk: DialogueDep) -> None:
    """Delete the account and everything in it; nothing is kept but ids in the audit log."""
    database = _accounts(access)
    await run_in_threadpool(_prove, database, who, asked.password, request)
    talk.answers.forget(await run_in_threadpool(_delete, database, who.user_id))


@router.get("/me/export")
def export_me(who: InPerson, database: DatabaseDep) -> StreamingResponse:
    """Everything of this person as one JSON document."""
    headers = {"Content-Disposition": 'attachment; filename="accordant.json"'}
    return StreamingResponse(_document(database, who.user_id), headers=headers, media_type="application/json")


@router.get("/users")
def list_users(_: Admin, database: DatabaseDep) -> list[Person]:
    """All accounts."""
    with database.read() as session:
        return [_person(user) for user in users.everyone(session)]


@router.put("/users/{user_id}/roles")
def set_roles(user_id: str, asked: Roles, who: Admin, database: DatabaseDep) -> Person:
    """Replace somebody's roles."""
    with database.write() as session:
        user = _row(session.get(User, user_id))
        users.set_roles(session, user, asked.roles)
        audit.record(session, who.user_id, "user.roles", user.id, roles=user.roles)
        return _person(user)


@router.post("/invitations", status_code=201)
def invite(asked: Invite, who: Admin, database: DatabaseDep) -> Invited:
    """A code that lets one person sign up."""
    with database.write() as session:
        code = invitations.add(session, asked.roles, asked.days)
        audit.record(session, who.user_id, "user.invite", roles=list(asked.roles))
    return Invited(code=code)


@router.get("/settings/accounts")
def account_settings(_: Admin, database: DatabaseDep) -> AccountSettings:
    """Who may sign up."""
    with database.read() as session:
        return settings.load(session, AccountSettings)


@router.put("/settings/accounts")
def change_account_settings(asked: AccountSettings, who: Admin, database: DatabaseDep) -> AccountSettings:
    """Change who may sign up."""
    with database.write() as session:
        settings.save(session, asked)
        audit.record(session, who.user_id, "settings.accounts", **asked.model_dump())
    return asked


def _accounts(access: Access) -> Database:
    if access.database is None or not access.accounts:
        raise HTTPException(404, "this server has no accounts")
    return access.database


def _logged_in(access: Access, response: Response, user: User, token: str) -> Me:
    response.set_cookie(
        access.cookie,
        token,
        max_age=int(logins.LASTS.total_seconds()),
        path="/",
        secure=access.secure,
        httponly=True,
        samesite="lax",
    )
    return Me(id=user.id, name=user.name, roles=user.roles, accounts=True, csrf=access.csrf(token))


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _brake(database: Database, tries: dict[str, int]) -> None:
    with database.write() as session:
        wait = logins.attempt(session, tries)
    if wait:
        seconds = logins.seconds(wait)
        message = f"too many tries; try again in {seconds} seconds"
        raise LimitReached(message, seconds, "too_many_tries")


def _prove(database: Database, who: Principal, password: str, request: Request) -> None:
    own = f"{who.name} from {_address(request)}"
    tries = {own: 5, who.name: 50}
    _brake(database, tries)
    with database.read() as session:
        digest = _row(session.get(User, who.user_id)).password_hash
    if not passwords.password_fits(digest, password):
        raise Fault("the password is wrong", code="password_wrong", status=403)
    with database.write() as session:
        logins.succeeded(session, own, tries)


def _row(user: User | None) -> User:
    if user is None:
        raise NotFound("there is no such user")
    return user


def _delete(database: Database, user_id: str) -> set[str]:
    """Delete somebody; returns the conversations that went along."""
    with database.write() as session:
        own = conversations.ids_of(session, user_id)
        users.delete(session, _row(session.get(User, user_id)))
        audit.record(session, user_id, "user.delete", user_id)
    database.forget_deleted()
    return set(own)


def _person(user: User) -> Person:
    return Person(id=user.id, name=user.name, roles=user.roles, created_at=user.created_at.isoformat())


def _document(database: Database, user_id: str) -> Iterator[str]:
    """Piece by piece, each from a session of its own: a slow reader holds nothing up."""
    with database.read() as session:
        account = export.account(session, _row(session.get(User, user_id)))
        talks, works = conversations.ids_of(session, user_id), annotations.ids_of(session, user_id)
    yield '{"account": ' + json.dumps(account, ensure_ascii=False)
    for name, ids, read in (("conversations", talks, export.conversation), ("work", works, export.work)):
        yield f', "{name}": ['
        between = ""
        for one in ids:
            with database.read() as session:
                try:
                    document = read(session, user_id, one)
                except NotFound:  # deleted in the meantime
                    continue
            yield between + json.dumps(document, ensure_ascii=False)
            between = ",\n"
        yield "]"
    yield "}\n"
