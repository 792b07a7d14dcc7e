"""What goes back whole, in OpenAI's shapes."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from accordant.serve.events import Token, VerdictView

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


class Usage(BaseModel):
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class LikelyToken(BaseModel):
    """A token that could have been drawn."""

    token: str
    logprob: float
    bytes: list[int] | None


class DrawnToken(LikelyToken):
    """A token of the answer."""

    top_logprobs: list[LikelyToken]


class ChatLogProbs(BaseModel):
    """Every token of an answer."""

    content: list[DrawnToken] | None
    refusal: None = None


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """One of n; `moderation` is there where words were flagged."""

    index: int
    finish_reason: FinishReason
    moderation: list[VerdictView] = Field([], exclude_if=lambda said: not said)


class ChatChoice(Choice):
    """One of n answers."""

    message: AnswerMessage
    logprobs: ChatLogProbs | None


class ChatCompletion(BaseModel):
    """What /v1/chat/completions gives."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextLogProbs(BaseModel):
    """Every token of a completion, in the older shape."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(Choice):
    """One of n completions of a prompt."""

    text: str
    logprobs: TextLogProbs | None


class Completion(BaseModel):
    """What /v1/completions gives."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "accordant"


class ModelList(BaseModel):
    """What /v1/models gives."""

    object: Literal["list"] = "list"
    data: list[Model]


def usage(prompt: int, answer: int) -> Usage:
    """The counts and their sum."""
    return Usage(prompt_tokens=prompt, completion_tokens=answer, total_tokens=prompt + answer)


def chat_log_probs(tokens: Sequence[Token]) -> ChatLogProbs:
    """Tokens in the shape of chats."""

    def likely(token: Token) -> LikelyToken:
        return LikelyToken(token=token.text, logprob=token.log_prob, bytes=list(token.bytes))

    return ChatLogProbs(
        content=[
            DrawnToken(**likely(token).model_dump(), top_logprobs=[likely(other) for other in token.likeliest])
            for token in tokens
        ]
    )


def text_log_probs(tokens: Sequence[Token]) -> TextLogProbs:
    """Tokens in the older shape."""
    return TextLogProbs(
        tokens=[_legacy(token) for token in tokens],
        token_logprobs=[token.log_prob for token in tokens],
        top_logprobs=[{_legacy(other): other.log_prob for other in token.likeliest} for token in tokens],
        text_offset=[token.offset for token in tokens],
    )


def _legacy(token: Token) -> str:
    """The text of a token; where it is a part of a character, its bytes, so that no two look alike."""
    raw = bytes(token.bytes)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
