"""What a reader is, and the few ways in which all readers look at a row."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from accordant.data.jsonl import Fields
from accordant.records import Comparison, Demonstration, EvaluationPrompt, Expectation, LabelledText, Message

R = TypeVar("R", Demonstration, Comparison, EvaluationPrompt, LabelledText)

_END_MARK = re.compile(r"\s*(###eos_token###|</s>|<\|endoftext\|>|<\|im_end\|>)\s*$")


@dataclass(frozen=True)
class Reader(Generic[R]):
    """Turns rows of one public format into records of one kind.

    `fits` says whether a row looks like this format. `read` gets a row and an id for its record, and raises a
    ValueError (pydantic's is one) that says what is wrong with the row.
    """

    format: str
    fits: Callable[[Fields], bool]
    read: Callable[[Fields, str], Iterable[R]]


def need(fields: Fields, name: str) -> Any:
    """The field `name`, or a ValueError that says that it is missing."""
    if name not in fields:
        raise ValueError(f"field {name!r} is missing")
    return fields[name]


def need_text(fields: Fields, name: str) -> str:
    """The text in the field `name`; anything else is a ValueError."""
    value = need(fields, name)
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} is {value!r:.40}, expected text")
    return value


def optional_text(fields: Fields, name: str) -> str:
    """The text in the field `name`, empty when the field is absent or null."""
    return need_text(fields, name) if fields.get(name) is not None else ""


def tag(fields: Fields) -> str:
    """The first of the fields by which published sets name a row's part or topic."""
    names = ("tag", "subset", "category", "dataset")
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), "")


def with_context(request: str, context: str) -> str:
    """An instruction and the text that it is about, as one user message."""
    return f"{request}\n\n{context}" if context.strip() else request


def evaluation_prompt(id: str, question: str, expect: Expectation, **more: str) -> EvaluationPrompt:
    """A prompt of one user message; `more` are the further fields of `EvaluationPrompt`."""
    return EvaluationPrompt(id=id, messages=(Message(role="user", content=question),), expect=expect, **more)


def without_end_mark(answer: str) -> str:
    """Drop a model's end mark left in published text: trained on, it would be said as words."""
    return _END_MARK.sub("", answer)


def numbered(id: str, records: int, place: int) -> str:
    """The id of record `place` (0-based) out of `records` from one row."""
    return id if records == 1 else f"{id}.{place + 1}"
