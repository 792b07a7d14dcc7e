"""What was used: by oneself, and, for admins, by everybody."""

from datetime import date, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import Field

from accordant.records import Record
from accordant.serve.deps import Admin, DatabaseDep, Signed
from accordant.serve.limits import Holder, LimitName
from accordant.serve.service import Serving
from accordant.store import usage
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.usage import Total

router = APIRouter(prefix="/api", tags=["usage"])

Days = Annotated[int, Query(ge=1, le=366, description="How many days back, today among them.")]


class UsageDay(Record):
    """What was used of a model on a day (UTC), by the user's browser or by one of their keys."""

    day: date
    key: str = Field(description="Id of the key; empty for the browser.")
    key_name: str
    model: str
    requests: int
    prompt_tokens: int
    answer_tokens: int


class UsageTotal(Record):
    """What somebody used of a model over the days asked for."""

    user: str = Field(description="Id of the user.")
    user_name: str
    model: str
    requests: int
    prompt_tokens: int
    answer_tokens: int
    last_day: date

    @classmethod
    def of(cls, total: Total) -> Self:
        """From the store."""
        return cls(user=total.user_id, **{name: getattr(total, name) for name in cls.model_fields if name != "user"})


class OwnLimit(Record):
    """So many at most, and how many of them are left now."""

    name: LimitName
    most: int
    left: int


@router.get("/me/usage")
def own_usage(who: Signed, database: DatabaseDep, days: Days = 31) -> list[UsageDay]:
    """Requests and tokens by day, key and model, newest first; days without any are left out."""
    return _of_user(database, who.user_id, days)


@router.get("/me/limits")
def own_limits(who: Signed, service: Serving) -> list[OwnLimit]:
    """The limits of one's account, over all its keys, and what is left of each now; empty where there are none."""
    limits = service.settings.limits
    left = service.limiter.left(Holder(who.user_id, None, limits), service.usage.today(who.user_id, None))
    return [OwnLimit(name=name, most=getattr(limits, name), left=count) for name, count in left.items()]


@router.get("/usage")
def usage_of_everybody(_: Admin, database: DatabaseDep, days: Days = 31) -> list[UsageTotal]:
    """Requests and tokens by user and model, who used most first."""
    with database.read() as session:
        return [UsageTotal.of(total) for total in usage.totals(session, _first(days))]


@router.get("/users/{user_id}/usage")
def usage_of_user(user_id: str, _: Admin, database: DatabaseDep, days: Days = 31) -> list[UsageDay]:
    """What somebody used, as they see it themselves."""
    return _of_user(database, user_id, days)


def _of_user(database: Database, user_id: str, days: int) -> list[UsageDay]:
    with database.read() as session:
        found = usage.of_user(session, user_id, _first(days))
    return [
        UsageDay(
            day=row.day,
            key=row.key_id,
            key_name=name,
            model=row.model,
            requests=row.requests,
            prompt_tokens=row.prompt_tokens,
            answer_tokens=row.answer_tokens,
        )
        for row, name in found
    ]


def _first(days: int) -> date:
    return now().date() - timedelta(days=days - 1)
