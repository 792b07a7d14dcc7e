"""Conversations as they leave the server."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from accordant.records import Record
from accordant.serve.dialogue import Begun
from accordant.serve.events import VerdictView
from accordant.serve.moderation import told
from accordant.store.conversations import Opened
from accordant.store.schema import Conversation, Generation, Message, MessageRole, Status, Verdict


class ConversationView(Record):
    """A conversation without its messages; `consent` says whether it may be used for training."""

    id: str
    title: str
    system: str
    consent: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Conversation) -> Self:
        """From the store."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class ConversationList(Record):
    """A page of conversations; `next` begins the next one."""

    conversations: list[ConversationView]
    next: str | None


class AnswerView(Record):
    """How an answer was made, or is being made; `turns_left_out` of the oldest ones did not fit and were not read."""

    id: str
    model: str
    status: Status
    finish: str | None
    error: str | None
    turns_left_out: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    prompt_tokens: int | None
    answer_tokens: int | None

    @classmethod
    def of(cls, row: Generation) -> Self:
        """From the store."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class MessageView(Record):
    """A message of the path; `siblings` are the ids of all messages with its parent, itself among them, oldest first.

    The text of an answer that is still written comes by its events; here it is empty until the end.
    """

    id: str
    parent: str | None
    role: MessageRole
    content: str
    created_at: datetime
    siblings: list[str]
    generation: AnswerView | None
    verdicts: list[VerdictView]


class ConversationPage(Record):
    """Messages of the path, oldest first; `earlier` ends the page before, None at the beginning."""

    conversation: ConversationView
    messages: list[MessageView]
    earlier: str | None

    @classmethod
    def of(
        cls, opened: Opened, siblings: Mapping[str | None, list[str]], judged: Mapping[str, Sequence[Verdict]]
    ) -> Self:
        """From the store."""
        messages = [
            MessageView(
                id=message.id,
                parent=message.parent_id,
                role=message.role,
                content=message.content,
                created_at=message.created_at,
                siblings=siblings[message.parent_id],
                generation=AnswerView.of(made) if made else None,
                verdicts=[_verdict(message, said) for said in judged.get(message.id, ()) if said.action != "allow"],
            )
            for message, made in opened.path
        ]
        earlier = messages[0].parent if messages else None
        return cls(conversation=ConversationView.of(opened.conversation), messages=messages, earlier=earlier)


class BegunView(Record):
    """Ids of what was written: the question (none for another answer), the answer, and the generation that makes it.

    Without answer and generation, moderation withheld the question from the model: `verdict` says why.
    """

    question: str | None
    answer: str | None
    generation: str | None
    turns_left_out: int
    verdict: VerdictView | None

    @classmethod
    def of(cls, begun: Begun) -> Self:
        """From what was begun."""
        question, answer, generation = begun.written
        return cls(
            question=question.id if question else None,
            answer=answer.id if answer else None,
            generation=generation.id if generation else None,
            turns_left_out=begun.turns_left_out,
            verdict=told(begun.judgement),
        )


def _verdict(message: Message, said: Verdict) -> VerdictView:
    fields = {name: getattr(said, name) for name in VerdictView.model_fields if name != "side"}
    return VerdictView(side="user" if message.role == "user" else "model", **fields)
