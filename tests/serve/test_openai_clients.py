"""The API as its clients see it: OpenAI's own (plain, async, streaming) and LangChain's, over real sockets."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch
from langchain_openai import ChatOpenAI
from langchain_openai import OpenAI as LangChainOpenAI
from live import live, until
from pydantic import BaseModel

from accordant.engine import Engine, Sampling
from accordant.model import PackedAttention
from accordant.records import Message
from accordant.serve.app import create_app
from accordant.serve.moderation import Moderation
from accordant.serve.settings import ServeSettings
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.moderation import WordModerator
from accordant.testing.scripted import ScriptedEngine

RENDERER = tiny_renderer()
ASKED = [{"role": "user", "content": "Where does the river begin?"}]
PROMPT = RENDERER.prompt([Message(**ASKED[0])])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A server with a real, tiny model."""
    app = create_app(Engine(tiny_model(), RENDERER, rows=4), checkpoint_name="tiny", context=512)
    with live(app) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def client(base: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base, api_key="none needed", max_retries=0)


def expected(sampling: Sampling, samples: int = 1) -> Any:
    return Engine(tiny_model(), RENDERER).generate([PROMPT], sampling, samples)[0]


def test_an_answer_is_what_the_engine_gives(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="tiny",
        messages=ASKED,
        seed=3,
        max_completion_tokens=20,
        top_p=0.9,
        n=2,
        extra_headers={"X-Request-Id": "mine"},
    )
    answers = expected(Sampling(1.0, 0.9, 20, seed=3), 2)
    assert [choice.message.content for choice in found.choices] == [answer.text for answer in answers]
    assert [choice.finish_reason for choice in found.choices] == [answer.finish for answer in answers]
    assert [choice.index for choice in found.choices] == [0, 1]
    assert found.object == "chat.completion"
    assert found.choices[0].message.role == "assistant"
    assert found.usage is not None
    assert found.usage.prompt_tokens == len(PROMPT)
    assert found.usage.completion_tokens == sum(len(answer.ids) for answer in answers)
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert found._request_id == "mine"


def test_a_stream_is_the_same_answer_in_the_pinned_shape(client: openai.OpenAI) -> None:
    settings: Any = {"model": "tiny", "messages": ASKED, "seed": 3, "max_tokens": 20, "n": 2}
    whole = client.chat.completions.create(**settings)
    chunks = list(client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].object == "chat.completion.chunk"
    *content, usage = chunks
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in content)
    for number in range(2):
        own = [chunk.choices[0] for chunk in content if chunk.choices[0].index == number]
        assert own[0].delta.role == "assistant"
        assert all(choice.delta.role is None for choice in own[1:])
        assert "".join(choice.delta.content or "" for choice in own) == whole.choices[number].message.content
        assert [choice.finish_reason for choice in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].finish_reason == whole.choices[number].finish_reason
        assert own[-1].delta.model_dump(exclude_unset=True) == {}


def test_nothing_is_sent_that_was_not_asked_for(base: str) -> None:
    import httpx

    body = {"model": "tiny", "messages": ASKED, "max_tokens": 4, "stream": True}
    with httpx.stream("POST", f"{base}/chat/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        chunk = json.loads(line.removeprefix("data: "))
        assert set(chunk) == {"id", "object", "created", "model", "choices"}
        assert set(chunk["choices"][0]) == {"index", "delta", "logprobs", "finish_reason"}


def test_the_async_client_and_many_at_once(base: str) -> None:
    """More requests than places, each with its own settings: each gets what it would get alone."""
    settings = [Sampling(seed % 3 / 2, 0.7 + 0.3 * (seed % 2), 4 + seed, seed=seed) for seed in range(10)]

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=base, api_key="x", max_retries=0) as client:

            async def ask(own: Sampling) -> str:
                stream = await client.chat.completions.create(
                    model="tiny",
                    messages=ASKED,  # type: ignore[arg-type]
                    seed=own.seed,
                    temperature=own.temperature,
                    top_p=own.top_p,
                    max_tokens=own.max_tokens,
                    stream=True,
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*map(ask, settings))

    assert asyncio.run(main()) == [expected(own)[0].text for own in settings]


