"""What routes ask for by type: who is asking, and the store. Every route that is not public asks for a `Principal`.

Routes open transactions themselves, and not by a dependency: one that ends with the request would commit after the
answer, and so acknowledge what may still be lost.
"""

import hmac
from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request

from accordant.serve.access import LOCAL_ADMIN, Access, Principal
from accordant.serve.alternatives import Alternatives
from accordant.serve.dialogue import Dialogue
from accordant.serve.faults import Fault
from accordant.store.database import Database
from accordant.store.schema import UserRole

READING = ("GET", "HEAD", "OPTIONS")


def access(request: Request) -> Access:
    """How people are known here."""
    return cast(Access, request.app.state.access)


def database(request: Request) -> Database:
    """The store."""
    return cast(Database, request.app.state.access.database)


def dialogue(request: Request) -> Dialogue:
    """What answers questions of stored conversations."""
    return cast(Dialogue, request.app.state.dialogue)


def alternatives(request: Request) -> Alternatives:
    """What gives people answers to rank."""
    return cast(Alternatives, request.app.state.alternatives)


AccessDep = Annotated[Access, Depends(access)]
DatabaseDep = Annotated[Database, Depends(database)]
AlternativesDep = Annotated[Alternatives, Depends(alternatives)]
DialogueDep = Annotated[Dialogue, Depends(dialogue)]


def principal(request: Request, access: AccessDep) -> Principal:
    """Who is asking, by API key (`Authorization: Bearer`) or by cookie; the one way in, for all routes.

    Raises:
        HTTPException: 401 when nobody knows.
        Fault: 403 when a change comes with a cookie but without its CSRF token.
    """
    if not access.accounts:
        return LOCAL_ADMIN
    if given := request.headers.get("authorization"):
        scheme, _, text = given.partition(" ")
        who = access.by_key(text.strip()) if scheme.lower() == "bearer" else None
        return who or _unknown("this API key is not valid")
    token = request.cookies.get(access.cookie)
    who = access.by_cookie(token) if token else None
    if who is None or who.csrf is None:
        return _unknown("log in, or send an API key as Authorization: Bearer")
    given = request.headers.get("x-csrf-token", "")
    if request.method not in READING and not hmac.compare_digest(given.encode(), who.csrf.encode()):
        raise Fault("the request lacks the X-CSRF-Token that /api/me tells", code="csrf", status=403)
    return who


Signed = Annotated[Principal, Depends(principal)]


def needs(role: UserRole) -> Callable[[Principal], Principal]:
    """A dependency that lets only people with this role through."""

    def check(who: Signed) -> Principal:
        if not who.may(role):
            raise Fault(f"this needs the role {role}", code="role_needed", status=403)
        return who

    return check


Admin = Annotated[Principal, Depends(needs("admin"))]
Reviewer = Annotated[Principal, Depends(needs("reviewer"))]
Trainer = Annotated[Principal, Depends(needs("trainer"))]


def in_person(who: Signed) -> Principal:
    """Somebody at a browser: what concerns the account itself is nothing for an API key."""
    if who.key_id:
        raise HTTPException(403, "this cannot be done with an API key; log in")
    return who


InPerson = Annotated[Principal, Depends(in_person)]


def _unknown(why: str) -> Principal:
    raise HTTPException(401, why, headers={"WWW-Authenticate": "Bearer"})
