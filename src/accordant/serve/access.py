"""Who is asking: a browser by its cookie, a program by its key, or the one person of a machine without accounts."""

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass

from accordant.errors import AccordantError
from accordant.serve.limits import Limits
from accordant.store import keys, logins
from accordant.store.database import Database
from accordant.store.schema import UserRole
from accordant.store.users import LOCAL

SHORTEST_SECRET = 32
NO_LIMITS = Limits()


@dataclass(frozen=True)
class Principal:
    """Who a request comes from.

    Attributes:
        key_id: the key that proved it, for a program.
        login_id: the login session that proved it, for a browser.
        limits: of that key.
        csrf: what a browser sends along with each change, because other sites' pages cannot read it.
    """

    user_id: str
    name: str
    roles: frozenset[str]
    key_id: str | None = None
    login_id: str | None = None
    csrf: str | None = None
    limits: Limits = NO_LIMITS

    def may(self, role: UserRole) -> bool:
        """Whether the role is theirs; an admin has all."""
        return role in self.roles or "admin" in self.roles


LOCAL_ADMIN = Principal(LOCAL, "local", frozenset({"user", "admin"}))


@dataclass(frozen=True)
class Access:
    """How people and programs are known here.

    Attributes:
        database: where accounts are.
        accounts: without them, everyone who reaches the server is the local admin.
        secret: what CSRF tokens are derived with.
        secure: whether cookies are for HTTPS alone.
    """

    database: Database | None = None
    accounts: bool = False
    secret: str = ""
    secure: bool = False

    @property
    def cookie(self) -> str:
        """Name of the cookie; the prefix makes browsers refuse one that another host or plain HTTP has set."""
        return "__Host-accordant" if self.secure else "accordant"

    def by_key(self, text: str) -> Principal | None:
        """The owner of an API key."""
        assert self.database is not None
        with self.database.read() as session:
            if found := keys.find(session, text):
                key, user = found
                limits = Limits.model_validate(key.limits)
                return Principal(user.id, user.name, frozenset(user.roles), key_id=key.id, limits=limits)
        return None

    def by_cookie(self, token: str) -> Principal | None:
        """Who is logged in with this cookie."""
        assert self.database is not None
        with self.database.read() as session:
            if found := logins.find(session, token):
                login, user = found
                roles = frozenset(user.roles)
                return Principal(user.id, user.name, roles, login_id=login.id, csrf=self.csrf(token))
        return None

    def csrf(self, token: str) -> str:
        """The CSRF token of a login: nothing to store, and nothing that the cookie could be computed from."""
        return hmac.new(self.secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_access(database: Database, host: str, accounts: bool | None, secret: str | None) -> Access:
    """What a server bound to `host` asks of those who come.

    Args:
        database: where accounts are.
        host: the address to bind.
        accounts: None takes accounts where other machines can reach the server, and none on this machine alone.
        secret: what tokens are derived with; on this machine alone one is made up.

    Raises:
        AccordantError: when other machines could reach it without accounts or without a secret.
    """
    alone = is_loopback(host)
    if accounts is None:
        accounts = not alone
    if not alone and not accounts:
        raise AccordantError(f"other machines can reach {host}: it needs accounts; leave out --no-accounts")
    if not alone and len(secret or "") < SHORTEST_SECRET:
        raise AccordantError(
            f"other machines can reach {host}: set ACCORDANT_SECRET to at least {SHORTEST_SECRET} random characters, "
            "such as those of: openssl rand -hex 32"
        )
    return Access(database, accounts, secret or secrets.token_hex(32), secure=not alone)
