"""Names and moments of what is stored."""

import secrets
from datetime import UTC, datetime


def new_id(kind: str) -> str:
    """A name that says what it names and cannot be guessed: `conv_` and 128 random bits, safe in a URL."""
    return f"{kind}_{secrets.token_urlsafe(16)}"


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
