"""What an answer is made of on the wire: one union of events, sent as Server-Sent Events."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from accordant.records import Record

PING = b": ping\n\n"
"""A comment, which keeps proxies from closing a stream that is silent."""


class Waiting(Record):
    """Others are answered first; sent at most once, before anything else."""

    type: Literal["waiting"] = "waiting"
    ahead: int = Field(ge=1)


class Delta(Record):
    """More text of the answer."""

    type: Literal["delta"] = "delta"
    text: str


class Done(Record):
    """The answer is over.

    Attributes:
        finish: `stop` when the model closed its turn, `length` at the limit of tokens, `cancelled` when it was stopped.
        prompt_tokens: tokens that the model read.
        answer_tokens: tokens that it wrote.
        turns_left_out: oldest turns (a question with its answer) that no longer fitted.
    """

    type: Literal["done"] = "done"
    finish: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    answer_tokens: int
    turns_left_out: int


class Error(Record):
    """The answer broke off; one line for the reader."""

    type: Literal["error"] = "error"
    message: str


Event = Annotated[Waiting | Delta | Done | Error, Field(discriminator="type")]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads one event from JSON."""


def encode(event: Event, number: int | None = None) -> bytes:
    """One event as Server-Sent Events carry it; JSON has no line breaks, so it is always one `data` line.

    With its number as `id`, a browser that lost the connection says by itself from where to go on.
    """
    mark = "" if number is None else f"id: {number}\n"
    return f"{mark}data: {event.model_dump_json()}\n\n".encode()
