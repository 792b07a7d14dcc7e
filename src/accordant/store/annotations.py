"""Work of trainers: saved at each step, undone, submitted, skipped, reviewed."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from accordant.store import audit, tasks
from accordant.store.database import Changed, NotFound
from accordant.store.ids import new_id, now
from accordant.store.newest import newest_first
from accordant.store.schema import (
    Annotation,
    Conversation,
    Draft,
    Review,
    Suggestion,
    Task,
    WorkKind,
    WorkState,
)

LONGEST_PAUSE = 60.0
"""Seconds between two steps that still count as work."""


class Work(NamedTuple):
    """Somebody's work, its task (none for a demonstration), and how many steps can be undone."""

    annotation: Annotation
    task: Task | None
    steps: int


class Total(NamedTuple):
    """What somebody has done."""

    kind: WorkKind
    state: WorkState
    works: int
    seconds: float


def begin_demonstration(session: Session, user_id: str, value: dict[str, Any]) -> Annotation:
    """A new dialogue of this trainer."""
    moment = now()
    annotation = Annotation(
        id=new_id("demo"),
        kind="demonstration",
        user_id=user_id,
        repeat=0,
        shown_order=[],
        state="open",
        skip_reason="",
        value=value,
        revision=0,
        seconds=0.0,
        leased_until=moment,
        begun_at=moment,
        saved_at=moment,
    )
    session.add(annotation)
    session.flush()
    return annotation


def held(session: Session, user_id: str, annotation_id: str, kind: WorkKind) -> Work:
    """This person's work: one statement.

    Raises:
        NotFound: when there is none, or it is somebody else's.
    """
    mine = (Annotation.id == annotation_id) & (Annotation.user_id == user_id) & (Annotation.kind == kind)
    row = session.execute(_works().where(mine)).first()
    if row is None:
        raise NotFound("there is no such work")
    return Work(*row)


def save(session: Session, work: Work, revision: int, value: dict[str, Any], lease: timedelta) -> Work:
    """Keep a step, and the one before it to go back to; the lease begins anew. Saving the same only renews it.

    Args:
        session: a transaction.
        work: of `held`.
        revision: what the writer has seen.
        value: the new state.
        lease: for how long nobody else gets the task.

    Raises:
        Changed: when it was saved elsewhere in between, is over, or somebody else has the task by now.
    """
    annotation, task, steps = _open(work, revision)
    if value != annotation.value:
        session.add(Draft(annotation_id=annotation.id, number=annotation.revision, value=annotation.value))
        steps += 1
    _touch(session, annotation, lease, value=value)
    return Work(annotation, task, steps)


def undo(session: Session, work: Work, revision: int, lease: timedelta) -> Work:
    """Go one step back: three statements.

    Raises:
        Changed: as for `save`, or when there is nothing to undo.
    """
    annotation, task, steps = _open(work, revision)
    of_this = Draft.annotation_id == annotation.id
    last = sa.select(sa.func.max(Draft.number)).where(of_this).scalar_subquery()
    taken = sa.delete(Draft).where(of_this, Draft.number == last).returning(Draft.value)
    value = session.scalar(taken.execution_options(synchronize_session=False))
    if value is None:
        raise Changed("there is nothing to undo")
    _touch(session, annotation, lease, value=value)
    return Work(annotation, task, steps - 1)


def submit(session: Session, work: Work, revision: int, value: dict[str, Any]) -> Work:
    """Hand it in; it cannot be changed any more.

    Raises:
        Changed: as for `save`.
    """
    annotation, task, steps = _open(work, revision)
    _touch(session, annotation, timedelta(), value=value, state="submitted", ended_at=now())
    audit.record(session, annotation.user_id, "annotation.submit", annotation.id)
    return Work(annotation, task, steps)


def skip(session: Session, work: Work, revision: int, reason: str) -> Work:
    """Leave it to others, or throw a dialogue away.

    Raises:
        Changed: as for `save`.
    """
    annotation, task, steps = _open(work, revision)
    _touch(session, annotation, timedelta(), state="skipped", skip_reason=reason, ended_at=now())
    if task and task.gold is None and not annotation.repeat:
        tasks.give_back(session, task.id)
    return Work(annotation, task, steps)


def own_demonstrations(session: Session, user_id: str, most: int = 100) -> list[Work]:
    """Dialogues of this trainer that are open or handed in, the last saved first: one statement."""
    mine = (Annotation.user_id == user_id) & (Annotation.kind == "demonstration")
    query = _works().where(mine, Annotation.state.in_(("open", "submitted")))
    return [Work(*row) for row in session.execute(query.order_by(Annotation.saved_at.desc()).limit(most))]


