"""Our own schema: a row is the record itself, and an unknown field is an error."""

from typing import Any, cast

from accordant.data.jsonl import Fields
from accordant.data.readers.base import R, Reader
from accordant.records import Comparison, Demonstration, EvaluationPrompt, LabelledText

NAME = "accordant"

_COMMON = {"id", "messages", "tag"}
"""Other formats have these too: a row that has unknown fields as well is ours only by some further field."""


def _reader(record: type[R]) -> Reader[R]:
    known = set(record.model_fields)
    required = {name for name, field in record.model_fields.items() if field.is_required()}

    def fits(fields: Fields) -> bool:
        names = set(fields)
        return required <= names and (names <= known or bool(names & known - _COMMON))

    def read(fields: Fields, id: str) -> tuple[R, ...]:
        return (cast(Any, record).model_validate(fields),)

    return Reader(NAME, fits, read)


demonstrations = _reader(Demonstration)
comparisons = _reader(Comparison)
prompts = _reader(EvaluationPrompt)
labelled_texts = _reader(LabelledText)
