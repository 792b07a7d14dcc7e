"""Keys have limits of their own; usage is counted by model."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Up. Older keys have no limits of their own, and nobody noted which model was used."""
    op.add_column("api_keys", sa.Column("limits", sa.JSON(), nullable=False, server_default="{}"))
    _rewrite_usage("user_id, key_id, day, '', requests, prompt_tokens, answer_tokens", "", by_model=True)


def downgrade() -> None:
    """Down. The models of a day are summed."""
    sums = ", ".join(f"SUM({name})" for name in ("requests", "prompt_tokens", "answer_tokens"))
    _rewrite_usage(f"user_id, key_id, day, {sums}", " GROUP BY user_id, key_id, day", by_model=False)
    op.drop_column("api_keys", "limits")


def _rewrite_usage(columns: str, grouped: str, by_model: bool) -> None:
    """SQLite cannot change a primary key, so the table is made anew."""
    op.execute("CREATE TABLE usage_before AS SELECT * FROM usage")
    op.drop_table("usage")
    model = [sa.Column("model", sa.Text(), nullable=False)] if by_model else []
    key = ["user_id", "key_id", "day", *(column.name for column in model)]
    op.create_table(
        "usage",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        *model,
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("answer_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_usage"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_usage_user_id", ondelete="CASCADE"),
    )
    op.execute(f"INSERT INTO usage SELECT {columns} FROM usage_before{grouped}")
    op.drop_table("usage_before")
