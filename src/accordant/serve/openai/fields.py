"""Fields that several requests share, and the ones that are refused."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from accordant.engine import Nudges, Sampling
from accordant.serve.faults import Fault

MOST_ANSWERS = 16
LARGEST_SEED = 2**63


class Body(BaseModel):
    """Base of requests: an unknown field is an error; null is the same as nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def refuse(reason: str, *but: object) -> BeforeValidator:
    """A documented field that is not honoured here: anything but null, and values that change nothing, is an error."""

    def check(value: object) -> object:
        if value is None or any(value is harmless or value == harmless for harmless in but):
            return None
        raise PydanticCustomError("unsupported_parameter", "not supported: {reason}", {"reason": reason})

    return BeforeValidator(check, json_schema_input_type=None)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _whole(text: str) -> str:
    """JSON can write half a character (a lone surrogate), which no text can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("broken_text", "has half a character (a lone surrogate)") from None
    return text


Words = Annotated[str, AfterValidator(_whole)]
Stops = Annotated[
    tuple[Annotated[Words, Field(min_length=1)], ...],
    Field(max_length=4),
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]
Seed = Annotated[int, Field(ge=-LARGEST_SEED, lt=LARGEST_SEED)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Biases = Annotated[dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Mass = Annotated[float, Field(ge=0, le=1)]
Answers = Annotated[int, Field(ge=1, le=MOST_ANSWERS)]
Tokens = Annotated[int, Field(ge=1)]
Name = Annotated[Words, Field(max_length=512)]


class StreamOptions(Body):
    """How a stream is sent."""

    include_usage: bool | None = Field(None, description="Send a last chunk with the tokens used and no choices.")
    include_obfuscation: Annotated[None, refuse("chunks are sent as they are", False)] = None


class Drawing(Body):
    """How answers are drawn: fields that both kinds of completion have."""

    model: str
    frequency_penalty: Penalty | None = None
    logit_bias: Biases | None = None
    n: Answers | None = None
    presence_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Mass | None = None
    user: Name | None = Field(None, description="Whom the asking program asks for; counted in the usage.")

    def sampling(self, max_tokens: int, seed: int) -> Sampling:
        """Ours; `seed` is used where the request has none."""
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else max(self.top_p, 1e-6),  # 0 keeps the likeliest alone
            max_tokens=max_tokens,
            stop=self.stop or (),
            seed=seed if self.seed is None else self.seed,
        )

    def nudges(self, vocabulary: Callable[[int], bool]) -> Nudges | None:
        """Ours, where there are any; `vocabulary` says which tokens exist."""
        bias = self.logit_bias or {}
        if unknown := next((token for token in bias if not vocabulary(token)), None):
            raise Fault(f"logit_bias names token {unknown}, which this model does not have", "logit_bias")
        presence, frequency = self.presence_penalty or 0.0, self.frequency_penalty or 0.0
        return Nudges(bias, presence, frequency) if bias or presence or frequency else None

    def check_stream_options(self) -> None:
        """They are for streams alone."""
        if self.stream_options is not None and not self.stream:
            raise Fault("stream_options is only allowed when stream is true", "stream_options")

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the tokens used."""
        return bool(self.stream_options and self.stream_options.include_usage)


def check_context(prompt: int, answer: int | None, context: int, where: str) -> int:
    """How long the answer may be: as long as asked, or all that is left.

    Raises:
        Fault: when that is more than the context, in the words that clients look for.
    """
    limit = f"This model's maximum context length is {context} tokens. However, "
    if answer is not None and prompt + answer > context:
        raise Fault(
            f"{limit}you requested {prompt + answer} tokens ({prompt} in the {where}, {answer} in the completion). "
            f"Please reduce the length of the {where} or completion.",
            where,
            "context_length_exceeded",
        )
    if prompt >= context:
        raise Fault(
            f"{limit}your {where} resulted in {prompt} tokens. Please reduce the length of the {where}.",
            where,
            "context_length_exceeded",
        )
    return context - prompt if answer is None else answer


def check_model(asked: str, served: str) -> None:
    """One model is served, by its name."""
    if asked != served:
        raise Fault(
            f"the model {asked[:100]!r} does not exist here; there is {served!r}", "model", "model_not_found", 404
        )
