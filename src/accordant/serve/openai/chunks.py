"""What goes back in pieces: OpenAI's chunks as Server-Sent Events, and the whole answer from the same events."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from accordant.serve.events import Delta, Done, Error, Event, Flagged, Token, VerdictView, Waiting
from accordant.serve.faults import Fault, openai_error
from accordant.serve.openai.answers import FinishReason, usage
from accordant.serve.scheduler import CLOSING

DONE = b"data: [DONE]\n\n"

Choice = Callable[["Part"], dict[str, Any]]
"""The content of `choices[0]`, besides its index, for a part of an answer."""


@dataclass(frozen=True)
class Part:
    """A piece of one answer.

    Attributes:
        text: new text.
        tokens: what it was made of, where asked.
        first: whether nothing came before.
        finish: set on the last one, which has no text.
    """

    text: str = ""
    tokens: Sequence[Token] = ()
    first: bool = False
    finish: FinishReason | None = None


def new_head(kind: str, model: str) -> dict[str, Any]:
    """What an answer and all its chunks begin with; `kind` begins the id."""
    return {"id": f"{kind}-{secrets.token_urlsafe(16)}", "created": int(time.time()), "model": model}


async def chunks(
    events: AsyncIterator[Event], head: dict[str, Any], choice: Choice, openings: bool, include_usage: bool
) -> AsyncIterator[bytes]:
    """A job's events as chunks, to `[DONE]`.

    Args:
        events: of the job.
        head: the fields that are the same in all chunks.
        choice: makes the content of a choice.
        openings: whether each answer begins with a part that has no text (chats tell the role there).
        include_usage: whether a chunk with the tokens used, and no choices, comes last.
    """
    opened: set[int] = set()
    written = read = 0

    def chunk(number: int, part: Part, **besides: Any) -> bytes:
        more = {"usage": None} if include_usage else {}
        return encode({**head, "choices": [{"index": number, **choice(part), **besides}], **more})

    async for event in events:
        if isinstance(event, Delta | Flagged | Done) and openings and event.choice not in opened:
            opened.add(event.choice)
            yield chunk(event.choice, Part(first=True))
        match event:
            case Waiting(ahead=ahead):
                yield f": {ahead} ahead\n\n".encode()
            case Delta(text=text, choice=number, tokens=tokens):
                yield chunk(number, Part(text, tokens))
            case Flagged(choice=number):
                yield chunk(number, Part(), moderation=[verdict(event).model_dump()])
            case Done(finish=finish, choice=number):
                yield chunk(number, Part(finish=reason(finish)))
                read, written = event.prompt_tokens, written + event.answer_tokens
            case Error(message=message):
                yield encode({"error": openai_error(500, message)})
                return
    if include_usage:
        yield encode({**head, "choices": [], "usage": usage(read, written).model_dump()})
    yield DONE


def encode(value: Any) -> bytes:
    """One event. ASCII alone: no client can take a character of an answer for the end of a line."""
    return f"data: {json.dumps(value)}\n\n".encode()


def reason(finish: str) -> FinishReason:
    """Ours as OpenAI's: who stops an answer does not read on."""
    return "stop" if finish == "cancelled" else cast(FinishReason, finish)


def verdict(event: Flagged) -> VerdictView:
    """What a choice has as `moderation`."""
    return VerdictView(**event.model_dump(include=set(VerdictView.model_fields)))


@dataclass
class Answer:
    """A whole answer, gathered."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: FinishReason = "stop"
    flagged: list[VerdictView] = field(default_factory=list)


@dataclass
class Gathered:
    """All answers of a job."""

    answers: list[Answer]
    prompt_tokens: int = 0
    answer_tokens: int = 0


def gather(events: Sequence[Event], count: int) -> Gathered:
    """The same events as a whole.

    Raises:
        Fault: when the answer broke off.
    """
    found = Gathered([Answer() for _ in range(count)])
    for event in events:
        match event:
            case Delta(text=text, choice=number, tokens=tokens):
                found.answers[number].text += text
                found.answers[number].tokens += tokens
            case Flagged(choice=number):
                found.answers[number].flagged.append(verdict(event))
            case Done(finish=finish, choice=number):
                found.answers[number].finish = reason(finish)
                found.prompt_tokens = event.prompt_tokens
                found.answer_tokens += event.answer_tokens
            case Error(message=message):
                raise Fault(message, status=503 if message == CLOSING else 500)
    return found
