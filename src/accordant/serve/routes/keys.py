"""API keys of the one who asks."""

from fastapi import APIRouter
from pydantic import Field

from accordant.records import Record
from accordant.serve.deps import DatabaseDep, InPerson
from accordant.store import audit, keys
from accordant.store.schema import ApiKey

router = APIRouter(prefix="/api/keys", tags=["keys"])


class KeyName(Record):
    """What a key is for."""

    name: str = Field("", max_length=100)


class KeyView(Record):
    """A key without its secret; `prefix` is what stands between `acc-` and the secret."""

    id: str
    name: str
    prefix: str
    created_at: str
    revoked: bool


class ShownOnce(Record):
    """A new key, whose text cannot be shown again."""

    key: str
    about: KeyView


@router.get("")
def list_keys(who: InPerson, database: DatabaseDep) -> list[KeyView]:
    """All keys, the revoked ones too."""
    with database.read() as session:
        return [_view(key) for key, _ in keys.of_user(session, who.user_id)]


@router.post("", status_code=201)
def create_key(asked: KeyName, who: InPerson, database: DatabaseDep) -> ShownOnce:
    """Create a key."""
    with database.write() as session:
        row, text = keys.add(session, who.user_id, asked.name)
        audit.record(session, who.user_id, "key.create", row.id)
    return ShownOnce(key=text, about=_view(row))


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: str, who: InPerson, database: DatabaseDep) -> None:
    """Revoke a key: no request with it is answered any more."""
    with database.write() as session:
        row = keys.revoke(session, key_id, who.user_id)
        audit.record(session, who.user_id, "key.revoke", row.id)


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        created_at=key.created_at.isoformat(),
        revoked=key.revoked_at is not None,
    )
