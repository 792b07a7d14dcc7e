import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from accordant.engine import Engine
from accordant.errors import AccordantError
from accordant.serve.app import create_app
from accordant.serve.events import EVENT, Delta, Done, Error, Event
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.scripted import ScriptedEngine

HELLO = {"role": "user", "content": "hello there"}


def client_of(engine: Any, **settings: Any) -> TestClient:
    app = create_app(engine, "Accordant", "tiny", {"Parameters": "135M"}, **settings)
    return TestClient(app, base_url="http://127.0.0.1")


def events_of(body: str) -> list[Event]:
    lines = [line for line in body.split("\n\n") if line]
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [EVENT.validate_json(line.removeprefix("data: ")) for line in lines]


def ask(client: TestClient, *messages: dict[str, str], **settings: Any) -> list[Event]:
    response = client.post("/api/chat", json={"messages": list(messages) or [HELLO], **settings})
    assert response.status_code == 200, response.text
    return events_of(response.text)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_an_answer_is_streamed_piece_by_piece_and_then_done() -> None:
    reply = 'Naïve "quotes",\n\n```\nlines\n``` and 🙂 \u2028 data: x'
    response = client_of(ScriptedEngine([reply])).post("/api/chat", json={"messages": [HELLO]})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    *deltas, last = events_of(response.text)
    assert len(deltas) == len(reply.split(" "))
    assert text_of(deltas) == reply
    assert last == Done(finish="stop", prompt_tokens=3, answer_tokens=len(deltas), turns_left_out=0)


def test_the_limit_of_tokens_is_kept_and_said() -> None:
    events = ask(client_of(ScriptedEngine(["one two three"])), max_tokens=2)
    assert text_of(events) == "one two"
    assert events[-1] == Done(finish="length", prompt_tokens=3, answer_tokens=2, turns_left_out=0)


def test_settings_reach_the_engine_and_the_seed_is_new_each_time() -> None:
    engine = ScriptedEngine(["yes"])
    client = client_of(engine)
    ask(client, temperature=0.1, top_p=0.5, max_tokens=7, seed=11)
    ask(client)
    ask(client)
    first, second, third = [sampling for _, sampling in engine.asked]
    assert (first.temperature, first.top_p, first.max_tokens, first.seed) == (0.1, 0.5, 7, 11)
    assert second.seed != third.seed


def test_the_real_engine_answers() -> None:
    engine = Engine(tiny_model(), tiny_renderer())
    events = ask(client_of(engine, context=128), max_tokens=12, seed=3, temperature=1.0)
    assert isinstance(events[-1], Done)
    prompt = tiny_renderer().prompt
    from accordant.engine import Sampling
    from accordant.records import Message

    ids = prompt([Message(role="user", content=HELLO["content"])])
    [[answer]] = engine.generate([ids], Sampling(1.0, 0.9, 12, seed=3))
    assert text_of(events) == answer.text
    done = events[-1]
    assert (done.finish, done.prompt_tokens, done.answer_tokens) == (answer.finish, len(ids), len(answer.ids))


def test_a_long_history_is_cut_by_whole_turns() -> None:
    engine = ScriptedEngine(["ok"])
    said = [{"role": "system", "content": "be brief"}]
    for _ in range(5):
        said += [{"role": "user", "content": "a b c"}, {"role": "assistant", "content": "d e f"}]
    # 3 tokens of system, 8 for each turn, 3 for the question: two turns fit into 22.
    events = ask(client_of(engine, context=32), *said, HELLO, max_tokens=10)
    assert events[-1] == Done(finish="stop", prompt_tokens=22, answer_tokens=1, turns_left_out=3)


def test_a_message_that_cannot_fit_is_refused() -> None:
    client = client_of(ScriptedEngine(["ok"]), context=32)
    response = client.post("/api/chat", json={"messages": [{"role": "user", "content": "w " * 40}], "max_tokens": 10})
    assert response.status_code == 400
    assert "41 tokens" in response.json()["error"]["message"]
    assert "22" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "field messages is missing"),
        ({"messages": []}, "messages"),
        ({"messages": [HELLO, HELLO]}, "message 2 has role 'user', expected 'assistant'"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "message 1 has role 'assistant'"),
        ({"messages": [{"role": "system", "content": "hi"}]}, "last message must be from the user"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages.0.content must not be empty"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role = 'tool'"),
        ({"messages": [{"role": "user", "content": "x" * 100_001}]}, "at most 100000"),
        ({"messages": [HELLO], "temperature": -1}, "temperature = -1"),
        ({"messages": [HELLO], "temperature": "warm"}, "temperature = 'warm'"),
        ({"messages": [HELLO], "top_p": 0}, "top_p = 0"),
        ({"messages": [HELLO], "max_tokens": 4096}, "max_tokens = 4096"),
        ({"messages": [HELLO], "max_token": 4}, "unknown field max_token"),
        ({"messages": [HELLO], "seed": "\ud800" * 500}, "seed = "),
        ([], "dictionary"),
    ],
)
def test_bad_requests_are_refused_in_one_line(body: Any, said: str) -> None:
    engine = ScriptedEngine(["never"])
    raw = json.dumps(body)
    response = client_of(engine).post("/api/chat", content=raw, headers={"Content-Type": "application/json"})
    message = response.json()["error"]["message"]
    assert response.status_code == 422
    assert said in message
    assert "\n" not in message
    assert len(message) < 200
    assert not engine.asked


@pytest.mark.parametrize("raw", ["", "{", "null", '{"messages": NaN}'])
def test_bodies_that_are_no_request_are_refused_in_one_line(raw: str) -> None:
    client = client_of(ScriptedEngine(["never"]))
    response = client.post("/api/chat", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert "\n" not in response.json()["error"]["message"]


def test_a_form_post_from_another_page_is_not_taken() -> None:
    engine = ScriptedEngine(["never"])
    body = json.dumps({"messages": [HELLO]})
    response = client_of(engine).post("/api/chat", content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert not engine.asked


def test_a_failing_model_is_an_event_and_the_next_request_is_answered() -> None:
    engine = ScriptedEngine([ValueError("secret path"), AccordantError("the logits are not finite"), "fine"])
    client = client_of(engine)
    [unknown], [known], answer = ask(client), ask(client), ask(client)
    assert isinstance(unknown, Error)
    assert "secret" not in unknown.message
    assert known == Error(message="the logits are not finite")
    assert text_of(answer) == "fine"


def test_health_and_about() -> None:
    client = client_of(ScriptedEngine(["x"]))
    assert client.get("/health").json() == {"status": "ok", "checkpoint": "tiny", "waiting": 0}
    about = {
        "title": "Accordant",
        "checkpoint": "tiny",
        "moderation": "off",
        "facts": {"Parameters": "135M"},
        "measured": {},
    }
    assert client.get("/api/about").json() == about
    assert client.get("/nothing").json() == {"error": {"message": "Not Found"}}
