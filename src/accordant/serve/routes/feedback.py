"""What users say of messages: thumbs, ideal answers, faults of the filter, the better of two; and its review."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import Field

from accordant.records import SAID, Choice, FilterReport, Note, Rating, Record, Said
from accordant.serve.deps import DatabaseDep, Reviewer, Signed
from accordant.store import feedback
from accordant.store.database import Database
from accordant.store.feedback import Given
from accordant.store.schema import Feedback, FeedbackKind, MessageRole, Review, Reviewed

router = APIRouter(prefix="/api", tags=["feedback"])


class FeedbackView(Record):
    """What a user said of a message (of two, for a choice: the older one and the other)."""

    id: str
    message: str = Field(description="Id of the message.")
    other: str | None = Field(description="Id of the other message of a choice.")
    said: Said
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Feedback) -> Self:
        """From the store."""
        return cls(**_said(row))


class FeedbackList(Record):
    """All that a user said in a conversation, oldest first."""

    feedback: list[FeedbackView]


class ReviewView(Record):
    """Where a judgement stands with the reviewers; what is rejected is not trained on."""

    review: Review
    reason: str
    reviewer: str | None = Field(description="Id of who said so; None while it is open.")
    at: datetime | None


class ReviewedFeedback(FeedbackView):
    """Feedback as reviewers see it."""

    user: str = Field(description="Id of who said it.")
    conversation: str
    consent: bool = Field(description="Whether the conversation may be used for training today.")
    role: MessageRole = Field(description="Who wrote the message.")
    content: str | None = Field(description="The message; None where its owner does not consent to its use.")
    review: ReviewView

    @classmethod
    def seen(cls, given: Given) -> Self:
        """From the store."""
        row, message, consent = given
        return cls(
            **_said(row),
            user=row.user_id,
            conversation=row.conversation_id,
            consent=consent,
            role=message.role,
            content=message.content if consent else None,
            review=review_of(row),
        )


class ReviewedFeedbackList(Record):
    """Newest first; `next` is `before` of the next page, None on the last."""

    feedback: list[ReviewedFeedback]
    next: str | None


class ReviewDecision(Record):
    """A reviewer's word; `open` takes it back."""

    review: Review
    reason: Note = ""


def review_of(row: Reviewed) -> ReviewView:
    """Of anything that is reviewed."""
    return ReviewView(review=row.review, reason=row.review_reason, reviewer=row.reviewer_id, at=row.reviewed_at)


@router.get("/conversations/{conversation_id}/feedback")
def own_feedback(conversation_id: str, who: Signed, database: DatabaseDep) -> FeedbackList:
    """What the user said so far in a conversation; empty for one that is not theirs."""
    with database.read() as session:
        found = feedback.of_conversation(session, who.user_id, conversation_id)
    return FeedbackList(feedback=[FeedbackView.of(row) for row in found])


@router.put("/conversations/{conversation_id}/messages/{message_id}/rating")
def rate(conversation_id: str, message_id: str, asked: Rating, who: Signed, database: DatabaseDep) -> FeedbackView:
    """A thumb on an answer, with reasons, and what the ideal answer would have been; it replaces the one before."""
    return _give(database, who.user_id, conversation_id, message_id, asked)


@router.put("/conversations/{conversation_id}/messages/{message_id}/report")
def report_filter(
    conversation_id: str, message_id: str, asked: FilterReport, who: Signed, database: DatabaseDep
) -> FeedbackView:
    """The filter was wrong about this message, or missed it; it replaces the report before."""
    return _give(database, who.user_id, conversation_id, message_id, asked)


@router.put("/conversations/{conversation_id}/choice")
def choose_answer(conversation_id: str, asked: Choice, who: Signed, database: DatabaseDep) -> FeedbackView:
    """Which of two answers to the same question is better; it replaces the choice between the same two before."""
    return _give(database, who.user_id, conversation_id, asked.left, asked)


@router.delete("/feedback/{feedback_id}", status_code=204)
def withdraw_feedback(feedback_id: str, who: Signed, database: DatabaseDep) -> None:
    """Take own feedback back."""
    with database.write() as session:
        feedback.withdraw(session, who.user_id, feedback_id)
    database.forget_deleted()


@router.get("/feedback")
def list_feedback(
    _: Reviewer,
    database: DatabaseDep,
    kind: FeedbackKind | None = None,
    review: Review | None = None,
    user: Annotated[str | None, Query(max_length=100)] = None,
    thumb: Literal["up", "down"] | None = None,
    fault: Literal["false_positive", "false_negative"] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(max_length=100)] = None,
) -> ReviewedFeedbackList:
    """Feedback of all users, for reviewers."""
    value = {name: wanted for name, wanted in (("thumb", thumb), ("fault", fault)) if wanted}
    with database.read() as session:
        found = feedback.listed(session, kind, review, user, value, limit + 1, before)
    page = [ReviewedFeedback.seen(given) for given in found[:limit]]
    return ReviewedFeedbackList(feedback=page, next=page[-1].id if len(found) > limit else None)


@router.put("/feedback/{feedback_id}/review")
def review_feedback(feedback_id: str, asked: ReviewDecision, who: Reviewer, database: DatabaseDep) -> ReviewedFeedback:
    """Accept or reject feedback; what is rejected is not trained on."""
    with database.write() as session:
        given = feedback.one(session, feedback_id)
        feedback.reviewed(session, who.user_id, given.feedback, asked.review, asked.reason)
        return ReviewedFeedback.seen(given)


def _give(database: Database, user_id: str, conversation_id: str, message_id: str, said: Said) -> FeedbackView:
    with database.write() as session:
        return FeedbackView.of(feedback.give(session, user_id, conversation_id, message_id, said))


def _said(row: Feedback) -> dict[str, object]:
    said = SAID.validate_python(row.value)
    return {
        "id": row.id,
        "message": row.message_id,
        "other": row.other_id,
        "said": said,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
