"""Every table. A change here needs a migration (`accordant/store/migrations/versions`); a test compares the two."""

from datetime import date, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from accordant.store.times import UtcTime

UserRole = Literal["user", "trainer", "reviewer", "red-teamer", "admin"]
MessageRole = Literal["user", "assistant"]
Status = Literal["running", "done", "stopped", "failed", "lost"]
Action = Literal["allow", "warn", "block"]
Side = Literal["user", "model"]
FeedbackKind = Literal["rating", "report", "choice"]
Review = Literal["open", "accepted", "rejected"]
WorkKind = Literal["comparison", "demonstration"]
WorkState = Literal["open", "submitted", "skipped", "expired"]


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        str: sa.Text(),
        float: sa.Double(),
        datetime: UtcTime(),
        dict[str, Any]: sa.JSON(),
        dict[str, float]: sa.JSON(),
        list[str]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(),
    }


class User(Base):
    """Somebody with an account; `password_hash` is None for who cannot log in with one."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    roles: Mapped[list[str]]
    created_at: Mapped[datetime]


class LoginSession(Base):
    """A browser that is logged in; its cookie holds the token, the table only the token's digest."""

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class LoginThrottle(Base):
    """Failed logins by name and by address, and until when the next one is refused."""

    __tablename__ = "login_throttles"

    key: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime]
    blocked_until: Mapped[datetime]


class Invitation(Base):
    """A code that lets one person sign up with the given roles."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(primary_key=True)
    code_hash: Mapped[str] = mapped_column(unique=True)
    roles: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_by: Mapped[str | None] = mapped_column(sa.ForeignKey("users.id", ondelete="SET NULL"))
    used_at: Mapped[datetime | None]


class ApiKey(Base):
    """A program's way in: found by its prefix, proved by the digest of its secret; `limits` are its own."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[str]
    limits: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Usage(Base):
    """What a user (key "") or one of their keys used of a model on a day; "" is a model that nobody noted."""

    __tablename__ = "usage"

    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]
    prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger())
    answer_tokens: Mapped[int] = mapped_column(sa.BigInteger())


class Setting(Base):
    """One section of the settings, as JSON."""

    __tablename__ = "settings"

    section: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime]


