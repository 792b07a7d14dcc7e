"""One database: SQLite in the workspace, or PostgreSQL by URL; sessions that read, and sessions that write."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as TimedOut
from sqlalchemy.orm import Session

from accordant.errors import AccordantError
from accordant.files import explain_os_errors, workspace

PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit is on the disk before it is acknowledged
    "foreign_keys = ON",
    "busy_timeout = 10000",
    "secure_delete = ON",  # what is deleted is overwritten
)


WAIT_SECONDS = 10.0
"""So long somebody waits for others: for a connection, a turn to write, a lock. Then they are told."""
STATEMENT_SECONDS = 60.0
"""So long one statement may run. Migrations, backups and restoring may take as long as they need."""
MOST_CONNECTIONS = 48
_STEPS = 10_000
"""Steps of SQLite's machine, some 0.1 ms of them, between two looks at the clock."""


class NotFound(AccordantError):
    """There is no such row, or it is somebody else's: nobody learns which."""


class Changed(AccordantError):
    """Somebody else changed it in between."""


class NotText(AccordantError):
    """A value that the database cannot store."""


class Unusable(AccordantError):
    """The database does not answer, or not now."""


class Database:
    """Engine and sessions. Nothing is created or migrated here: see `accordant.store.migrate`.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER@HOST/NAME`, or None for `accordant.db` in the workspace.
        statement_seconds: how long one statement of `read` or `write` may run; then it is ended, and `Unusable` raised.

    Raises:
        AccordantError: when the URL is no database's, or its driver is not installed.
    """

    def __init__(self, url: str | None = None, statement_seconds: float = STATEMENT_SECONDS) -> None:
        self.statement_seconds = statement_seconds
        try:
            place = sa.make_url(url or f"sqlite:///{workspace() / 'accordant.db'}")
            if place.drivername in ("postgres", "postgresql"):
                place = place.set(drivername="postgresql+psycopg")
            self.is_sqlite = place.get_backend_name() == "sqlite"
            if self.is_sqlite and place.database in (None, "", ":memory:"):
                raise AccordantError("the database must be a file: sqlite:///FILE")
            self.engine = sa.create_engine(
                place,
                pool_size=min(8, MOST_CONNECTIONS),
                max_overflow=max(0, MOST_CONNECTIONS - 8),
                pool_timeout=WAIT_SECONDS,
                connect_args={} if self.is_sqlite else _patience(place, statement_seconds),
            )
        except (ArgumentError, NoSuchModuleError) as error:
            raise AccordantError(f"{url} is no database URL: use sqlite:///FILE or postgresql://...") from error
        except ModuleNotFoundError as error:
            raise AccordantError(f'{error.name} is missing; install it: pip install "accordant[postgres]"') from None
        self.name = place.render_as_string(hide_password=True)
        # SQLite lets one write at a time; in one process a lock is a fairer line than its waiting and trying again.
        self._one_writes = threading.Lock()
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _set_up)
            sa.event.listen(self.engine, "begin", _begin)
            sa.event.listen(self.engine, "before_cursor_execute", _set_deadline)
            path = Path(str(place.database))
            with explain_os_errors(f"opening {path}"):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    path.touch(mode=0o600)  # nobody else's to read, nor the log beside it
        self._reader = self.engine.execution_options(statement_seconds=statement_seconds)
        self._writer = self._reader.execution_options(writes=True)
        self._must_scrub = False

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one moment's state (SQLite), which changes nothing."""
        with self._explained(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: committed and on the disk when the block has ended well, else rolled back."""
        with (
            self._explained(),
            self._turn(),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextlib.contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A bare connection in a transaction that writes, without a limit on time, for migrations and restoring."""
        writer = self._writer.execution_options(statement_seconds=math.inf)
        with self._explained(), self._turn(), writer.begin() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            yield connection

    def forget_deleted(self) -> None:
        """Deleted text is overwritten in the file; empty the write-ahead log, which still holds older pages.

        While somebody reads an older state the log cannot be emptied; `upkeep` tries again.
        """
        if not self.is_sqlite:
            return
        with self._turn(), contextlib.closing(self.engine.raw_connection()) as connection:
            connection.execute("PRAGMA busy_timeout = 500")
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute("PRAGMA busy_timeout = 10000")
            self._must_scrub = bool(busy)

    def upkeep(self) -> None:
        """Finish what `forget_deleted` could not."""
        if self._must_scrub:
            self.forget_deleted()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """The only writer to SQLite in this process; PostgreSQL takes many."""
        if not self.is_sqlite:
            yield
            return
        if not self._one_writes.acquire(timeout=WAIT_SECONDS):
            raise Unusable(f"the database {self.name} is busy: another write takes more than {WAIT_SECONDS:.0f} s")
        try:
            yield
        finally:
            self._one_writes.release()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except TimedOut as error:
            raise Unusable(f"the database {self.name} has no free connection: {MOST_CONNECTIONS} are in use") from error
        except OperationalError as error:
            reason = str(error.orig).strip().splitlines()[0]
            if reason == "interrupted" or "statement timeout" in reason:  # SQLite's word and PostgreSQL's
                reason = f"a statement ran for more than {self.statement_seconds:g} s and was ended"
            raise Unusable(f"the database {self.name} cannot be used: {reason}") from error
        except DataError as error:  # PostgreSQL takes no NUL, and no number beyond a column's
            raise NotText(f"this cannot be stored: {str(error.orig).strip().splitlines()[0]}") from error
        except IntegrityError as error:
            raise Changed("somebody else wrote the same, or deleted it, at the same moment; try again") from error


def insert_into(session: Session, table: type[Any]) -> Any:
    """An INSERT that knows what to do on conflict, which both databases have and SQLAlchemy keeps apart."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _patience(place: sa.URL, statement_seconds: float) -> dict[str, Any]:
    """How long PostgreSQL's client and server wait, in words that the URL may overrule."""
    milliseconds = int(WAIT_SECONDS * 1000)
    known = {
        "connect_timeout": int(max(WAIT_SECONDS, 2)),
        "tcp_user_timeout": milliseconds,  # a server that went away without a word
        "options": f"-c lock_timeout={milliseconds} -c statement_timeout={math.ceil(statement_seconds * 1000)}",
    }
    return {name: value for name, value in known.items() if name not in place.query}


class _Deadline:
    """When what a connection to SQLite is doing must have ended, on the monotonic clock."""

    at = math.inf

    def passed(self) -> bool:
        return time.monotonic() > self.at


def _set_up(connection: Any, record: Any) -> None:
    record.info["deadline"] = deadline = _Deadline()
    connection.set_progress_handler(deadline.passed, _STEPS)
    connection.isolation_level = None  # transactions begin below, not when the driver thinks fit
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _set_deadline(connection: sa.Connection, *_: object) -> None:
    seconds: float = connection.get_execution_options().get("statement_seconds", math.inf)
    connection.info["deadline"].at = time.monotonic() + seconds


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes then can fail in the middle; one that will write says so at once.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
