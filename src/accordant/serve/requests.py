"""What a client may ask, checked before anything else happens, and each fault said in one line."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from accordant.moderation.stream import Mode
from accordant.records import Record

LARGEST_BODY = 1_000_000
"""Bytes of a request."""

LARGEST_CONVERSATION = 100_000
"""Characters of all its messages."""


class Figure(Record):
    """A share or mean over `n` prompts, with its interval of 95 per cent."""

    value: float
    low: float
    high: float
    n: int


class Sample(Record):
    """A question of the evaluation, and what the model answered to it."""

    question: str
    answer: str


class About(Record):
    """What the page says of the model, and what is done about harmful words.

    Attributes:
        facts: label to text.
        measured: by name, what the evaluation of its round found of it; empty where there was none.
    """

    title: str
    checkpoint: str
    moderation: Mode | Literal["off"]
    facts: dict[str, str]
    measured: dict[str, Figure]


def explain(faults: Sequence[Mapping[str, Any]], body: Any) -> str:
    """The first of pydantic's faults in a body as one line: field, value (short), what was expected."""
    first = faults[0]
    field = field_of(first, body)
    match first["type"]:
        case "json_invalid":
            return f"the request is not valid JSON: {first.get('ctx', {}).get('error', '')}".rstrip(": ")
        case "missing":
            return f"field {field} is missing" if field else "the request has no JSON body"
        case "extra_forbidden":
            return f"unknown field {field}"
        case "string_pattern_mismatch" | "string_too_short":
            return f"{field} must not be empty"
    message = str(first["msg"]).removeprefix("Value error, ")
    if isinstance(first["input"], int | float | str):
        shown = ascii(first["input"])
        return f"{field} = {shown if len(shown) <= 40 else shown[:37] + '...'}: {message}"
    return f"{field}: {message}" if field else message


def field_of(fault: Mapping[str, Any], body: Any) -> str:
    """Where in the body a fault is: `messages.0.content`.

    Pydantic also names the member of a union that was tried; what is no place in the body is left out.
    """
    kept = []
    places = fault["loc"][1:]
    for number, part in enumerate(places, start=1):
        there = isinstance(body, dict) and part in body
        there = there or (isinstance(body, list) and isinstance(part, int) and part < len(body))
        if there:
            kept.append(str(part))
            body = body[part]
        elif fault["type"] == "missing" and number == len(places):
            kept.append(str(part))
    return ".".join(kept)
