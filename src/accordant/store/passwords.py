"""Passwords as argon2id digests (RFC 9106), and tokens as SHA-256: those are 256 random bits, which nobody guesses."""

import functools
import hashlib
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from accordant.errors import AccordantError

HASHER = PasswordHasher()
SHORTEST = 10
LONGEST = 1000
_AT_ONCE = threading.Semaphore(2)
"""Each digest takes 64 MiB: many logins at once must not take all memory."""


def hash_password(password: str) -> str:
    """The digest to store.

    Raises:
        AccordantError: when it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        message = f"a password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}"
        raise AccordantError(message, "password_length")
    with _AT_ONCE:
        return HASHER.hash(password)


def password_fits(digest: str | None, password: str) -> bool:
    """Whether this is the password; takes as long when there is no digest, so that nobody learns who has an account."""
    with _AT_ONCE:
        try:
            return HASHER.verify(digest or _nobodys(), password[: LONGEST + 1]) and digest is not None
        except VerificationError:
            return False


def new_token() -> str:
    """256 random bits, safe in URLs and headers."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@functools.cache
def _nobodys() -> str:
    return HASHER.hash(new_token())
