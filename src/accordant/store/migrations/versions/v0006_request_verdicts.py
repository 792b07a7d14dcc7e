"""Verdicts on requests whose words are stored nowhere."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Up."""
    op.create_table(
        "request_verdicts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("withheld", sa.Boolean(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_request_verdicts"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_request_verdicts_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_request_verdicts_user_id", "request_verdicts", ["user_id"])


def downgrade() -> None:
    """Down."""
    op.drop_table("request_verdicts")