def test_stop_ends_and_is_cut_off_streamed_or_not(client: openai.OpenAI) -> None:
    whole = expected(Sampling(max_tokens=40, seed=1))[0].text
    stop = whole[10:13]
    settings: Any = {"model": "tiny", "messages": ASKED, "seed": 1, "max_tokens": 40, "stop": [stop, "never there"]}
    found = client.chat.completions.create(**settings).choices[0]
    assert found.message.content == whole.split(stop)[0]
    assert found.finish_reason == "stop"
    chunks = client.chat.completions.create(**settings, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == found.message.content


def test_log_probs_are_the_models_own(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="tiny", messages=ASKED, seed=5, max_tokens=12, temperature=0.5, logprobs=True, top_logprobs=3
    )
    answer = expected(Sampling(0.5, max_tokens=12, seed=5))[0]
    assert found.choices[0].logprobs is not None
    tokens = found.choices[0].logprobs.content
    assert tokens is not None
    said = [token for token in answer.ids if token != RENDERER.tokenizer.end_of_turn]
    ids = PROMPT + answer.ids
    with torch.inference_mode():
        logits = tiny_model()(torch.tensor(ids), PackedAttention([len(ids)])).double()
    assert len(tokens) == len(said)
    assert bytes(byte for token in tokens for byte in token.bytes or []).decode(errors="replace") == answer.text
    for place, (token, own) in enumerate(zip(said, tokens, strict=True), start=len(PROMPT) - 1):
        log_probs = logits[place] - logits[place].logsumexp(-1)
        assert own.logprob == pytest.approx(float(log_probs[token]), abs=1e-4)
        likeliest = log_probs.sort(descending=True).values[:3].tolist()
        assert [other.logprob for other in own.top_logprobs] == pytest.approx(likeliest, abs=1e-4)
    plain = client.chat.completions.create(model="tiny", messages=ASKED, max_tokens=2)
    assert plain.choices[0].logprobs is None
    streamed = client.chat.completions.create(
        model="tiny", messages=ASKED, seed=5, max_tokens=12, temperature=0.5, logprobs=True, top_logprobs=3, stream=True
    )
    parts = [chunk.choices[0].logprobs for chunk in streamed]
    assert [token for part in parts if part for token in part.content or []] == tokens


def test_no_token_of_a_text_that_was_cut_off_is_shown(client: openai.OpenAI) -> None:
    whole = expected(Sampling(max_tokens=40, seed=1))[0].text
    settings: Any = {
        "model": "tiny",
        "messages": ASKED,
        "seed": 1,
        "max_tokens": 40,
        "stop": whole[10:13],
        "logprobs": True,
    }
    found = client.chat.completions.create(**settings).choices[0]
    assert found.logprobs is not None
    shown = b"".join(bytes(token.bytes or []) for token in found.logprobs.content or []).decode(errors="replace")
    assert shown.startswith(found.message.content or "")
    assert len(shown) <= 13, "at most the token in which the stop text begins"
    streamed = client.chat.completions.create(**settings, stream=True)
    parts = [chunk.choices[0].logprobs for chunk in streamed]
    assert [token for part in parts if part for token in part.content or []] == found.logprobs.content


def test_penalties_and_biases_are_felt(client: openai.OpenAI) -> None:
    settings: Any = {"model": "tiny", "messages": ASKED, "seed": 1, "max_tokens": 30, "temperature": 0}
    [letter] = RENDERER.tokenizer.encode("b")
    biased = client.chat.completions.create(**settings, logit_bias={str(letter): 100})
    assert biased.choices[0].message.content == "b" * 30
    [end] = [RENDERER.tokenizer.end_of_turn]
    ended = client.chat.completions.create(**settings, logit_bias={str(end): 100})
    assert (ended.choices[0].message.content, ended.choices[0].finish_reason) == ("", "stop")
    pushed = client.chat.completions.create(**settings, logit_bias={str(letter): 20}, frequency_penalty=2)
    run = (pushed.choices[0].message.content or "").split("b" * 2)
    assert 1 < (pushed.choices[0].message.content or "").count("b") < 30, run


class River(BaseModel):
    name: str
    length: int
    banks: list[bool]


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["river", "sea"]},
        "length": {"type": "integer", "minimum": 0, "maximum": 999},
        "wet": {"type": "boolean"},
    },
    "required": ["kind", "length", "wet"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(5))
