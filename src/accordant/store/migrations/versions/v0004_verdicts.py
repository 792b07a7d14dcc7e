"""Verdicts say what was withheld, all scores, and which characters were judged."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Up. Older verdicts knew only their categories; what they blocked was withheld."""
    op.add_column("verdicts", sa.Column("withheld", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("verdicts", sa.Column("scores", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("verdicts", sa.Column("start", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("verdicts", sa.Column("end", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE verdicts SET scores = categories, withheld = (action = 'block')")


def downgrade() -> None:
    """Down."""
    for column in ("withheld", "scores", "start", "end"):
        op.drop_column("verdicts", column)
