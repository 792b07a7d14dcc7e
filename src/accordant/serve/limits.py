"""How much one person or key may ask for, and what they used."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from accordant.config import Count, Section
from accordant.serve.scheduler import Refused
from accordant.store import usage
from accordant.store.database import Database
from accordant.store.ids import now


class Limits(Section):
    """What somebody may do, over all their keys, or with one key; absent: as much as they like."""

    requests_per_minute: Count | None = Field(None, description="Requests begun within a minute.")
    tokens_per_minute: Count | None = Field(None, description="Tokens read and written within a minute.")
    tokens_per_day: Count | None = Field(None, description="Tokens read and written on a day, in UTC.")
    concurrency: Count | None = Field(None, description="Requests that wait or are answered at the same time.")


LimitName = Literal["requests_per_minute", "tokens_per_minute", "tokens_per_day", "concurrency"]


class Used(NamedTuple):
    """What one request used; `end_user` is whom the asking program named."""

    user_id: str
    key_id: str | None
    model: str
    prompt_tokens: int
    answer_tokens: int
    end_user: str = ""


class UsageLog(Protocol):
    """Where it is counted what was used."""

    def add(self, used: Used, /) -> None:
        """Count one request; may wait for a disk, and is called neither in the event loop nor in the model's thread."""

    def today(self, user_id: str, key_id: str | None, /) -> int:
        """Tokens of a user (all their keys, and none) or of one key since midnight UTC; may wait for a disk, too."""


class UsageCounts:
    """Counts in memory, gone with the process; there are no keys without a store.

    Attributes:
        requests: by user.
        tokens: by user, read and written.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._today: Counter[tuple[date, str]] = Counter()

    def add(self, used: Used) -> None:
        """See `UsageLog`."""
        tokens = used.prompt_tokens + used.answer_tokens
        self.requests[used.user_id] += 1
        self.tokens[used.user_id] += tokens
        self._today[now().date(), used.user_id] += tokens

    def today(self, user_id: str, key_id: str | None) -> int:
        """See `UsageLog`."""
        return self._today[now().date(), user_id]


class StoredUsage:
    """Counts in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, used: Used) -> None:
        """See `UsageLog`."""
        with self._database.write() as session:
            usage.add(session, used.user_id, used.key_id, used.model, used.prompt_tokens, used.answer_tokens)

    def today(self, user_id: str, key_id: str | None) -> int:
        """See `UsageLog`."""
        with self._database.read() as session:
            return usage.today(session, user_id, key_id)


class LimitReached(Refused):
    """More than this key or account may ask for now."""


class Holder(NamedTuple):
    """Who is held to limits: an account, over all its keys, or one key of it."""

    user_id: str
    key_id: str | None
    limits: Limits

    @property
    def id(self) -> str:
        """Names the holder."""
        return self.key_id or self.user_id

    @property
    def name(self) -> str:
        """For the reader of a refusal."""
        return "this key" if self.key_id else "this account"


def check_day(holders: Sequence[Holder], log: UsageLog) -> None:
    """Refuse who used up the tokens of today; what is still being made counts when it is over.

    Raises:
        LimitReached: with the seconds until the day ends, in UTC.
    """
    for holder in holders:
        most = holder.limits.tokens_per_day
        if most is not None and log.today(holder.user_id, holder.key_id) >= most:
            moment = now()
            midnight = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), moment.tzinfo)
            wait = (midnight - moment).total_seconds()
            raise LimitReached(f"{holder.name} has used its {most} tokens of today (UTC)", wait, "tokens_per_day")


