"""Feedback of users, and the work of trainers: tasks, annotations, drafts, suggestions."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Up."""
    op.create_table(
        "feedback",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("other_id", sa.Text()),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        *_reviewed(),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.UniqueConstraint("user_id", "kind", "subject", name="uq_feedback_user_id_kind_subject"),
        _belongs("feedback", "conversation_id", "conversations"),
        _belongs("feedback", "user_id", "users"),
        _belongs("feedback", "message_id", "messages"),
        _belongs("feedback", "other_id", "messages"),
    )
    for column in ("conversation_id", "message_id", "other_id", "created_at"):
        op.create_index(f"ix_feedback_{column}", "feedback", [column])
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text()),
        sa.Column("message_id", sa.Text()),
        sa.Column("prompt", sa.Text()),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("candidates", sa.JSON(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.Column("skips", sa.Integer(), nullable=False),
        sa.Column("gold", sa.JSON(none_as_null=True)),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("message_id", name="uq_tasks_message_id"),
        sa.UniqueConstraint("prompt", name="uq_tasks_prompt"),
        _belongs("tasks", "conversation_id", "conversations"),
        _belongs("tasks", "message_id", "messages"),
    )
    for column in ("conversation_id", "created_at"):
        op.create_index(f"ix_tasks_{column}", "tasks", [column])
    op.create_table(
        "annotations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text()),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("shown_order", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("skip_reason", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("leased_until", TIME, nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("saved_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        *_reviewed(),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
        sa.UniqueConstraint("task_id", "user_id", "repeat", name="uq_annotations_task_id_user_id_repeat"),
        _belongs("annotations", "user_id", "users"),
        _belongs("annotations", "task_id", "tasks"),
    )
    op.create_index("ix_annotations_user_id", "annotations", ["user_id"])
    op.create_index("ix_annotations_kind_state_begun_at", "annotations", ["kind", "state", "begun_at"])
    op.create_table(
        "drafts",
        sa.Column("annotation_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("annotation_id", "number", name="pk_drafts"),
        _belongs("drafts", "annotation_id", "annotations"),
    )
    op.create_table(
        "suggestions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("annotation_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sampling", sa.JSON(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suggestions"),
        _belongs("suggestions", "annotation_id", "annotations"),
    )
    op.create_index("ix_suggestions_annotation_id", "suggestions", ["annotation_id"])


def downgrade() -> None:
    """Down."""
    for table in ("suggestions", "drafts", "annotations", "tasks", "feedback"):
        op.drop_table(table)


def _belongs(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def _reviewed() -> list[sa.Column[Any]]:
    return [
        sa.Column("review", sa.Text(), nullable=False),
        sa.Column("review_reason", sa.Text(), nullable=False),
        sa.Column("reviewer_id", sa.Text()),
        sa.Column("reviewed_at", TIME),
    ]
