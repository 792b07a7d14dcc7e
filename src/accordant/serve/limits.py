"""How much one person or key may ask for in a minute, and what they used."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pydantic import Field

from accordant.config import Count, Section
from accordant.serve.scheduler import Refused
from accordant.store import usage
from accordant.store.database import Database


class Limits(Section):
    """What one key (or a person without one) may do; absent: as much as they like."""

    requests_per_minute: Count | None = Field(None, description="Requests begun within a minute.")
    tokens_per_minute: Count | None = Field(None, description="Tokens read and written within a minute.")
    concurrency: Count | None = Field(None, description="Requests that wait or are answered at the same time.")


class Used(NamedTuple):
    """What one request used; `end_user` is whom the asking program named."""

    user_id: str
    key_id: str | None
    prompt_tokens: int
    answer_tokens: int
    end_user: str = ""


class UsageLog(Protocol):
    """Where it is counted what was used."""

    def add(self, used: Used, /) -> None:
        """Count one request; may wait for a disk, and is called neither in the event loop nor in the model's thread."""


class UsageCounts:
    """Counts in memory, gone with the process.

    Attributes:
        requests: by user or key.
        tokens: by user or key, read and written.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    def add(self, used: Used) -> None:
        """See `UsageLog`."""
        who = used.key_id or used.user_id
        self.requests[who] += 1
        self.tokens[who] += used.prompt_tokens + used.answer_tokens


class StoredUsage:
    """Counts in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, used: Used) -> None:
        """See `UsageLog`."""
        with self._database.write() as session:
            usage.add(session, used.user_id, used.key_id, used.prompt_tokens, used.answer_tokens)


class LimitReached(Refused):
    """More than this key may ask for now."""


@dataclass
class _Bucket:
    """Fills steadily, a full one within a minute, and is drawn from."""

    size: float
    left: float
    seen: float

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` can be taken; 0 takes it."""
        self.left = min(self.size, self.left + (now - self.seen) * self.size / 60)
        self.seen = now
        if self.left < amount:
            return (amount - self.left) * 60 / self.size
        self.left -= amount
        return 0.0


@dataclass
class _Account:
    requests: _Bucket | None
    tokens: _Bucket | None
    open: int = 0


class Limiter:
    """Holds everybody to their limits. What a request may use is set aside when it begins and settled when it ends.

    Args:
        limits: of a user or key.
        clock: seconds.
    """

    def __init__(self, limits: Callable[[str], Limits], clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._accounts: dict[str, _Account] = {}
        self._lock = threading.Lock()

    def begin(self, who: str, tokens: int) -> None:
        """Set a request and its tokens (those it reads and at most writes) aside.

        Raises:
            LimitReached: when that is too much now, with the seconds until it is not.
        """
        limits = self._limits(who)
        with self._lock:
            now = self._clock()
            account = self._accounts.get(who)
            if account is None:
                account = self._accounts[who] = _Account(None, None)
                self._forget(now, who)
            account.requests = _bucket(account.requests, limits.requests_per_minute, now)
            account.tokens = _bucket(account.tokens, limits.tokens_per_minute, now)
            if limits.concurrency is not None and account.open >= limits.concurrency:
                raise LimitReached(f"this key may have {limits.concurrency} requests open at once; end one first", 1)
            if account.tokens and tokens > account.tokens.size:
                raise LimitReached(
                    f"this request may use {tokens} tokens, and this key {account.tokens.size:.0f} a minute; "
                    "ask for a shorter answer",
                    60,
                )
            if account.requests and (wait := account.requests.wait(now, 1)):
                raise LimitReached(f"this key may ask {account.requests.size:.0f} times a minute", wait)
            if account.tokens and (wait := account.tokens.wait(now, tokens)):
                raise LimitReached(f"this key may use {account.tokens.size:.0f} tokens a minute", wait)
            account.open += 1

    def end(self, who: str, unused: int) -> None:
        """Settle a request: give back the tokens that it did not use."""
        with self._lock:
            account = self._accounts[who]
            account.open -= 1
            if account.tokens:
                account.tokens.left = min(account.tokens.size, account.tokens.left + unused)

    def _forget(self, now: float, but: str) -> None:
        """Who asked nothing for a minute has full buckets again: nothing to remember."""
        for who, account in list(self._accounts.items()):
            buckets = [bucket for bucket in (account.requests, account.tokens) if bucket]
            if who != but and not account.open and all(now - bucket.seen > 60 for bucket in buckets):
                del self._accounts[who]


def _bucket(known: _Bucket | None, size: int | None, now: float) -> _Bucket | None:
    if size is None:
        return None
    if known is None or known.size != size:
        return _Bucket(size, size, now)
    return known
