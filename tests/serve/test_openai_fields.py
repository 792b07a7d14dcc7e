"""Every field that OpenAI's own client knows is honoured or refused; a new one is noticed here."""

import json
from typing import Any, get_args, get_type_hints

import pytest
from fastapi.testclient import TestClient
from openai.types import completion_create_params, moderation_create_params
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageParam, ChatCompletionStreamOptionsParam
from openai.types.chat import completion_create_params as chat_params
from openai.types.shared_params import response_format_json_schema
from pydantic import BaseModel

from accordant.serve.app import create_app
from accordant.serve.openai.chat import ChatCompletionRequest, ChatMessage, NamedSchema, ResponseFormat
from accordant.serve.openai.completion import CompletionRequest
from accordant.serve.openai.fields import StreamOptions
from accordant.serve.routes.moderations import ModerationRequest
from accordant.testing.scripted import ScriptedEngine

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
TEXT = {"model": "tiny", "prompt": "hello"}
TOOL = {"type": "function", "function": {"name": "f"}}


def client(**settings: Any) -> TestClient:
    app = create_app(ScriptedEngine(["one two three four"], rows=4), checkpoint_name="tiny", **settings)
    return TestClient(app, base_url="http://localhost")


CLIENT = client()


def post(body: Any, path: str = "chat/completions", client: TestClient = CLIENT) -> Any:
    return client.post(f"/v1/{path}", content=json.dumps(body), headers={"Content-Type": "application/json"})


def known(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("ours", "theirs", "beyond"),
    [
        (ChatCompletionRequest, chat_params.CompletionCreateParamsBase, {"stream"}),
        (CompletionRequest, completion_create_params.CompletionCreateParamsBase, {"stream"}),
        (ModerationRequest, moderation_create_params.ModerationCreateParams, set()),
        (StreamOptions, ChatCompletionStreamOptionsParam, set()),
        (NamedSchema, response_format_json_schema.JSONSchema, set()),
    ],
)
def test_every_documented_field_is_known_and_no_other(ours: Any, theirs: Any, beyond: set[str]) -> None:
    assert known(ours) == set(theirs.__annotations__) | beyond


def test_every_field_of_a_message_is_known() -> None:
    theirs = {name for kind in get_args(ChatCompletionMessageParam) for name in kind.__annotations__}
    assert known(ChatMessage) == theirs | set(ChatCompletionMessage.model_fields)


def test_every_response_format_is_known() -> None:
    theirs = get_type_hints(chat_params.CompletionCreateParamsBase)["response_format"]
    ours = get_args(get_args(ResponseFormat)[0])
    assert len(ours) == len(get_args(theirs))


REFUSED = {
    "audio": {"voice": "alloy", "format": "wav"},
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "metadata": {"a": "b"},
    "modalities": ["text", "audio"],
    "moderation": {"model": "omni"},
    "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"a": 1},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "high",
    "service_tier": "flex",
    "store": True,
    "tool_choice": "required",
    "tools": [TOOL],
    "verbosity": "low",
    "web_search_options": {},
}
REFUSED_TEXT = {"best_of": 2, "echo": True, "suffix": "x"}


def is_refused(model: type[BaseModel], name: str) -> bool:
    return model.model_fields[name].annotation is type(None)


def test_the_lists_below_have_every_refused_field() -> None:
    for model, values in ((ChatCompletionRequest, REFUSED), (CompletionRequest, REFUSED_TEXT)):
        assert {name for name in model.model_fields if is_refused(model, name)} == set(values)


@pytest.mark.parametrize(
    ("path", "body", "name", "value"),
    [("chat/completions", CHAT, name, value) for name, value in REFUSED.items()]
    + [("completions", TEXT, name, value) for name, value in REFUSED_TEXT.items()],
)
def test_what_is_not_honoured_is_refused_by_name(path: str, body: Any, name: str, value: Any) -> None:
    answer = post({**body, name: value}, path)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["param"], error["code"], error["type"]) == (name, "unsupported_parameter", "invalid_request_error")
    assert name in error["message"]
    assert post({**body, name: None}, path).status_code == 200, "null is the same as nothing"


