"""Tasks of ranking: drawn where owners consent, and given to people so that none is done twice by accident."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from accordant.records import Candidate, Messages
from accordant.store import audit
from accordant.store.database import Changed, NotFound
from accordant.store.ids import new_id, now
from accordant.store.schema import Annotation, Conversation, Draft, Generation, Message, Task, Verdict

MOST_SKIPS = 2
"""After so many people would not rank it, a task is offered to nobody else."""
MOST_READ = 200
"""Messages of a conversation that are looked at."""

Wish = Literal["plain", "gold", "repeat"]
"""What somebody shall be given before anything else: a task whose ranking is known, or one that they have done."""


class Drawn(NamedTuple):
    """An answer of a model in somebody's conversation, the last one of its path."""

    conversation: Conversation
    path: list[Message]


class Found(NamedTuple):
    """A task for somebody.

    Attributes:
        own: their work on it, where they have begun.
        expired: id of somebody else's work whose lease is over, and whose place this would take.
        repeats: how often they have ranked it.
        steps: how many steps of their work can be undone.
    """

    task: Task
    own: Annotation | None
    expired: str | None
    repeats: int
    steps: int


def draw(session: Session) -> Drawn | None:
    """A random finished answer of a model that was not drawn before, with all before it: one statement.

    Only conversations whose owners consent are drawn from, and no answer of which moderation withheld anything.
    """
    drawn_before = sa.exists().where(Task.message_id == Message.id)
    blocked = sa.exists().where(Verdict.message_id == Message.id, Verdict.withheld)
    picked = sa.select(Message.id).join(Conversation, Conversation.id == Message.conversation_id)
    picked = picked.join(Generation, Generation.message_id == Message.id).where(
        Conversation.consent, Generation.status == "done", sa.func.trim(Message.content) != "", ~drawn_before, ~blocked
    )
    start = sa.select(Message.id, Message.parent_id, sa.literal(1).label("place"))
    one = picked.order_by(sa.func.random()).limit(1).scalar_subquery()
    walk = start.where(Message.id == one).cte("walk", recursive=True)
    further = sa.select(Message.id, Message.parent_id, walk.c.place + 1).join(walk, Message.id == walk.c.parent_id)
    walk = walk.union_all(further.where(walk.c.place < MOST_READ))
    query = sa.select(Conversation, Message).join(Message, Message.conversation_id == Conversation.id)
    rows = session.execute(query.join(walk, Message.id == walk.c.id).order_by(walk.c.place.desc())).all()
    return Drawn(rows[0][0], [message for _, message in rows]) if rows else None


def add(
    session: Session, messages: Messages, candidates: Sequence[Candidate], places: int, origin: Message | str
) -> Task:
    """Write a task down.

    Args:
        session: a transaction.
        messages: what is answered.
        candidates: the answers.
        places: how many people shall rank them.
        origin: the message whose alternatives they are, or the digest of a prompt.

    Raises:
        Changed: on commit, when the same was drawn elsewhere at the same moment.
    """
    message, prompt = (origin, None) if isinstance(origin, Message) else (None, origin)
    task = Task(
        id=new_id("task"),
        conversation_id=message.conversation_id if message else None,
        message_id=message.id if message else None,
        prompt=prompt,
        messages=[message.model_dump(mode="json") for message in messages],
        candidates=[candidate.model_dump(mode="json") for candidate in candidates],
        places=places,
        skips=0,
        gold=None,
        created_at=now(),
    )
    session.add(task)
    session.flush()
    return task


def prompts(session: Session) -> set[str]:
    """Digests of all prompts that are tasks already."""
    return set(session.scalars(sa.select(Task.prompt).where(Task.prompt.is_not(None))))


