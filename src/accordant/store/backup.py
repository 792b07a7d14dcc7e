"""The whole store in one file: a zip of rows as JSON Lines.

It is the same from SQLite and from PostgreSQL, so it also moves a store from one to the other.
"""

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from accordant.errors import AccordantError
from accordant.files import explain_os_errors, new_file
from accordant.store import migrate
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.schema import Base
from accordant.store.times import UtcTime

KIND = "accordant store"
CHUNK = 500


def back_up(database: Database, path: Path) -> dict[str, int]:
    """Write the state of one moment, while others go on writing. The file holds what people wrote: keep it as safe.

    Returns:
        rows by table.
    """
    counts: dict[str, int] = {}
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        temporary.chmod(0o600)
        with database.engine.connect().execution_options(yield_per=CHUNK, **_one_moment(database)) as connection:
            for table in Base.metadata.sorted_tables:
                counts[table.name] = 0
                with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as raw, _text(raw) as out:
                    for row in connection.execute(sa.select(table)).mappings():
                        out.write(json.dumps(dict(row), default=_plain, ensure_ascii=False) + "\n")
                        counts[table.name] += 1
        head = {"kind": KIND, "revision": migrate.newest(), "made_at": now().isoformat(), "rows": counts}
        archive.writestr("store.json", json.dumps(head, indent=2))
    return counts


def restore(database: Database, path: Path) -> dict[str, int]:
    """Fill an empty database from a backup of this or an older version, all or nothing.

    Returns:
        rows by table.

    Raises:
        AccordantError: when the database is not empty, or the file is no whole backup that this version can read.
    """
    if migrate.revision(database) is not None:
        raise AccordantError(f"{database.name} is not empty; move it away, or name an empty one by --database")
    with explain_os_errors(f"reading {path}"):
        try:
            archive = zipfile.ZipFile(path)
            head = json.loads(archive.read("store.json"))
        except FileNotFoundError:
            raise AccordantError(f"{path} does not exist") from None
        except (zipfile.BadZipFile, KeyError, ValueError):
            raise AccordantError(f"{path} is no backup of accordant store backup, or it is damaged") from None
    if head.get("kind") != KIND or not migrate.knows(head.get("revision", "")):
        raise AccordantError(f"{path} is of a version that this one does not know; restore it with a newer one")
    with archive, database.connect() as connection:
        migrate.upgrade_over(connection, head["revision"])
        # The tables of that revision, which may be older than those of `schema`.
        tables = sa.MetaData()
        tables.reflect(connection)
        for name, expected in head["rows"].items():
            written = _fill(connection, tables.tables[name], _rows(archive, name))
            if written != expected:
                raise AccordantError(f"{path} is damaged: {name} has {written} rows, not {expected}")
        migrate.upgrade_over(connection, "head")
    counts: dict[str, int] = head["rows"]
    return counts


def _one_moment(database: Database) -> dict[str, Any]:
    return {} if database.is_sqlite else {"isolation_level": "REPEATABLE READ"}


def _text(raw: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding="utf-8", newline="\n")


def _plain(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in a backup")


def _rows(archive: zipfile.ZipFile, table: str) -> Iterator[dict[str, Any]]:
    with archive.open(f"{table}.jsonl") as raw, _text(raw) as lines:
        for line in lines:
            yield json.loads(line)


def _fill(connection: sa.Connection, table: sa.Table, rows: Iterator[dict[str, Any]]) -> int:
    for column in table.columns:
        if isinstance(column.type, sa.DateTime):
            column.type = UtcTime()
        if isinstance(column.type, sa.JSON):
            column.type = sa.JSON(none_as_null=True)
    read = {column.name: _reader(column) for column in table.columns}
    count = 0
    while chunk := list(itertools.islice(rows, CHUNK)):
        values = [{name: read[name](value) for name, value in row.items()} for row in chunk]
        connection.execute(sa.insert(table), values)
        count += len(chunk)
    return count


def _reader(column: sa.Column[Any]) -> Any:
    if isinstance(column.type, UtcTime):
        return lambda text: text and datetime.fromisoformat(text)
    if isinstance(column.type, sa.Date):
        return date.fromisoformat
    return lambda value: value
