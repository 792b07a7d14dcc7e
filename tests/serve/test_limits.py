"""How much a key may ask for, by a clock that the tests turn."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from live import until
from people import log_in

from accordant.serve.access import LOCAL_ADMIN
from accordant.serve.app import create_app
from accordant.serve.limits import Holder, Limiter, LimitReached, Limits, UsageCounts
from accordant.serve.settings import ServeSettings
from accordant.store import audit, keys, usage
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.schema import Usage
from accordant.testing.scripted import ScriptedEngine

ANN, BOB = "ann", "key_bob"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Several accounts with the same limits."""

    def __init__(self, limiter: Limiter, limits: Limits) -> None:
        self.limiter, self._limits = limiter, limits

    def begin(self, who: str, tokens: int) -> None:
        self.limiter.begin([Holder(who, None, self._limits)], tokens)

    def end(self, who: str, unused: int) -> None:
        self.limiter.end([Holder(who, None, self._limits)], unused)


def limiter(**limits: int) -> tuple[Held, Clock]:
    clock = Clock()
    return Held(Limiter(clock), Limits(**limits)), clock


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
    assert len(limits.limiter._accounts) == 1


def test_limits_hold_over_http_and_usage_is_counted() -> None:
    usage = UsageCounts()
    settings = ServeSettings(limits=Limits(requests_per_minute=2))
    app = create_app(ScriptedEngine(["a b c"]), checkpoint_name="m", settings=settings, usage=usage)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert client.post("/v1/completions", json={"model": "m", "prompt": "one two three"}).status_code == 200
        refused = client.post("/v1/chat/completions", json=CHAT)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) in (29, 30)
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        elsewhere = client.post("/v1/completions", json={"model": "m", "prompt": "one"})
        assert elsewhere.status_code == 429
        assert "2 times a minute" in elsewhere.json()["error"]["message"]
    assert usage.requests == {LOCAL_ADMIN.user_id: 2}
    assert usage.tokens == {LOCAL_ADMIN.user_id: 2 * (3 + 3)}


def test_a_key_and_its_account_are_held_together_and_a_refusal_takes_from_neither() -> None:
    limiter, account = Limiter(Clock()), Holder("ann", None, Limits(tokens_per_minute=100))
    one = Holder("ann", "key_one", Limits(requests_per_minute=2))
    two = Holder("ann", "key_two", Limits(requests_per_minute=1))
    limiter.begin([account, two], 10)
    for _ in range(20):
        with pytest.raises(LimitReached, match="this key may ask 1 times"):
            limiter.begin([account, two], 10)
    limiter.begin([account, one], 90)  # what was refused took nothing of the account's 100
    with pytest.raises(LimitReached, match="this account may use 100 tokens"):
        limiter.begin([account, one], 1)
    limiter.end([account, one], 90)
    limiter.begin([account, one], 90)


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

    def counted() -> list[tuple[str, str, str, int, int, int]]:
        with database.read() as session:
            rows = usage.of_user(session, people["ada"])
        return [(day.key_id, name, day.model, day.requests, day.prompt_tokens, day.answer_tokens) for day, name in rows]

    until(lambda: counted() == [(row.id, "mine", "tiny", 2, 6, 6)])


