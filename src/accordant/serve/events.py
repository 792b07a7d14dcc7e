"""What an answer is made of on the wire: one union of events, sent as Server-Sent Events."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from accordant.records import Record

PING = b": ping\n\n"
"""A comment, which keeps proxies from closing a stream that is silent."""


Finish = Literal["stop", "length", "cancelled", "content_filter"]


class Waiting(Record):
    """Others are answered first; sent before anything else, again whenever the number has changed."""

    type: Literal["waiting"] = "waiting"
    ahead: int = Field(ge=1)


class Token(Record):
    """A token that was drawn.

    Attributes:
        text: with replacement characters where it is a part of a character.
        bytes: exactly.
        log_prob: under the model itself, whatever the sampling.
        offset: characters of the answer before it.
        likeliest: what else could have been drawn.
    """

    text: str
    bytes: tuple[int, ...]
    log_prob: float
    offset: int
    likeliest: tuple["Token", ...] = ()


class Delta(Record):
    """More text of an answer.

    Attributes:
        text: maybe empty.
        choice: which of the answers, where several were asked for.
        tokens: what the text was made of, for those who asked.
    """

    type: Literal["delta"] = "delta"
    text: str
    choice: int = Field(0, exclude_if=lambda choice: choice == 0)
    tokens: tuple[Token, ...] = Field((), exclude_if=lambda tokens: not tokens)


class VerdictView(Record):
    """What moderation said of some words, the same wherever it is told.

    Attributes:
        id: names it in a report, where it is stored.
        side: who said the words.
        action: what the policy says.
        withheld: whether anything was kept back.
        categories: the flagged ones with their probability, the most probable first.
        start: first character of what was judged, in the message.
        end: the one after its last; beyond the message's end where that was withheld.
    """

    id: str
    side: Literal["user", "model"]
    action: Literal["warn", "block"]
    withheld: bool
    categories: dict[str, float]
    start: int
    end: int


class Flagged(VerdictView):
    """Words were flagged; when they were withheld, nothing more of that answer comes but its `Done`."""

    type: Literal["flagged"] = "flagged"
    choice: int = Field(0, exclude_if=lambda choice: choice == 0)


class Done(Record):
    """An answer is over; the last of a job's answers ends it.

    Attributes:
        finish: `stop` when the model closed its turn, `length` at the limit of tokens, `cancelled` when it was stopped,
            `content_filter` when the rest was withheld.
        prompt_tokens: tokens that the model read.
        answer_tokens: tokens that it wrote.
        turns_left_out: oldest turns (a question with its answer) that no longer fitted.
        choice: which of the answers, where several were asked for.
    """

    type: Literal["done"] = "done"
    finish: Finish
    prompt_tokens: int
    answer_tokens: int
    turns_left_out: int
    choice: int = Field(0, exclude_if=lambda choice: choice == 0)


class Error(Record):
    """The answer broke off; one line for the reader."""

    type: Literal["error"] = "error"
    message: str


class Suggested(Record):
    """A suggestion to who writes a demonstration, whole and stored; `text` begins with what they had typed."""

    type: Literal["suggested"] = "suggested"
    id: str
    choice: int
    text: str


Event = Annotated[Waiting | Delta | Flagged | Done | Error, Field(discriminator="type")]
SuggestionEvent = Annotated[Waiting | Delta | Flagged | Done | Error | Suggested, Field(discriminator="type")]
"""What a stream of suggestions is made of."""

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads one event from JSON."""


def encode(event: SuggestionEvent, number: int | None = None) -> bytes:
    """One event as Server-Sent Events carry it; JSON has no line breaks, so it is always one `data` line.

    With its number as `id`, a browser that lost the connection says by itself from where to go on.
    """
    mark = "" if number is None else f"id: {number}\n"
    return f"{mark}data: {event.model_dump_json()}\n\n".encode()
