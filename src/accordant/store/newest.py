"""Pages of reviewers' lists, newest first."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute


def newest_first(
    query: sa.Select[*tuple[Any, ...]],
    moment: InstrumentedAttribute[Any],
    identity: InstrumentedAttribute[Any],
    most: int,
    before: str | None,
) -> sa.Select[*tuple[Any, ...]]:
    """`query`, the newest first, at most `most` rows; with `before` only what is older than the row of this id.

    Args:
        query: selects from the table of both columns, and maybe others.
        moment: when a row was made.
        identity: its id, which decides between rows of one moment.
        most: how many.
        before: the last id of the page before; of an id that is not there nothing is older.
    """
    if before is not None:
        mark = sa.select(moment.label("moment"), identity.label("identity")).where(identity == before).subquery()
        older = sa.tuple_(moment, identity) < sa.tuple_(mark.c.moment, mark.c.identity)
        query = query.join(mark, sa.true()).where(older)
    return query.order_by(moment.desc(), identity.desc()).limit(most)