def test_refusals_of_the_api_have_its_shape(serve: Callable[..., TestClient], people: dict[str, str]) -> None:
    refused = serve(accounts=True).post("/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert refused.json()["error"]["type"] == "authentication_error"
    assert refused.headers["www-authenticate"] == "Bearer"


def test_limits_of_a_key_are_set_by_its_owner_and_by_admins(
    serve: Callable[..., TestClient], people: dict[str, str], database: Database
) -> None:
    ada = log_in(serve(["a b c"], accounts=True), "ada")
    eve, root = log_in(ada, "eve"), log_in(ada, "root")
    made = ada.post("/api/keys", json={"name": "mine", "limits": {"requests_per_minute": 1}}).json()
    path, own = f"/api/keys/{made['about']['id']}", {"Authorization": f"Bearer {made['key']}"}
    assert made["about"]["limits"]["requests_per_minute"] == 1

    def ask() -> Any:
        return TestClient(ada.app, base_url="http://127.0.0.1").post(
            "/v1/chat/completions", json={**CHAT, "model": "tiny"}, headers=own
        )

    assert ask().status_code == 200
    refused = ask()
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(refused.headers["retry-after"]) in (59, 60)
    assert ada.post("/api/keys", json={"limits": {"requests_per_minute": 0}}).status_code == 422
    assert eve.patch(path, json={"limits": {}}).status_code == 404
    assert eve.get("/api/keys", params={"user": people["ada"]}).status_code == 403
    assert TestClient(ada.app, base_url="http://127.0.0.1", headers=own).patch(path, json={}).status_code == 403
    changed = ada.patch(path, json={"limits": {"tokens_per_day": 6}})
    assert changed.json()["limits"] | {"tokens_per_day": 6} == dict.fromkeys(Limits.model_fields) | {
        "tokens_per_day": 6
    }
    until(lambda: ada.get("/api/me/usage").json())  # what was used is counted after the answer
    spent = ask()  # 6 of 6
    assert spent.status_code == 429
    assert "used its 6 tokens of today" in spent.json()["error"]["message"]
    assert 0 < int(spent.headers["retry-after"]) <= 24 * 3600
    assert root.patch(path, json={"name": "hers", "limits": {"concurrency": 3}}).json()["name"] == "hers"
    assert root.get("/api/keys", params={"user": people["ada"]}).json()[0]["limits"]["concurrency"] == 3
    assert ask().status_code == 200
    with database.read() as session:
        found = [entry.actor for entry in audit.latest(session) if entry.action == "key.limits"]
    assert found == [people["root"], people["ada"]]
    assert root.delete(path).status_code == 204
    assert ask().status_code == 401


def test_a_day_of_an_account_holds_for_conversations_and_all_its_keys(
    serve: Callable[..., TestClient], people: dict[str, str], database: Database
) -> None:
    client = serve(["a b c"], accounts=True, settings=ServeSettings(limits=Limits(tokens_per_day=10)))
    ada = log_in(client, "ada")
    with database.write() as session:
        usage.add(session, people["ada"], "key_of_hers", "another model", 6, 4)
    one = ada.post("/api/conversations", json={}).json()["id"]
    refused = ada.post(f"/api/conversations/{one}/messages", json={"content": "q"})
    assert refused.status_code == 429
    assert "this account has used its 10 tokens" in refused.json()["error"]["message"]
    eve = log_in(client, "eve")
    two = eve.post("/api/conversations", json={}).json()["id"]
    assert eve.post(f"/api/conversations/{two}/messages", json={"content": "q"}).status_code == 202


def test_usage_is_shown_by_day_key_and_model_and_to_admins_by_user(
    serve: Callable[..., TestClient], people: dict[str, str], database: Database
) -> None:
    ada = log_in(serve(accounts=True), "ada")
    with database.write() as session:
        key = keys.add(session, people["ada"], "laptop").row.id
        for key_id, model, tokens in ((key, "m1", 10), (key, "m1", 5), (key, "m2", 1), (None, "m1", 2)):
            usage.add(session, people["ada"], key_id, model, tokens, 2 * tokens)
        usage.add(session, people["eve"], None, "m2", 1000, 1)
        older = {"user_id": people["ada"], "key_id": "", "model": "m1", "requests": 1, "prompt_tokens": 7}
        session.add(Usage(**older, day=now().date() - timedelta(days=40), answer_tokens=0))
    today = now().date().isoformat()
    rows = ada.get("/api/me/usage").json()
    assert [tuple(row.values()) for row in rows] == [
        (today, "", "", "m1", 1, 2, 4),
        (today, key, "laptop", "m1", 2, 15, 30),
        (today, key, "laptop", "m2", 1, 1, 2),
    ]
    assert len(ada.get("/api/me/usage?days=41").json()) == 4
    assert ada.get("/api/me/usage?days=0").status_code == 422
    assert ada.get("/api/usage").status_code == 403
    assert ada.get(f"/api/users/{people['eve']}/usage").status_code == 403
    root = log_in(ada, "root")
    assert [tuple(total.values())[1:] for total in root.get("/api/usage").json()] == [
        ("eve", "m2", 1, 1000, 1, today),
        ("ada", "m1", 3, 17, 34, today),
        ("ada", "m2", 1, 1, 2, today),
    ]
    assert root.get(f"/api/users/{people['ada']}/usage").json() == rows


def test_what_is_left_of_a_limit_is_told_and_comes_back() -> None:
    seconds = [0.0]
    limiter = Limiter(lambda: seconds[0])
    holder = Holder("u", None, Limits(requests_per_minute=6, tokens_per_minute=600, tokens_per_day=50, concurrency=2))
    assert limiter.left(holder, 20) == {
        "requests_per_minute": 6,
        "tokens_per_minute": 600,
        "tokens_per_day": 30,
        "concurrency": 2,
    }
    limiter.begin([holder], 100)
    assert list(limiter.left(holder, 70).values()) == [5, 500, 0, 1]
    seconds[0] += 5  # ten tokens come back in a second, a request in ten
    assert list(limiter.left(holder, 0).values()) == [5, 550, 50, 1]
    seconds[0] += 5
    limiter.end([holder], 60)
    assert list(limiter.left(holder, 0).values()) == [6, 600, 50, 2]
    assert limiter.left(Holder("u", None, Limits()), 0) == {}


def test_everybody_sees_the_limits_of_their_own_account(
    serve: Callable[..., TestClient], people: dict[str, str], database: Database
) -> None:
    limits = Limits(requests_per_minute=60, tokens_per_day=100)
    ada = log_in(serve(accounts=True, settings=ServeSettings(limits=limits)), "ada")
    with database.write() as session:
        usage.add(session, people["ada"], None, "m", 20, 10)
        usage.add(session, people["eve"], None, "m", 20, 99)

    def left() -> dict[str, tuple[int, int]]:
        return {limit["name"]: (limit["left"], limit["most"]) for limit in ada.get("/api/me/limits").json()}

    assert left() == {"requests_per_minute": (60, 60), "tokens_per_day": (70, 100)}
    one = ada.post("/api/conversations", json={}).json()["id"]
    assert ada.post(f"/api/conversations/{one}/messages", json={"content": "q"}).status_code == 202
    assert left()["requests_per_minute"] == (59, 60)
