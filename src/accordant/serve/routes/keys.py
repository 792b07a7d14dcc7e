"""API keys: everybody's own, and, for admins, anybody's."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import Field

from accordant.records import Record
from accordant.serve.access import Principal
from accordant.serve.deps import DatabaseDep, InPerson
from accordant.serve.limits import Limits
from accordant.store import audit, keys
from accordant.store.schema import ApiKey

router = APIRouter(prefix="/api/keys", tags=["keys"])

Name = Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")]


class NewKey(Record):
    """What a key is for, and what it may do."""

    name: Name = ""
    limits: Limits = Limits()


class KeyChange(Record):
    """A new name, or new limits instead of all older ones; what is absent stays."""

    name: Name | None = None
    limits: Limits | None = None


class KeyView(Record):
    """A key without its secret; `prefix` is what stands between `acc-` and the secret."""

    id: str
    name: str
    prefix: str
    limits: Limits
    created_at: str
    revoked: bool


class ShownOnce(Record):
    """A new key, whose text cannot be shown again."""

    key: str
    about: KeyView


@router.get("")
def list_keys(
    who: InPerson, database: DatabaseDep, user: Annotated[str | None, Query(max_length=100)] = None
) -> list[KeyView]:
    """All keys, the revoked ones too; an admin may name the user whose keys they are."""
    if user not in (None, who.user_id) and not who.may("admin"):
        raise HTTPException(403, "this needs the role admin")
    with database.read() as session:
        return [_view(key) for key, _ in keys.of_user(session, user or who.user_id)]


@router.post("", status_code=201)
def create_key(asked: NewKey, who: InPerson, database: DatabaseDep) -> ShownOnce:
    """Create a key. Its limits hold besides those of the account."""
    with database.write() as session:
        row, text = keys.add(session, who.user_id, asked.name, asked.limits.model_dump(exclude_none=True))
        audit.record(session, who.user_id, "key.create", row.id, limits=row.limits)
    return ShownOnce(key=text, about=_view(row))


@router.patch("/{key_id}")
def change_key(key_id: str, asked: KeyChange, who: InPerson, database: DatabaseDep) -> KeyView:
    """Rename a key, or change its limits, from its next request on."""
    with database.write() as session:
        row = keys.named(session, key_id, _whose(who))
        if asked.name is not None:
            row.name = asked.name
        if asked.limits is not None:
            row.limits = asked.limits.model_dump(exclude_none=True)
            audit.record(session, who.user_id, "key.limits", row.id, limits=row.limits)
        return _view(row)


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: str, who: InPerson, database: DatabaseDep) -> None:
    """Revoke a key: no request with it is answered any more."""
    with database.write() as session:
        row = keys.revoke(session, key_id, _whose(who))
        audit.record(session, who.user_id, "key.revoke", row.id)


def _whose(who: Principal) -> str | None:
    """Whose keys somebody may change: admins anybody's."""
    return None if who.may("admin") else who.user_id


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        limits=Limits.model_validate(key.limits),
        created_at=key.created_at.isoformat(),
        revoked=key.revoked_at is not None,
    )
