"""Rows of JSON, JSON Lines and CSV, plain or gzipped, in; JSON Lines of records out.

A row that cannot be decoded comes out as a `BadRow` in its place, so that it does not hide the others.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from accordant.errors import AccordantError, BadRow
from accordant.files import write_atomically
from accordant.records import Record

Fields = dict[str, Any]


class Row(NamedTuple):
    """One row: its 1-based line (in a JSON array its 1-based place) and its fields."""

    line: int
    fields: Fields


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of `.jsonl`, `.json` (lines or one array) or `.csv`, each also with `.gz` after it.

    Raises:
        AccordantError: when the file is missing, cannot be read or unpacked, or is a broken JSON array.
    """
    name = path.name.removesuffix(".gz")
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            yield from _csv_rows(path, file) if name.endswith(".csv") else _json_rows(path, file)
    except FileNotFoundError:
        raise AccordantError(f"{path} is missing") from None
    except (OSError, EOFError, zlib.error) as error:
        raise AccordantError(f"{path} cannot be read: {error}") from None


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON Lines, atomically, gzipped when the name ends in `.gz`; defaults are left off."""
    text = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
    write_atomically(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text)


def _json_rows(path: Path, file: BinaryIO) -> Iterator[Row | BadRow]:
    begun = False
    for line, raw in enumerate(file, start=1):
        content = raw.removeprefix(b"\xef\xbb\xbf").strip()
        if content.startswith(b"[") and not begun:
            yield from _array_rows(path, content + b"\n" + file.read())
        elif content:
            yield _decoded(path, line, content)
        begun = begun or bool(content)


def _decoded(path: Path, line: int, content: bytes) -> Row | BadRow:
    try:
        value = json.loads(content)
    except UnicodeDecodeError as error:
        return BadRow(path, line, f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8")
    except json.JSONDecodeError as error:
        return BadRow(path, line, f"not valid JSON at column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return BadRow(path, line, f"not usable JSON ({error})")
    return _object(path, line, value)


def _array_rows(path: Path, content: bytes) -> Iterator[Row | BadRow]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AccordantError(f"{path} begins as a JSON array but is not valid JSON ({error})") from None
    for place, value in enumerate(values, start=1):
        yield _object(path, place, value)


def _object(path: Path, line: int, value: Any) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(line, value)
    return BadRow(path, line, f"expected a JSON object, found {type(value).__name__}")


def _csv_rows(path: Path, file: BinaryIO) -> Iterator[Row | BadRow]:
    # surrogateescape lets a row that is not UTF-8 be named by its line instead of ending the file there.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    table = csv.reader(text, strict=True)
    header: list[str] | None = None
    while True:
        line = table.line_num + 1
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(path, line, f"not valid CSV ({error})")
            continue
        if not cells:
            continue
        if header is None:
            header = cells
        elif any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
            yield BadRow(path, line, "not UTF-8; save the file as UTF-8")
        elif len(cells) != len(header):
            yield BadRow(path, line, f"has {len(cells)} cells, but the header has {len(header)}")
        else:
            yield Row(line, dict(zip(header, cells, strict=True)))