def test_json_follows_its_schema_by_construction(client: openai.OpenAI, seed: int) -> None:
    found = client.chat.completions.create(
        model="tiny",
        messages=ASKED,
        seed=seed,
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "water", "schema": SCHEMA, "strict": True}},
    )
    value = json.loads(found.choices[0].message.content or "")
    assert found.choices[0].finish_reason == "stop"
    assert set(value) == {"kind", "length", "wet"}
    assert value["kind"] in ("river", "sea")
    assert 0 <= value["length"] <= 999
    assert isinstance(value["wet"], bool)


def test_json_objects_begin_as_such(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="tiny", messages=ASKED, seed=2, max_tokens=100, response_format={"type": "json_object"}
    ).choices[0]
    text = found.message.content or ""
    assert text.startswith("{")
    if found.finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


def test_a_schema_that_cannot_be_kept_to_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(
            model="tiny",
            messages=ASKED,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nonsense"}}},
        )
    assert refusal.value.param == "response_format"
    assert "nonsense" in refusal.value.message


def test_the_other_completions(client: openai.OpenAI) -> None:
    ids = RENDERER.tokenizer.encode("The river")
    prompts = [ids, RENDERER.tokenizer.encode("Rain")]
    answers = Engine(tiny_model(), RENDERER).generate(prompts, Sampling(max_tokens=16, seed=4), numbers=[0, 0])
    texts = [answer.text for [answer] in answers]
    by_text = client.completions.create(model="tiny", prompt=["The river", "Rain"], seed=4)
    by_ids = client.completions.create(model="tiny", prompt=prompts, seed=4)
    assert [choice.text for choice in by_text.choices] == texts == [choice.text for choice in by_ids.choices]
    assert by_text.object == "text_completion"
    assert by_text.usage is not None
    assert by_text.usage.prompt_tokens == sum(map(len, prompts))
    assert by_text.usage.completion_tokens == sum(len(answer.ids) for [answer] in answers)
    streamed = list(client.completions.create(model="tiny", prompt="The river", seed=4, stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == texts[0]
    assert streamed[-1].choices[0].finish_reason == by_text.choices[0].finish_reason
    assert {chunk.object for chunk in streamed} == {"text_completion"}


@pytest.mark.parametrize("stream", [False, True])
def test_the_older_log_probs(client: openai.OpenAI, stream: bool) -> None:
    settings: Any = {"model": "tiny", "prompt": "The river", "seed": 4, "max_tokens": 10, "logprobs": 2}
    found = client.completions.create(**settings).choices[0]
    shown = found.logprobs
    assert shown is not None
    assert shown.tokens is not None
    assert len(shown.tokens) == len(shown.token_logprobs or []) == len(shown.top_logprobs or [])
    assert all(len(top) == 2 and max(top.values()) < 0 for top in shown.top_logprobs or [])
    for token, offset in zip(shown.tokens, shown.text_offset or [], strict=True):
        assert token.startswith("bytes:") or found.text[offset:].startswith(token)
    streamed = [chunk.choices[0].logprobs for chunk in client.completions.create(**settings, stream=True)]
    for name in ("tokens", "token_logprobs", "text_offset"):
        parts = [value for part in streamed if part for value in getattr(part, name)]
        assert parts == getattr(shown, name)


def test_models(client: openai.OpenAI) -> None:
    [model] = list(client.models.list())
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "accordant")
    assert client.models.retrieve("tiny") == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_refusals_are_the_clients_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4o", messages=ASKED)
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(
            model="tiny", messages=ASKED, tools=[{"type": "function", "function": {"name": "f"}}]
        )
    assert refusal.value.param == "tools"
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "a b c " * 400}])
    assert refusal.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="tiny", input="x")
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="x")