@dataclass
class _Bucket:
    """Fills steadily, a full one within a minute, and is drawn from."""

    size: float
    left: float
    seen: float

    def level(self, now: float) -> float:
        """What is in it."""
        return min(self.size, self.left + (now - self.seen) * self.size / 60)

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` can be taken."""
        self.left, self.seen = self.level(now), now
        return max(0.0, amount - self.left) * 60 / self.size


@dataclass
class _Account:
    requests: _Bucket | None = None
    tokens: _Bucket | None = None
    open: int = 0


class Limiter:
    """Holds everybody to their limits. What a request may use is set aside when it begins and settled when it ends.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._forget_at = 0.0
        self._lock = threading.Lock()

    def begin(self, holders: Sequence[Holder], tokens: int) -> None:
        """Set a request and its tokens (those it reads and at most writes) aside, of all holders or of none.

        Raises:
            LimitReached: when that is too much now for one of them, with the seconds until it is not.
        """
        with self._lock:
            now = self._clock()
            self._forget(now)
            accounts = [self._checked(holder, tokens, now) for holder in holders]
            for account in accounts:
                account.open += 1
                if account.requests:
                    account.requests.left -= 1
                if account.tokens:
                    account.tokens.left -= tokens

    def end(self, holders: Sequence[Holder], unused: int) -> None:
        """Settle a request: give back the tokens that it did not use."""
        with self._lock:
            for holder in holders:
                account = self._accounts[holder.id]
                account.open -= 1
                if account.tokens:
                    account.tokens.left = min(account.tokens.size, account.tokens.left + unused)

    def left(self, holder: Holder, today: int) -> dict[LimitName, int]:
        """What is left now of each limit that a holder has, who used `today` tokens since midnight."""
        limits, found = holder.limits, dict[LimitName, int]()
        with self._lock:
            now, account = self._clock(), self._accounts.get(holder.id, _Account())
            if requests := _bucket(account.requests, limits.requests_per_minute, now):
                found["requests_per_minute"] = int(requests.level(now))
            if tokens := _bucket(account.tokens, limits.tokens_per_minute, now):
                found["tokens_per_minute"] = int(tokens.level(now))
            if limits.tokens_per_day is not None:
                found["tokens_per_day"] = max(0, limits.tokens_per_day - today)
            if limits.concurrency is not None:
                found["concurrency"] = max(0, limits.concurrency - account.open)
        return found

    def _checked(self, holder: Holder, tokens: int, now: float) -> _Account:
        """The holder's account, which has room for a request with so many tokens."""
        limits, name = holder.limits, holder.name
        account = self._accounts.setdefault(holder.id, _Account())
        account.requests = _bucket(account.requests, limits.requests_per_minute, now)
        account.tokens = _bucket(account.tokens, limits.tokens_per_minute, now)
        if limits.concurrency is not None and account.open >= limits.concurrency:
            message = f"{name} may have {limits.concurrency} requests open at once; end one first"
            raise LimitReached(message, 1, "concurrency")
        if account.tokens and tokens > account.tokens.size:
            raise LimitReached(
                f"this request may use {tokens} tokens, and {name} {account.tokens.size:.0f} a minute; "
                "ask for a shorter answer",
                60,
                "request_too_large",
            )
        if account.requests and (wait := account.requests.wait(now, 1)):
            message = f"{name} may ask {account.requests.size:.0f} times a minute"
            raise LimitReached(message, wait, "requests_per_minute")
        if account.tokens and (wait := account.tokens.wait(now, tokens)):
            message = f"{name} may use {account.tokens.size:.0f} tokens a minute"
            raise LimitReached(message, wait, "tokens_per_minute")
        return account

    def _forget(self, now: float) -> None:
        """Who asked nothing for a minute has full buckets again: nothing to remember."""
        if now < self._forget_at:
            return
        self._forget_at = now + 60
        for who, account in list(self._accounts.items()):
            buckets = [bucket for bucket in (account.requests, account.tokens) if bucket]
            if not account.open and all(now - bucket.seen > 60 for bucket in buckets):
                del self._accounts[who]


def _bucket(known: _Bucket | None, size: int | None, now: float) -> _Bucket | None:
    if size is None:
        return None
    if known is None or known.size != size:
        return _Bucket(size, size, now)
    return known
