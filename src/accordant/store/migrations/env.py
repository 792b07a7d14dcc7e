"""Run by Alembic: migrates over the connection that `accordant.store.migrate` hands over."""

import sqlalchemy as sa
from alembic import context

from accordant.store.schema import Base

ONE_AT_A_TIME = 0x_ACC0_4DA0
"""Key of PostgreSQL's lock: of two processes that start at once, one migrates and the other finds it done."""

connection: sa.Connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ONE_AT_A_TIME)))
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
