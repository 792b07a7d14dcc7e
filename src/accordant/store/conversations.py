"""Conversations as trees: a path from the first message to a leaf is what is shown and what a model reads."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant import records
from accordant.errors import AccordantError
from accordant.store.database import Changed, NotFound
from accordant.store.ids import new_id, now
from accordant.store.schema import Conversation, Generation, Message

TITLE_LENGTH = 60


class Turn(NamedTuple):
    """A message, and how it was made where a model wrote it."""

    message: Message
    generation: Generation | None


class Opened(NamedTuple):
    """A conversation and the end of one of its paths, oldest message first."""

    conversation: Conversation
    path: list[Turn]


class Page(NamedTuple):
    """Some conversations, and where the next page begins (None: this is the last one)."""

    conversations: Sequence[Conversation]
    next: str | None


class Plan(NamedTuple):
    """How an answer is going to be made."""

    model: str
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    turns_left_out: int


class Written(NamedTuple):
    """What `write` added."""

    question: Message | None
    answer: Message | None
    generation: Generation | None


def create(session: Session, user_id: str, title: str = "", system: str = "", consent: bool = False) -> Conversation:
    """An empty conversation; nothing of it is used for training unless its owner says so."""
    moment = now()
    conversation = Conversation(
        id=new_id("conv"),
        user_id=user_id,
        title=title,
        system=system,
        consent=consent,
        leaf_id=None,
        message_count=0,
        created_at=moment,
        updated_at=moment,
    )
    session.add(conversation)
    session.flush()
    return conversation


def listed(session: Session, user_id: str, most: int = 30, before: str | None = None, search: str = "") -> Page:
    """Conversations of a user, the last changed first: one statement.

    Args:
        session: an open session.
        user_id: whose.
        most: how many.
        before: `next` of the page before.
        search: what title or a message (of any branch) must have in it, in whatever case.

    Raises:
        AccordantError: when `before` is no such mark.
    """
    order = sa.tuple_(Conversation.updated_at, Conversation.id)
    query = sa.select(Conversation).where(Conversation.user_id == user_id)
    if before is not None:
        query = query.where(order < sa.tuple_(*_place(before)))
    if search:
        said = sa.exists().where(
            Message.conversation_id == Conversation.id, Message.content.icontains(search, autoescape=True)
        )
        query = query.where(Conversation.title.icontains(search, autoescape=True) | said)
    query = query.order_by(Conversation.updated_at.desc(), Conversation.id.desc()).limit(most + 1)
    found = session.scalars(query).all()
    last = found[most - 1] if len(found) > most else None
    return Page(found[:most], f"{last.updated_at.isoformat()}~{last.id}" if last else None)


def _place(mark: str) -> tuple[sa.BindParameter[datetime], str]:
    moment, _, name = mark.partition("~")
    try:
        return sa.bindparam(None, datetime.fromisoformat(moment), Conversation.updated_at.type), name
    except ValueError:
        raise AccordantError(
            f"{mark[:60]!r} is not where a page begins; take it from `next` of the page before"
        ) from None


def opened(session: Session, user_id: str, conversation_id: str, most: int, end: str | None = None) -> Opened:
    """A conversation of this user with the last `most` messages of a path: one statement.

    Args:
        session: an open session.
        user_id: who asks.
        conversation_id: which.
        most: messages, at most.
        end: the path's last message; None is the leaf that was last shown.

    Raises:
        NotFound: when there is none, it is somebody else's, or `end` is not one of its messages.
    """
    mine = (Conversation.id == conversation_id) & (Conversation.user_id == user_id)
    last = sa.select(Conversation.leaf_id).where(mine).scalar_subquery() if end is None else end
    start = sa.select(Message.id, Message.parent_id, sa.literal(1).label("place"))
    walk = start.where(Message.id == last, Message.conversation_id == conversation_id).cte("walk", recursive=True)
    further = sa.select(Message.id, Message.parent_id, walk.c.place + 1).join(walk, Message.id == walk.c.parent_id)
    walk = walk.union_all(further.where(walk.c.place < most))
    rows = session.execute(
        sa.select(Conversation, Message, Generation)
        .select_from(Conversation)
        .outerjoin(walk, sa.true())
        .outerjoin(Message, Message.id == walk.c.id)
        .outerjoin(Generation, Generation.message_id == Message.id)
        .where(mine)
        .order_by(walk.c.place.desc())
    ).all()
    if not rows:
        raise NotFound("there is no such conversation")
    path = [Turn(message, generation) for _, message, generation in rows if message]
    if end is not None and not path:
        raise NotFound("there is no such message in this conversation")
    return Opened(rows[0][0], path)


def siblings(session: Session, conversation_id: str, path: Sequence[Turn]) -> dict[str | None, list[str]]:
    """For each parent of the messages of a path, all its children in the order of writing: one statement."""
    parents = {turn.message.parent_id for turn in path}
    among: sa.ColumnElement[bool] = Message.parent_id.in_(parents - {None})
    if None in parents:
        among |= Message.parent_id.is_(None)
    query = sa.select(Message.parent_id, Message.id).where(Message.conversation_id == conversation_id, among)
    found: dict[str | None, list[str]] = {}
    for parent, child in session.execute(query.order_by(Message.number)):
        found.setdefault(parent, []).append(child)
    return found


def write(
    session: Session, conversation: Conversation, parent: Message | None, question: str | None, plan: Plan | None
) -> Written:
    """Add a user's message, the answer to come, or both, below `parent`; the path leads there from now on.

    Three statements. `conversation` is as it was read before; what others wrote since makes this fail, so that
    nothing is answered that was not read.

    Raises:
        Changed: when somebody wrote in between, or the conversation is gone.
    """
    moment = now()
    rows: list[dict[str, Any]] = []
    above: dict[str, Any] | None = {"id": parent.id, "depth": parent.depth} if parent else None

    def add(role: str, content: str) -> Message:
        nonlocal above
        rows.append(
            {
                "id": new_id("msg"),
                "conversation_id": conversation.id,
                "parent_id": above["id"] if above else None,
                "number": conversation.message_count + len(rows),
                "depth": above["depth"] + 1 if above else 0,
                "role": role,
                "content": content,
                "created_at": moment,
            }
        )
        above = rows[-1]
        return Message(**above)

    asked = add("user", question) if question is not None else None
    answer = add("assistant", "") if plan else None
    changed = session.execute(
        sa.update(Conversation)
        .where(Conversation.id == conversation.id, Conversation.message_count == conversation.message_count)
        .values(
            message_count=conversation.message_count + len(rows),
            leaf_id=rows[-1]["id"],
            updated_at=moment,
            title=conversation.title or title_of(question or ""),
        )
        .returning(Conversation.id)
    ).first()
    if changed is None:
        raise Changed("this conversation was changed elsewhere in between; load it again")
    session.execute(sa.insert(Message), rows)
    if plan is None or answer is None:
        return Written(asked, None, None)
    generation = {
        "id": new_id("gen"),
        "conversation_id": conversation.id,
        "message_id": answer.id,
        **plan._asdict(),
        "status": "running",
        "stop_asked": False,
        "started_at": moment,
        "heartbeat_at": moment,
    }
    session.execute(sa.insert(Generation), [generation])
    return Written(asked, answer, Generation(**generation))


def spoken(system: str, path: Sequence[Message], question: str | None) -> list[records.Message]:
    """What a model reads: the system message, each question with its answer, and the last question.

    Questions without an answer (it was stopped before the first word, failed, or was never begun) are left out.
    """
    said = [records.Message(role="system", content=system)] if system.strip() else []
    asked = None
    for message in path:
        if message.role == "user":
            asked = message.content
        elif asked is not None and message.content.strip():
            said += [
                records.Message(role="user", content=asked),
                records.Message(role="assistant", content=message.content),
            ]
            asked = None
    last = question if question is not None else asked
    assert last is not None, "the path must end with a question"
    return [*said, records.Message(role="user", content=last)]


def title_of(question: str) -> str:
    """A first title: the beginning of the first line."""
    line = question.strip().split("\n", 1)[0]
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def change(session: Session, user_id: str, conversation_id: str, **values: Any) -> Conversation:
    """Set title or consent.

    Raises:
        NotFound: when it is not this user's.
    """
    conversation = _own(session, user_id, conversation_id)
    for name, value in values.items():
        setattr(conversation, name, value)
    return conversation


def choose(session: Session, user_id: str, conversation_id: str, message_id: str) -> Conversation:
    """Show the path through this message, down to the newest one below it.

    Raises:
        NotFound: when conversation or message is not this user's.
    """
    conversation = _own(session, user_id, conversation_id)
    start = sa.select(Message.id, Message.number).where(
        Message.id == message_id, Message.conversation_id == conversation_id
    )
    below = start.cte("below", recursive=True)
    below = below.union_all(sa.select(Message.id, Message.number).join(below, Message.parent_id == below.c.id))
    # A child is younger than its parent, so the newest of all has no children.
    leaf = session.scalar(sa.select(below.c.id).order_by(below.c.number.desc()).limit(1))
    if leaf is None:
        raise NotFound("there is no such message in this conversation")
    conversation.leaf_id = leaf
    return conversation


def delete(session: Session, user_id: str, conversation_id: str) -> None:
    """Delete it with its messages, answers, events and verdicts; see `Database.forget_deleted` for the traces.

    Raises:
        NotFound: when it is not this user's.
    """
    mine = (Conversation.id == conversation_id) & (Conversation.user_id == user_id)
    if session.execute(sa.delete(Conversation).where(mine).returning(Conversation.id)).first() is None:
        raise NotFound("there is no such conversation")


def ids_of(session: Session, user_id: str) -> Sequence[str]:
    """All conversations of a user, oldest first."""
    query = sa.select(Conversation.id).where(Conversation.user_id == user_id)
    return session.scalars(query.order_by(Conversation.created_at, Conversation.id)).all()


def _own(session: Session, user_id: str, conversation_id: str) -> Conversation:
    mine = (Conversation.id == conversation_id) & (Conversation.user_id == user_id)
    conversation = session.scalar(sa.select(Conversation).where(mine))
    if conversation is None:
        raise NotFound("there is no such conversation")
    return conversation
