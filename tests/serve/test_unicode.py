"""Whatever the model says, the pieces put together are the whole, in every character there is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from torch import Tensor

from accordant.engine import Engine
from accordant.model import Transformer
from accordant.serve.app import create_app
from accordant.testing import tiny_config, tiny_renderer
from accordant.testing.scripted import ScriptedEngine

TOKENIZER = tiny_renderer().tokenizer
ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


class Dictated(Transformer):
    """Says the tokens of `said`, one answer after the other."""

    said: list[int]

    def __init__(self) -> None:
        super().__init__(tiny_config())

    def logits(self, hidden: Tensor) -> Tensor:
        logits = torch.zeros(len(hidden), self.config.vocab_size)
        logits[:, self.said[0]] = 1e4
        self.said = self.said[1:] or [TOKENIZER.end_of_turn]
        return logits


MODEL = Dictated()
SCRIPTED = ScriptedEngine(["x"])


def connected(engine: Any) -> Iterator[TestClient]:
    with TestClient(create_app(engine, checkpoint_name="m", context=512), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def real() -> Iterator[TestClient]:
    yield from connected(Engine(MODEL, tiny_renderer(), 1))


@pytest.fixture(scope="module")
def scripted() -> Iterator[TestClient]:
    yield from connected(SCRIPTED)


def streamed(client: TestClient) -> str:
    """The deltas as OpenAI's own decoder reads them."""
    raw = client.post("/v1/chat/completions", json={**ASK, "stream": True}).content
    read = [event.data for event in SSEDecoder().iter_bytes(iter([raw]))]
    assert read[-1] == "[DONE]"
    deltas = [json.loads(data)["choices"][0]["delta"] for data in read[:-1]]
    return "".join(delta.get("content", "") for delta in deltas)


def whole(client: TestClient) -> Any:
    return client.post("/v1/chat/completions", json=ASK).json()["choices"][0]["message"]["content"]


ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(ANY)
@example("\ufffd")
@example("a\ufffd\ufffd 😀\u2028\u2029\x85\r\ndata: [DONE]\n\nid: 1\n: x")
@example("👩‍👩‍👧‍👦 नमस्ते 한국어 \x00\x1b[2J")
@settings(max_examples=20)
def test_deltas_of_a_real_tokenizer_are_the_whole_text(real: TestClient, text: str) -> None:
    MODEL.said = [*TOKENIZER.encode(text), TOKENIZER.end_of_turn]
    assert streamed(real) == text
    MODEL.said = [*TOKENIZER.encode(text), TOKENIZER.end_of_turn]
    assert whole(real) == text


@given(ANY)
@example("data: x\n\ndata: [DONE]\r\r\u2028 \ufffd")
@settings(max_examples=20)
def test_deltas_of_any_text_are_the_whole_text(scripted: TestClient, text: str) -> None:
    SCRIPTED.say([text])
    assert streamed(scripted) == text == whole(scripted)