@pytest.mark.parametrize(
    ("name", "value"),
    [("tools", []), ("store", False), ("modalities", ["text"]), ("tool_choice", "none"), ("service_tier", "auto")],
)
def test_what_asks_for_nothing_is_taken(name: str, value: Any) -> None:
    assert post({**CHAT, name: value}).status_code == 200


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 5}, "n"),
        ({"n": 500}, "n"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": [""]}, "stop.0"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 3}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {"100000": 1}}, "logit_bias"),
        ({"logit_bias": {"a": 1}}, "logit_bias.a"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"stream": True, "stream_options": {"more": True}}, "stream_options.more"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        ({"unknown": 1}, "unknown"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages.0.name"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content",
        ),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [TOOL]}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [TOOL]}]}, "messages.0.tool_calls"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(more: Any, param: str) -> None:
    answer = post({**CHAT, **more})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["param"] == param
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": [1, 100_000]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": ["a"] * 5}, "n"),
        ({"logprobs": 6}, "logprobs"),
    ],
)
def test_a_wrong_completion_is_refused_by_its_place(more: Any, param: str) -> None:
    answer = post({**TEXT, **more}, "completions")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_another_model_is_not_found() -> None:
    for path, body in (("chat/completions", CHAT), ("completions", TEXT)):
        answer = post({**body, "model": "gpt-4o"}, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("asked", [{}, {"max_tokens": 10}])
def test_too_long_is_said_with_both_counts(asked: dict[str, int]) -> None:
    small = client(context=32)
    for path, body in (
        ("chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "w " * 40}], **asked}),
        ("completions", {"model": "tiny", "prompt": "w " * 40, **asked}),
    ):
        answer = post(body, path, small)
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert error["code"] == "context_length_exceeded"
        assert error["type"] == "invalid_request_error"
        assert "maximum context length is 32 tokens" in error["message"]
        assert "41" in error["message"] or "40" in error["message"]


def test_without_a_limit_the_rest_of_the_context_is_the_limit() -> None:
    engine = ScriptedEngine(["x"], rows=1)
    app = create_app(engine, checkpoint_name="tiny", context=100)
    post(CHAT, client=TestClient(app, base_url="http://localhost"))
    assert engine.asks[0].sampling.max_tokens == 100 - 2


def test_fields_reach_the_engine() -> None:
    engine = ScriptedEngine(["x"], rows=4)
    asker = TestClient(create_app(engine, checkpoint_name="tiny"), base_url="http://localhost")
    drawn = {"temperature": 0.3, "top_p": 0.5, "seed": -7, "stop": "END", "n": 2}
    pushed = {"presence_penalty": 0.5, "frequency_penalty": -1, "logit_bias": {"7": -100}}
    assert post({**CHAT, **drawn, **pushed, "max_completion_tokens": 9}, client=asker).status_code == 200
    [ask] = engine.asks
    sampling = ask.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed, sampling.stop) == (0.3, 0.5, -7, ("END",))
    assert (sampling.max_tokens, ask.samples) == (9, 2)
    assert ask.nudges is not None
    assert (dict(ask.nudges.bias), ask.nudges.presence, ask.nudges.frequency) == ({7: -100.0}, 0.5, -1.0)
    assert ask.alternatives is None
    assert ask.schema is None
    schema = {"type": "array"}
    more = {
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    }
    post({**CHAT, **more}, client=asker)
    assert (engine.asks[-1].alternatives, engine.asks[-1].schema) == (3, schema)
    post({**CHAT, "response_format": {"type": "json_object"}}, client=asker)
    assert engine.asks[-1].schema == {"type": "object"}
    assert engine.asks[-1].sampling.seed != engine.asks[-2].sampling.seed, "without a seed each answer has a new one"


def test_messages_reach_the_template() -> None:
    seen: list[Any] = []

    class Spy(ScriptedEngine):
        def __init__(self) -> None:
            super().__init__(["x"])
            words = self.renderer.prompt
            self.renderer.prompt = lambda messages, /: seen.append(list(messages)) or words(messages)  # type: ignore

    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "", "refusal": None, "tool_calls": None, "annotations": []},
        {"role": "user", "content": "again"},
    ]
    asker = TestClient(create_app(Spy(), checkpoint_name="tiny"), base_url="http://localhost")
    assert post({"model": "tiny", "messages": messages}, client=asker).status_code == 200
    assert [(message.role, message.content) for message in seen[0]] == [
        ("system", "be brief"),
        ("user", "one\ntwo"),
        ("assistant", ""),
        ("user", "again"),
    ]


def test_what_is_not_there_is_said_in_openais_shape() -> None:
    for method, path, status in (
        ("POST", "embeddings", 404),
        ("POST", "moderations", 404),
        ("GET", "assistants", 404),
        ("GET", "models/other", 404),
        ("DELETE", "models", 405),
        ("POST", "models", 405),
    ):
        answer = CLIENT.request(method, f"/v1/{path}", json={"input": "x"} if method == "POST" else None)
        error = answer.json()["error"]
        assert answer.status_code == status, path
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
    assert "classifier" in CLIENT.post("/v1/moderations", json={"input": "x"}).json()["error"]["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"\xff\xfe{}", b'{"messages": NaN}', b"[" * 100_000])
def test_what_is_no_request_is_a_400_in_openais_shape(raw: bytes) -> None:
    for path in ("chat/completions", "completions", "moderations"):
        answer = CLIENT.post(f"/v1/{path}", content=raw, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