def test_moderations() -> None:
    words = WordModerator(["hate"], ["doubtful"], "hate")
    app = create_app(ScriptedEngine(["x"]), moderation=Moderation(lambda: words))
    with live(app) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0)
        one = client.moderations.create(input="I hate this")
        assert one.model == "words"
        [result] = one.results
        assert result.flagged
        assert result.categories.hate
        assert not result.categories.violence
        assert (result.category_scores.hate, result.category_scores.violence) == (1.0, 0.0)
        several = client.moderations.create(input=["kind", "hateful"], model="words").results
        assert [each.flagged for each in several] == [False, True]
        parts = client.moderations.create(input=[{"type": "text", "text": "hate"}]).results
        assert parts[0].flagged
        with pytest.raises(openai.BadRequestError):
            client.moderations.create(input=[{"type": "image_url", "image_url": {"url": "x"}}])
        with pytest.raises(openai.NotFoundError):
            client.moderations.create(input="x", model="omni-moderation-latest")


def test_langchain(base: str) -> None:
    settings: Any = {"base_url": base, "api_key": "x", "model": "tiny", "max_retries": 0, "seed": 3}
    chat = ChatOpenAI(**settings, temperature=0, max_completion_tokens=12)
    whole = chat.invoke([("system", "be brief"), ("human", "Where?")])
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    streamed = list(chat.stream([("system", "be brief"), ("human", "Where?")]))
    assert "".join(str(chunk.content) for chunk in streamed) == whole.content
    assert whole.response_metadata["finish_reason"] in ("stop", "length")
    plain = LangChainOpenAI(**settings, temperature=0, max_tokens=12)
    assert plain.invoke("The river") == "".join(plain.stream("The river"))


def test_langchain_structured_output(base: str) -> None:
    chat = ChatOpenAI(base_url=base, api_key="x", model="tiny", max_retries=0, seed=3, max_completion_tokens=400)  # type: ignore
    river = chat.with_structured_output(SCHEMA | {"title": "water"}, method="json_schema").invoke("Which one?")
    assert set(river) == {"kind", "length", "wet"}  # type: ignore[arg-type]


def test_too_many_are_told_when_to_come_again() -> None:
    engine = ScriptedEngine([" ".join(["word"] * 400)], delay=0.01)
    app = create_app(engine, checkpoint_name="tiny", settings=ServeSettings(most_waiting=1))
    with live(app) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0)
        open_streams = []
        for wanted in (1, 0):  # the second stands in line
            open_streams.append(client.chat.completions.create(model="tiny", messages=ASKED, stream=True))
            until(lambda wanted=wanted: app.state.service.scheduler.running() >= wanted)  # type: ignore[misc]
        with pytest.raises(openai.RateLimitError) as refusal:
            client.chat.completions.create(model="tiny", messages=ASKED)
        assert int(refusal.value.response.headers["retry-after"]) >= 1
        assert refusal.value.code == "rate_limit_exceeded"
        for stream in open_streams:
            stream.close()
        until(lambda: app.state.service.scheduler.running() == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_closed_socket_frees_its_place_within_a_token(stream: bool) -> None:
    engine = ScriptedEngine([" ".join(["word"] * 1000)], delay=0.02)
    app = create_app(engine, checkpoint_name="tiny")
    with live(app) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0, timeout=0.3)
        if stream:
            chunks = client.chat.completions.create(model="tiny", messages=ASKED, stream=True)
            next(iter(chunks))
            chunks.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(model="tiny", messages=ASKED)
        until(lambda: app.state.service.scheduler.running() == 0)
        assert engine.written < 100


def test_a_failing_model_is_an_error_for_the_client_and_not_for_the_next() -> None:
    engine = ScriptedEngine([ValueError("secret path"), ValueError("secret path"), "fine"])
    with live(create_app(engine, checkpoint_name="tiny")) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0)
        with pytest.raises(openai.InternalServerError) as failure:
            client.chat.completions.create(model="tiny", messages=ASKED)
        assert "secret" not in str(failure.value)
        with pytest.raises(openai.APIError, match="the model failed"):
            list(client.chat.completions.create(model="tiny", messages=ASKED, stream=True))
        assert client.chat.completions.create(model="tiny", messages=ASKED).choices[0].message.content == "fine"