class AuditEntry(Base):
    """Who did what to whom; never what was said. Only ids, so that it may outlive an account."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[dict[str, Any]]


class Conversation(Base):
    """A tree of messages; `leaf_id` is the last message of the path that is shown.

    Attributes:
        system: the system message, empty for none.
        consent: whether it may be used for training.
        message_count: messages ever written, over all branches: the next one's `number`, and the mark by which a
            writer sees that somebody else wrote in between.
    """

    __tablename__ = "conversations"
    __table_args__ = (sa.Index("ix_conversations_user_id_updated_at_id", "user_id", "updated_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    system: Mapped[str]
    consent: Mapped[bool]
    leaf_id: Mapped[str | None]  # without a foreign key: the two tables would each need the other first
    message_count: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Message(Base):
    """One turn; messages with the same parent are siblings (an edit, or another answer).

    Attributes:
        number: place in the order of writing, over all branches.
        depth: messages above it.
    """

    __tablename__ = "messages"

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(sa.ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    parent_id: Mapped[str | None] = mapped_column(
        sa.ForeignKey("messages.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"), index=True
    )
    number: Mapped[int]
    depth: Mapped[int]
    role: Mapped[MessageRole] = mapped_column(sa.Text())
    content: Mapped[str]
    created_at: Mapped[datetime]


class Generation(Base):
    """How one answer was made.

    Attributes:
        model: id of the model.
        turns_left_out: oldest turns of the path that it did not read.
        status: `running` until it is `done`, `stopped` by a person, `failed`, or `lost` with its process.
        stop_asked: set by whichever process hears the wish; the one that writes looks at it.
        heartbeat_at: when its process was last seen at work.
    """

    __tablename__ = "generations"
    __table_args__ = (sa.Index("ix_generations_status_heartbeat_at", "status", "heartbeat_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(sa.ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("messages.id", ondelete="CASCADE"), unique=True)
    model: Mapped[str]
    temperature: Mapped[float]
    top_p: Mapped[float]
    max_tokens: Mapped[int]
    seed: Mapped[int] = mapped_column(sa.BigInteger())
    turns_left_out: Mapped[int]
    status: Mapped[Status] = mapped_column(sa.Text())
    stop_asked: Mapped[bool]
    finish: Mapped[str | None]
    error: Mapped[str | None]
    prompt_tokens: Mapped[int | None]
    answer_tokens: Mapped[int | None]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class EventBatch(Base):
    """Events of an answer in the order of their making, `first` being the number of the first; never changed."""

    __tablename__ = "event_batches"

    generation_id: Mapped[str] = mapped_column(sa.ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True)
    events: Mapped[list[dict[str, Any]]]


class Judged:
    """What moderation said of some words.

    Attributes:
        action: what the policy said; a row that allows is there for reports that it should not have.
        withheld: whether anything was kept back.
        categories: the flagged ones with their probability.
        scores: of all categories, where nothing was flagged the highest of the whole message.
        start: first character of what was judged.
        end: the one after its last; what was withheld is not part of the message.
    """

    id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[Action] = mapped_column(sa.Text())
    withheld: Mapped[bool]
    categories: Mapped[dict[str, float]]
    scores: Mapped[dict[str, float]]
    start: Mapped[int]
    end: Mapped[int]
    classifier: Mapped[str]
    created_at: Mapped[datetime]


class Verdict(Judged, Base):
    """What moderation said of a message: one row, or one for each thing that was flagged."""

    __tablename__ = "verdicts"

    conversation_id: Mapped[str] = mapped_column(sa.ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("messages.id", ondelete="CASCADE"), index=True)


class RequestVerdict(Judged, Base):
    """What moderation flagged in a request, or its answer, whose words are stored nowhere.

    Attributes:
        key_id: the key that asked, where it was one.
        side: who said the words.
    """

    __tablename__ = "request_verdicts"

    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    key_id: Mapped[str | None]
    side: Mapped[Side] = mapped_column(sa.Text())


class Reviewed:
    """What a reviewer said of a judgement: one that was rejected is trained on nowhere."""

    review: Mapped[Review] = mapped_column(sa.Text(), default="open")
    review_reason: Mapped[str] = mapped_column(default="")
    reviewer_id: Mapped[str | None]
    reviewed_at: Mapped[datetime | None]


class Feedback(Reviewed, Base):
    """What a user said of one or two messages of an own conversation; saying it again replaces it.

    Attributes:
        subject: ids of the messages, in their order: with user and kind it is unique.
        value: an `accordant.records.Said`.
    """

    __tablename__ = "feedback"
    __table_args__ = (sa.UniqueConstraint("user_id", "kind", "subject"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(sa.ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[FeedbackKind] = mapped_column(sa.Text())
    message_id: Mapped[str] = mapped_column(sa.ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    other_id: Mapped[str | None] = mapped_column(sa.ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    subject: Mapped[str]
    value: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]


class Task(Base):
    """Alternative answers to one conversation, for people to rank.

    Attributes:
        message_id: the answer of a stored conversation whose alternatives these are; it makes one task at most.
        prompt: digest of the prompt instead, where it is from a file.
        messages: what is answered: `accordant.records.Message`s, the last one the user's.
        candidates: `accordant.records.Candidate`s, in no order.
        places: how many more people shall rank it.
        skips: how many would not.
        gold: the known ranking of a task by which annotators are measured.
    """

    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str | None] = mapped_column(
        sa.ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    message_id: Mapped[str | None] = mapped_column(sa.ForeignKey("messages.id", ondelete="CASCADE"), unique=True)
    prompt: Mapped[str | None] = mapped_column(unique=True)
    messages: Mapped[list[dict[str, Any]]]
    candidates: Mapped[list[dict[str, Any]]]
    places: Mapped[int]
    skips: Mapped[int]
    gold: Mapped[list[list[int]] | None] = mapped_column(sa.JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(index=True)


class Annotation(Reviewed, Base):
    """One person's work: a ranking of a task's answers, or a dialogue that they write.

    Attributes:
        repeat: how often the same person has ranked the same before.
        shown_order: candidate at each place, as they were shown.
        value: an `accordant.records.RankingDraft` or `DemonstrationDraft`.
        revision: grows with each save, so that two windows cannot overwrite each other.
        leased_until: until then nobody else gets it.
        seconds: of work, over all sittings.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        sa.UniqueConstraint("task_id", "user_id", "repeat"),
        sa.Index("ix_annotations_kind_state_begun_at", "kind", "state", "begun_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[WorkKind] = mapped_column(sa.Text())
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    task_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tasks.id", ondelete="CASCADE"))
    repeat: Mapped[int]
    shown_order: Mapped[list[int]] = mapped_column(sa.JSON())
    state: Mapped[WorkState] = mapped_column(sa.Text())
    skip_reason: Mapped[str]
    value: Mapped[dict[str, Any]]
    revision: Mapped[int]
    seconds: Mapped[float]
    leased_until: Mapped[datetime]
    begun_at: Mapped[datetime]
    saved_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Draft(Base):
    """An earlier value of an annotation that is still open, to go back to."""

    __tablename__ = "drafts"

    annotation_id: Mapped[str] = mapped_column(sa.ForeignKey("annotations.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class Suggestion(Base):
    """What the model suggested to somebody who writes a demonstration."""

    __tablename__ = "suggestions"

    id: Mapped[str] = mapped_column(primary_key=True)
    annotation_id: Mapped[str] = mapped_column(sa.ForeignKey("annotations.id", ondelete="CASCADE"), index=True)
    model: Mapped[str]
    sampling: Mapped[dict[str, Any]]
    content: Mapped[str]
    created_at: Mapped[datetime]