def find(session: Session, user_id: str, wish: Wish, repeat_before: datetime) -> Found | None:
    """What somebody should rank next: what they have begun, else what they are wished, else what has a place left.

    Nothing of a conversation is found whose owner does not consent (any more). One statement.
    """
    mine = aliased(Annotation)
    earlier = aliased(Annotation)
    others = aliased(Annotation)
    done = sa.select(sa.func.count()).where(earlier.task_id == Task.id, earlier.user_id == user_id)
    repeats = done.correlate(Task).scalar_subquery()
    long_ago = sa.exists().where(
        earlier.task_id == Task.id,
        earlier.user_id == user_id,
        earlier.state == "submitted",
        earlier.ended_at < repeat_before,
    )
    expired = sa.select(sa.func.min(others.id)).where(
        others.task_id == Task.id, others.user_id != user_id, others.state == "open", others.leased_until < now()
    )
    taken_over = expired.correlate(Task).scalar_subquery()
    wishes: dict[Wish, sa.ColumnElement[bool]] = {
        "plain": sa.false(),
        "gold": Task.gold.is_not(None) & (repeats == 0),
        "repeat": Task.gold.is_(None) & (repeats == 1) & long_ago,
    }
    has_place = Task.gold.is_(None) & (repeats == 0) & ((Task.places > 0) | taken_over.is_not(None))
    stage = sa.case((mine.id.is_not(None), 0), (wishes[wish], 1), (has_place, 2))
    steps = sa.select(sa.func.count()).where(Draft.annotation_id == mine.id).correlate(mine).scalar_subquery()
    own = (mine.task_id == Task.id) & (mine.user_id == user_id) & (mine.state == "open")
    query = sa.select(Task, mine, taken_over, repeats, steps).select_from(Task).outerjoin(mine, own)
    query = query.outerjoin(Conversation, Conversation.id == Task.conversation_id)
    query = query.where(stage.is_not(None), Task.conversation_id.is_(None) | Conversation.consent)
    row = session.execute(query.order_by(stage, sa.func.random()).limit(1)).first()
    return Found(*row) if row else None


def claim(session: Session, user_id: str, found: Found, shown_order: Sequence[int], lease: timedelta) -> Annotation:
    """Give a found task to somebody: two statements.

    Raises:
        Changed: when somebody else was faster.
    """
    task = found.task
    if task.gold is None and not found.repeats:
        if task.places > 0:
            taken: Any = sa.update(Task).where(Task.id == task.id, Task.places > 0).values(places=Task.places - 1)
            taken = taken.returning(Task.id)
        else:
            over = (Annotation.id == found.expired) & (Annotation.state == "open") & (Annotation.leased_until < now())
            taken = sa.update(Annotation).where(over).values(state="expired").returning(Annotation.id)
        if session.execute(taken.execution_options(synchronize_session=False)).first() is None:
            raise Changed("somebody else took this task at the same moment; ask for another one")
    return begin(session, user_id, task, shown_order, lease, found.repeats)


def begin(
    session: Session, user_id: str, task: Task, shown_order: Sequence[int], lease: timedelta, repeat: int = 0
) -> Annotation:
    """Somebody's empty work on a task that has a place for them."""
    moment = now()
    annotation = Annotation(
        id=new_id("rank"),
        kind="comparison",
        user_id=user_id,
        task_id=task.id,
        repeat=repeat,
        shown_order=list(shown_order),
        state="open",
        skip_reason="",
        value={},
        revision=0,
        seconds=0.0,
        leased_until=moment + lease,
        begun_at=moment,
        saved_at=moment,
    )
    session.add(annotation)
    session.flush()
    return annotation


def give_back(session: Session, task_id: str) -> None:
    """Somebody would not rank it: their place is free again, unless too many would not."""
    left = sa.case((Task.skips + 1 < MOST_SKIPS, Task.places + 1), else_=0)
    session.execute(sa.update(Task).where(Task.id == task_id).values(skips=Task.skips + 1, places=left))


def set_gold(session: Session, reviewer_id: str, task_id: str, gold: list[list[int]] | None) -> Task:
    """Say which ranking is right, by candidate, so that annotators are measured by it; None: no longer.

    Raises:
        NotFound: when there is no such task.
    """
    task = session.get(Task, task_id)
    if task is None:
        raise NotFound("there is no such task")
    task.gold = gold
    audit.record(session, reviewer_id, "task.gold", task_id, known=gold is not None)
    return task
