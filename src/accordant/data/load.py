"""A file in any known format to records, with a word on every row that was left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

from pydantic import ValidationError

from accordant.data.jsonl import Row, read_rows
from accordant.data.readers import COMPARISONS, DEMONSTRATIONS, LABELLED_TEXTS, PROMPTS, own, questions
from accordant.data.readers.base import R, Reader
from accordant.data.twins import with_twins
from accordant.errors import AccordantError, BadRow
from accordant.records import Comparison, Demonstration, EvaluationPrompt, Expectation, LabelledText


@dataclass(frozen=True)
class Loaded(Generic[R]):
    """The records of one file, the rows left out and why, and the format in which it was read."""

    path: Path
    kind: str
    format: str
    records: tuple[R, ...]
    problems: tuple[BadRow, ...]

    def summary(self) -> str:
        """One line: how many records, in which format, how many rows were left out and why the first was."""
        line = f"{self.path.name}: {len(self.records):,} {self.kind} ({self.format})"
        if not self.problems:
            return line
        first, rows = self.problems[0], "row" if len(self.problems) == 1 else "rows"
        return f"{line}, {len(self.problems):,} {rows} left out: row {first.line}: {first.reason}"


def load_demonstrations(path: Path, format: str | None = None, strict: bool | None = None) -> Loaded[Demonstration]:
    """Read demonstrations; of a file of preferences, the preferred answers.

    Args:
        path: `.jsonl`, `.json` or `.csv`, each also with `.gz`.
        format: name of a format; without it, the first readable row decides.
        strict: raise the first bad row instead of leaving it out; without it, true for our own schema only,
            as a published file has the flaws it has and ours are mistakes to mend.

    Raises:
        BadRow: under `strict`, for the first row that cannot be used.
        AccordantError: when the file or the format is unknown, or no row can be used.
    """
    return _load(path, "demonstrations", DEMONSTRATIONS, format, strict)


def load_comparisons(path: Path, format: str | None = None, strict: bool | None = None) -> Loaded[Comparison]:
    """Read comparisons; arguments and errors as for `load_demonstrations`."""
    return _load(path, "comparisons", COMPARISONS, format, strict)


def load_prompts(
    path: Path, format: str | None = None, strict: bool | None = None, expect: Expectation | None = None
) -> Loaded[EvaluationPrompt]:
    """Read evaluation prompts; other arguments and errors as for `load_demonstrations`.

    Args:
        expect: what a good assistant does with each prompt, instead of what the file says or implies.
    """
    loaded = _load(path, "evaluation prompts", PROMPTS, format, strict)
    if expect:
        loaded = replace(loaded, records=tuple(r.model_copy(update={"expect": expect}) for r in loaded.records))
    if loaded.format == questions.falseqa.format:
        loaded = replace(loaded, records=tuple(with_twins(loaded.records)))
    return loaded


def load_labelled_texts(path: Path, format: str | None = None, strict: bool | None = None) -> Loaded[LabelledText]:
    """Read texts labelled by category of moderation; arguments and errors as for `load_demonstrations`."""
    return _load(path, "labelled texts", LABELLED_TEXTS, format, strict)


def _load(path: Path, kind: str, readers: Sequence[Reader[R]], format: str | None, strict: bool | None) -> Loaded[R]:
    reader = _named(format, kind, readers) if format else None
    records: list[R] = []
    problems: list[BadRow] = []
    line_of_id: dict[str, int] = {}
    for row in read_rows(path):
        try:
            if isinstance(row, BadRow):
                raise row
            reader = reader or _fitting(path, row, kind, readers)
            records += _records(path, row, reader, line_of_id)
        except BadRow as problem:
            problems.append(problem)
        if problems and (strict or (strict is None and reader and reader.format == own.NAME)):
            raise problems[0]
    if reader is None or not records:
        if not problems:
            raise AccordantError(f"{path} has no rows")
        first = f"row {problems[0].line}: {problems[0].reason}"
        raise AccordantError(f"{path} has no {kind}: none of its {len(problems):,} rows can be used; {first}")
    return Loaded(path, kind, reader.format, tuple(records), tuple(problems))


def _named(format: str, kind: str, readers: Sequence[Reader[R]]) -> Reader[R]:
    for reader in readers:
        if reader.format == format:
            return reader
    raise AccordantError(f"no format {format!r} for {kind}; known: {_names(readers)}")


def _fitting(path: Path, row: Row, kind: str, readers: Sequence[Reader[R]]) -> Reader[R]:
    for reader in readers:
        if reader.fits(row.fields):
            return reader
    fields = ", ".join(row.fields) or "none"
    raise AccordantError(
        f"{path}, row {row.line}: no known format of {kind} has just these fields: {fields}; "
        f"rename the fields or name one of the formats: {_names(readers)}"
    )


def _names(readers: Sequence[Reader[R]]) -> str:
    return ", ".join(reader.format for reader in readers)


def _records(path: Path, row: Row, reader: Reader[R], line_of_id: dict[str, int]) -> list[R]:
    """All records of one row or, when any is at fault, none: the row is then a BadRow."""
    try:
        found = list(reader.read(row.fields, f"{path.name.split('.')[0]}:{row.line}"))
    except ValidationError as error:
        raise BadRow(path, row.line, _first_fault(error)) from None
    except ValueError as error:
        raise BadRow(path, row.line, str(error)) from None
    for record in found:
        if record.id in line_of_id:
            raise BadRow(path, row.line, f"id {record.id!r} is already that of row {line_of_id[record.id]}")
        line_of_id[record.id] = row.line
    return found


_FAULTS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this schema; remove or rename it",
    "string_pattern_mismatch": "must not be blank",
    "string_too_short": "must not be blank",
}


def _first_fault(error: ValidationError) -> str:
    """Pydantic's first complaint as one line; places in lists count from 1, as rows do."""
    fault = error.errors()[0]
    where = ", ".join(f"item {part + 1}" if isinstance(part, int) else part for part in fault["loc"])
    what = _FAULTS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if not where:
        return what
    value = "" if fault["type"] in _FAULTS else f" (found {fault['input']!r:.40})"
    return f"{where}: {what}{value}"
