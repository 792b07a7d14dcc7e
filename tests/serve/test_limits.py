"""How much a key may ask for, by a clock that the tests turn."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from live import until

from accordant.serve.access import LOCAL_ADMIN
from accordant.serve.app import create_app
from accordant.serve.limits import Limiter, LimitReached, Limits, UsageCounts
from accordant.serve.settings import ServeSettings
from accordant.store import keys, usage
from accordant.store.database import Database
from accordant.testing.scripted import ScriptedEngine

ANN, BOB = "ann", "key_bob"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(**limits: int) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(lambda _: Limits(**limits), clock), clock


def test_requests_per_minute_and_when_to_come_again() -> None:
    limits, clock = limiter(requests_per_minute=3)
    for _ in range(3):
        limits.begin(ANN, 1)
    with pytest.raises(LimitReached) as refusal:
        limits.begin(ANN, 1)
    assert refusal.value.retry_after == 20
    limits.begin(BOB, 1)
    clock.now += 19
    with pytest.raises(LimitReached):
        limits.begin(ANN, 1)
    clock.now += 1
    limits.begin(ANN, 1)


def test_tokens_are_set_aside_and_what_is_unused_comes_back() -> None:
    limits, _ = limiter(tokens_per_minute=100)
    limits.begin(ANN, 80)
    with pytest.raises(LimitReached):
        limits.begin(ANN, 80)
    limits.end(ANN, unused=70)
    limits.begin(ANN, 80)
    with pytest.raises(LimitReached, match="ask for a shorter answer"):
        limits.begin(BOB, 101)


def test_concurrency() -> None:
    limits, _ = limiter(concurrency=2)
    limits.begin(ANN, 1)
    limits.begin(ANN, 1)
    with pytest.raises(LimitReached, match="2 requests open"):
        limits.begin(ANN, 1)
    limits.begin(BOB, 1)
    limits.end(ANN, 0)
    limits.begin(ANN, 1)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=60))
def test_no_minute_ever_sees_more_than_twice_the_limit(asked: list[tuple[float, int]]) -> None:
    """A bucket that was full gives its content and what flows in meanwhile: at most twice the limit in a minute."""
    limits, clock = limiter(tokens_per_minute=100)
    given_at: list[tuple[float, int]] = []
    for wait, tokens in asked:
        clock.now += wait
        try:
            limits.begin(ANN, tokens)
        except LimitReached:
            continue
        limits.end(ANN, 0)
        given_at.append((clock.now, tokens))
        assert sum(amount for at, amount in given_at if at > clock.now - 60) <= 200 + 1e-6


def test_who_is_gone_is_forgotten() -> None:
    limits, clock = limiter(requests_per_minute=3)
    for number in range(100):
        limits.begin(f"user{number}", 1)
        limits.end(f"user{number}", 0)
    clock.now += 120
    limits.begin(ANN, 1)
    assert len(limits._accounts) == 1


def test_limits_hold_over_http_and_usage_is_counted() -> None:
    usage = UsageCounts()
    settings = ServeSettings(limits=Limits(requests_per_minute=2))
    app = create_app(ScriptedEngine(["a b c"]), checkpoint_name="m", settings=settings, usage=usage)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert client.post("/api/chat", json={"messages": CHAT["messages"]}).status_code == 200
        refused = client.post("/v1/chat/completions", json=CHAT)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) in (29, 30)
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        elsewhere = client.post("/api/chat", json={"messages": CHAT["messages"]})
        assert elsewhere.status_code == 429
        assert "2 times a minute" in elsewhere.json()["error"]["message"]
    assert usage.requests == {LOCAL_ADMIN.user_id: 2}
    assert usage.tokens == {LOCAL_ADMIN.user_id: 2 * (3 + 3)}


def test_a_refused_request_costs_no_tokens() -> None:
    settings = ServeSettings(limits=Limits(tokens_per_minute=3000, concurrency=1), most_waiting=1)
    app = create_app(ScriptedEngine(["a"]), checkpoint_name="m", settings=settings)
    with TestClient(app, base_url="http://localhost") as client:
        for _ in range(5):
            broken = {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "?"}}}
            assert client.post("/v1/chat/completions", json=broken).status_code == 400
        for _ in range(5):
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200


def test_usage_is_stored_for_users_and_keys(
    serve: Callable[..., TestClient], people: dict[str, str], database: Database
) -> None:
    client = serve(["a b c"], accounts=True)
    with database.write() as session:
        row, text = keys.add(session, people["ada"], "mine")
    own = {"Authorization": f"Bearer {text}"}
    body = {**CHAT, "model": "tiny"}
    assert client.post("/v1/chat/completions", json=body).status_code == 401
    for _ in range(2):
        assert client.post("/v1/chat/completions", json=body, headers=own).status_code == 200

    def counted() -> list[tuple[str, int, int, int]]:
        with database.read() as session:
            rows = usage.of_user(session, people["ada"])
        return [(day.key_id, day.requests, day.prompt_tokens, day.answer_tokens) for day in rows]

    until(lambda: counted() == [(row.id, 2, 6, 6)])


def test_refusals_of_the_api_have_its_shape(serve: Callable[..., TestClient], people: dict[str, str]) -> None:
    refused = serve(accounts=True).post("/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert refused.json()["error"]["type"] == "authentication_error"
    assert refused.headers["www-authenticate"] == "Bearer"
