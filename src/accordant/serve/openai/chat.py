"""The request of /v1/chat/completions: every field that OpenAI documents, honoured or refused."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from accordant.records import Message, Role
from accordant.serve.faults import Fault
from accordant.serve.openai.fields import Body, Drawing, Name, Tokens, Words, refuse

TEXT_ONLY = "this model reads and writes text alone"
NO_TOOLS = "this model has not learned to call tools"


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: str


def _joined(content: object) -> object:
    """A message's parts as one text, a line each."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise PydanticCustomError(
                "unsupported_value",
                "parts of type {kind} are not supported: {reason}",
                {"kind": repr(kind)[:40], "reason": TEXT_ONLY},
            )
        if not isinstance(part.get("text"), str) or set(part) != {"type", "text"}:
            raise PydanticCustomError("text_part", "a text part has the fields type and text, and no others")
        texts.append(part["text"])
    if not texts:
        raise PydanticCustomError("no_parts", "must have at least one part")
    return "\n".join(texts)


def _no_tool(role: object) -> object:
    if role in ("tool", "function"):
        raise PydanticCustomError("unsupported_value", "not supported: {reason}", {"reason": NO_TOOLS})
    return role


class ChatMessage(Body):
    """One turn; `developer` is the newer name of `system`."""

    role: Annotated[Literal["system", "developer", "user", "assistant"], BeforeValidator(_no_tool)]
    content: Annotated[Words, BeforeValidator(_joined, json_schema_input_type=str | list[TextPart])]
    name: Annotated[None, refuse("the chat template has no place for names")] = None
    refusal: Annotated[None, refuse("refusals are answers like any others here")] = None
    audio: Annotated[None, refuse(TEXT_ONLY)] = None
    annotations: Annotated[None, refuse("answers have none here", [])] = None
    function_call: Annotated[None, refuse(NO_TOOLS)] = None
    tool_calls: Annotated[None, refuse(NO_TOOLS, [])] = None
    tool_call_id: Annotated[None, refuse(NO_TOOLS)] = None

    def to_record(self) -> Message:
        """Ours. An answer may have been empty, so the record's own check of that is left out."""
        role: Role = "system" if self.role == "developer" else self.role
        return Message.model_construct(role=role, content=self.content)


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Body):
    """A JSON schema; it is always kept to, `strict` or not."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None
    description: Annotated[None, refuse("the model is not shown it; say it in a message")] = None


class JsonSchemaFormat(Body):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class ChatCompletionRequest(Drawing):
    """POST /v1/chat/completions."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=1000)
    logprobs: bool | None = None
    max_completion_tokens: Tokens | None = Field(None, description="Absent: all that the context leaves.")
    max_tokens: Tokens | None = Field(None, description="The older name of max_completion_tokens.")
    response_format: ResponseFormat | None = None
    safety_identifier: Name | None = Field(None, description="The newer name of user.")
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    audio: Annotated[None, refuse(TEXT_ONLY)] = None
    function_call: Annotated[None, refuse(NO_TOOLS, "none")] = None
    functions: Annotated[None, refuse(NO_TOOLS, [])] = None
    metadata: Annotated[None, refuse("completions are not stored", {})] = None
    modalities: Annotated[None, refuse(TEXT_ONLY, ["text"])] = None
    moderation: Annotated[None, refuse("ask /v1/moderations")] = None
    parallel_tool_calls: Annotated[None, refuse(NO_TOOLS)] = None
    prediction: Annotated[None, refuse("answers are not predicted")] = None
    prompt_cache_key: Annotated[None, refuse("prompts are not cached")] = None
    prompt_cache_options: Annotated[None, refuse("prompts are not cached")] = None
    prompt_cache_retention: Annotated[None, refuse("prompts are not cached")] = None
    reasoning_effort: Annotated[None, refuse("this model does not reason before it answers", "none")] = None
    service_tier: Annotated[None, refuse("there is one tier", "auto", "default")] = None
    store: Annotated[None, refuse("completions are not stored", False)] = None
    tool_choice: Annotated[None, refuse(NO_TOOLS, "none", "auto")] = None
    tools: Annotated[None, refuse(NO_TOOLS, [])] = None
    verbosity: Annotated[None, refuse("this model has not learned to heed it; say it in a message")] = None
    web_search_options: Annotated[None, refuse("nothing is searched")] = None

    @property
    def longest(self) -> int | None:
        """The asked limit of an answer.

        Raises:
            Fault: when it is given twice.
        """
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise Fault("give max_completion_tokens or its older name max_tokens, not both", "max_tokens")
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to each token are wanted; None without log-probs.

        Raises:
            Fault: for top_logprobs without logprobs.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise Fault("top_logprobs needs logprobs = true", "top_logprobs")
        return self.top_logprobs or 0 if self.logprobs else None

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """What the answer must be JSON of."""
        match self.response_format:
            case JsonObjectFormat():
                return {"type": "object"}
            case JsonSchemaFormat(json_schema=named):
                return {"type": "object"} if named.schema_ is None else named.schema_
        return None
