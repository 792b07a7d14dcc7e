"""Who asks: the one way in which every route learns it."""

import hmac
from typing import Annotated, NamedTuple, Protocol

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from accordant.errors import AccordantError


class Principal(NamedTuple):
    """A person, or a program with a key of that person."""

    user_id: str
    key_id: str | None = None
    roles: frozenset[str] = frozenset({"user"})

    @property
    def who(self) -> str:
        """Whom the line is fair to, and whom limits count for: a key by itself, a person by himself."""
        return self.key_id or self.user_id


LOCAL_ADMIN = Principal("user_local", None, frozenset({"user", "admin"}))
"""The one person of a machine without accounts."""


class Unknown(AccordantError):
    """Nobody that is known here."""


class Keys(Protocol):
    """Who an API key belongs to."""

    def find(self, key: str, /) -> Principal | None:
        """The owner of a key; may wait for a database, and is called outside the event loop."""


class OneKey:
    """A single secret, from the environment: the smallest way to be reachable from elsewhere."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def find(self, key: str) -> Principal | None:
        """The one principal, for the one key; compared in constant time."""
        return LOCAL_ADMIN._replace(key_id="key_secret") if hmac.compare_digest(key.encode(), self._secret) else None


async def principal(request: Request) -> Principal:
    """Who asks, by the `Authorization: Bearer` header and nothing else.

    Everybody is `LOCAL_ADMIN` where no keys are set up.

    Raises:
        Unknown: without a valid key where one is needed.
    """
    keys: Keys | None = request.app.state.service.keys
    if keys is None:
        return LOCAL_ADMIN
    given = request.headers.getlist("authorization")
    scheme, _, key = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not key:
        raise Unknown("an API key is needed, in one header: Authorization: Bearer KEY")
    if (found := await run_in_threadpool(keys.find, key.strip())) is None:
        raise Unknown("this API key is not valid here")
    return found


Signed = Annotated[Principal, Depends(principal)]
"""The parameter of a route that says who asks."""