def totals(session: Session, user_id: str) -> list[Total]:
    """What somebody has done, by kind and state: one statement."""
    query = sa.select(Annotation.kind, Annotation.state, sa.func.count(), sa.func.sum(Annotation.seconds))
    query = query.where(Annotation.user_id == user_id).group_by(Annotation.kind, Annotation.state)
    return [Total(*row) for row in session.execute(query.order_by(Annotation.kind, Annotation.state))]


def listed(
    session: Session,
    kind: WorkKind | None = None,
    state: WorkState | None = None,
    review: Review | None = None,
    user_id: str | None = None,
    task_id: str | None = None,
    most: int = 50,
    before: str | None = None,
) -> list[Work]:
    """Work of everyone for reviewers, the last begun first: one statement.

    Work on conversations whose owners do not consent (any more) is left out.
    """
    wanted: Mapping[Any, str | None] = {
        Annotation.kind: kind,
        Annotation.state: state,
        Annotation.review: review,
        Annotation.user_id: user_id,
        Annotation.task_id: task_id,
    }
    query = _works().outerjoin(Conversation, Conversation.id == Task.conversation_id)
    query = query.where(Task.conversation_id.is_(None) | Conversation.consent)
    query = query.where(*(column == one for column, one in wanted.items() if one is not None))
    query = newest_first(query, Annotation.begun_at, Annotation.id, most, before)
    return [Work(*row) for row in session.execute(query)]


def one(session: Session, annotation_id: str) -> Work:
    """Anybody's work.

    Raises:
        NotFound: when there is none.
    """
    row = session.execute(_works().where(Annotation.id == annotation_id)).first()
    if row is None:
        raise NotFound("there is no such work")
    return Work(*row)


def all_rankings(session: Session) -> list[Work]:
    """All work on comparisons, oldest first: what annotators are measured by."""
    query = _works().where(Annotation.kind == "comparison")
    return [Work(*row) for row in session.execute(query.order_by(Annotation.begun_at, Annotation.id))]


def add_suggestions(
    session: Session, annotation_id: str, model: str, drawn: Sequence[tuple[str, dict[str, Any]]]
) -> list[str]:
    """Keep what a model suggested, each text with its sampling: one statement.

    Returns:
        ids, in the same order.

    Raises:
        Changed: when the demonstration is gone.
    """
    rows = [
        {
            "id": new_id("sug"),
            "annotation_id": annotation_id,
            "model": model,
            "sampling": sampling,
            "content": content,
            "created_at": now(),
        }
        for content, sampling in drawn
    ]
    session.execute(sa.insert(Suggestion), rows)
    return [str(row["id"]) for row in rows]


def suggestions(session: Session, annotation_id: str) -> dict[str, Suggestion]:
    """What the model suggested for a demonstration, by id."""
    found = session.scalars(sa.select(Suggestion).where(Suggestion.annotation_id == annotation_id))
    return {suggestion.id: suggestion for suggestion in found}


def ids_of(session: Session, user_id: str) -> Sequence[str]:
    """All work of a person, oldest first."""
    query = sa.select(Annotation.id).where(Annotation.user_id == user_id)
    return session.scalars(query.order_by(Annotation.begun_at, Annotation.id)).all()


def _works() -> sa.Select[Any]:
    steps = sa.select(sa.func.count()).where(Draft.annotation_id == Annotation.id).correlate(Annotation)
    query = sa.select(Annotation, Task, steps.scalar_subquery()).select_from(Annotation)
    return query.outerjoin(Task, Task.id == Annotation.task_id)


def _open(work: Work, revision: int) -> Work:
    state = work.annotation.state
    if state == "expired":
        raise Changed("this was left alone for too long, and somebody else has it now; ask for another one")
    if state != "open":
        raise Changed(f"this is {state} already")
    if work.annotation.revision != revision:
        raise Changed("this was changed in another window in between; load it again")
    return work


def _touch(session: Session, annotation: Annotation, lease: timedelta, **values: Any) -> None:
    """Write, unless somebody else wrote since it was read."""
    moment = now()
    pause = (moment - annotation.saved_at).total_seconds()
    values |= {
        "revision": annotation.revision + 1,
        "seconds": annotation.seconds + min(pause, LONGEST_PAUSE),
        "saved_at": moment,
        "leased_until": moment + lease,
    }
    same = (
        (Annotation.id == annotation.id) & (Annotation.revision == annotation.revision) & (Annotation.state == "open")
    )
    written = sa.update(Annotation).where(same).values(**values).returning(Annotation.id)
    if session.execute(written.execution_options(synchronize_session=False)).first() is None:
        raise Changed("this was changed in another window in between; load it again")
    for name, value in values.items():
        set_committed_value(annotation, name, value)
