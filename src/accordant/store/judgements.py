"""Everything that people judged, for building data: whole tables, read in one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant import records
from accordant.store.annotations import Work
from accordant.store.conversations import spoken
from accordant.store.schema import (
    Annotation,
    AuditEntry,
    Conversation,
    Feedback,
    Generation,
    Message,
    Suggestion,
    Task,
    Verdict,
)

_GIVEN = ("feedback.give", "annotation.submit")
"""Entries of the audit log that say that there was a judgement."""


@dataclass
class Talk:
    """A conversation with all its messages, how they were made, and what moderation said of them."""

    conversation: Conversation
    messages: dict[str, Message] = field(default_factory=dict)
    generations: dict[str, Generation] = field(default_factory=dict)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)

    def asked(self, answer_id: str) -> records.Messages:
        """What an answer is to: the conversation up to its question."""
        path: list[Message] = []
        above = self.messages[answer_id].parent_id
        while above is not None:
            path.append(self.messages[above])
            above = path[-1].parent_id
        return tuple(spoken(self.conversation.system, path[::-1], None))

    def candidate(self, answer_id: str) -> records.Candidate:
        """An answer with its model and how it was drawn."""
        made = self.generations[answer_id]
        sampling = records.Sampling(temperature=made.temperature, top_p=made.top_p, seed=made.seed)
        content = self.messages[answer_id].content
        return records.Candidate(content=content, model=made.model, sampling=sampling, ended=made.finish == "stop")


class Ranked(NamedTuple):
    """Work of a trainer, and whether its conversation may be used (a prompt and a demonstration may)."""

    work: Work
    consent: bool
    suggestions: dict[str, Suggestion]


def all_feedback(session: Session) -> list[tuple[Feedback, Talk]]:
    """All feedback, oldest first, with the conversations that it is on: four statements."""
    query = sa.select(Feedback, Conversation).join(Conversation, Conversation.id == Feedback.conversation_id)
    rows = session.execute(query.order_by(Feedback.created_at, Feedback.id)).all()
    talks = {conversation.id: Talk(conversation) for _, conversation in rows}
    concerned = sa.select(Feedback.conversation_id)
    for message in session.scalars(sa.select(Message).where(Message.conversation_id.in_(concerned))):
        talks[message.conversation_id].messages[message.id] = message
    for made in session.scalars(sa.select(Generation).where(Generation.conversation_id.in_(concerned))):
        talks[made.conversation_id].generations[made.message_id] = made
    judged = sa.select(Verdict).where(Verdict.conversation_id.in_(concerned)).order_by(Verdict.created_at, Verdict.id)
    for verdict in session.scalars(judged):
        talks[verdict.conversation_id].verdicts.setdefault(verdict.message_id, []).append(verdict)
    return [(feedback, talks[conversation.id]) for feedback, conversation in rows]


def all_work(session: Session) -> list[Ranked]:
    """All that trainers did, oldest first: two statements."""
    suggestions: dict[str, dict[str, Suggestion]] = {}
    for one in session.scalars(sa.select(Suggestion)):
        suggestions.setdefault(one.annotation_id, {})[one.id] = one
    allowed = sa.func.coalesce(Conversation.consent, sa.true())
    query = sa.select(Annotation, Task, allowed).outerjoin(Task, Task.id == Annotation.task_id)
    query = query.outerjoin(Conversation, Conversation.id == Task.conversation_id)
    rows = session.execute(query.order_by(Annotation.begun_at, Annotation.id))
    return [Ranked(Work(row, task, 0), bool(consent), suggestions.get(row.id, {})) for row, task, consent in rows]


def withdrawn(session: Session) -> int:
    """Judgements that were there once and are not any more: taken back, or deleted with their conversation."""
    gone: Sequence[sa.ColumnElement[bool]] = [
        AuditEntry.subject.not_in(sa.select(table.id)) for table in (Feedback, Annotation)
    ]
    query = sa.select(sa.func.count(AuditEntry.subject.distinct())).where(AuditEntry.action.in_(_GIVEN), *gone)
    return session.scalar(query) or 0
