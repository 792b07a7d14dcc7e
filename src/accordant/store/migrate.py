"""From no database, or an older one, to the schema of this version, and back.

Alembic is imported where something is migrated: a start that finds all as it should be need not wait for it.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.errors import AccordantError
from accordant.store import users
from accordant.store.database import STATEMENT_SECONDS, Database

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).with_name("migrations")
_ONE_THREAD = threading.Lock()
"""Alembic keeps what it works on in globals."""


def open_database(url: str | None = None, statement_seconds: float = STATEMENT_SECONDS) -> Database:
    """The database, ready to use: a new one is made, one of another version is refused.

    Args:
        url: as for `Database`.
        statement_seconds: as for `Database`.

    Raises:
        AccordantError: when it cannot be reached, or its schema is older or newer than this version's.
    """
    database = Database(url, statement_seconds)
    found = revision(database)
    if found is None:
        _create(database)
    elif found != newest():
        raise AccordantError(_what_to_do(database, found))
    return database


def revision(database: Database) -> str | None:
    """The schema's revision; None for an empty database."""
    with database.read() as session:
        connection = session.connection()
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return found


def newest() -> str:
    """The revision of this version: its migrations are called vNNNN_what.py by their revisions."""
    return max(path.name[1:5] for path in (_MIGRATIONS / "versions").glob("v*.py"))


def upgrade(database: Database, target: str = "head") -> None:
    """Migrate up to `target`, all or nothing."""
    with database.connect() as connection:
        upgrade_over(connection, target)


def upgrade_over(connection: sa.Connection, target: str) -> None:
    """The same within a transaction that is open already."""
    from alembic import command

    with _ONE_THREAD:
        command.upgrade(_config(connection), target)


def downgrade(database: Database, target: str) -> None:
    """Migrate down to `target` (`base` is nothing), all or nothing. What only the newer schema holds is lost."""
    from alembic import command

    with database.connect() as connection, _ONE_THREAD:
        command.downgrade(_config(connection), target)


def knows(target: str) -> bool:
    """Whether this version has that revision."""
    return target in {script.revision for script in _scripts().walk_revisions()}


def _create(database: Database) -> None:
    # One transaction: of two processes that find no database, the second one finds all of it done.
    with database.connect() as connection, Session(connection) as session:
        upgrade_over(connection, "head")
        users.ensure_local(session)
        session.flush()


def _what_to_do(database: Database, found: str) -> str:
    if knows(found):
        return f"{database.name} is of an older version ({found}): back it up, then run accordant store upgrade"
    return f"{database.name} was written by a newer version ({found}): use that one, or restore an older backup"


def _config(connection: sa.Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())
