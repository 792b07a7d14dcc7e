"""What whoever runs the service sees: health, metrics, logs, shutdown, and who may reach it."""

import asyncio
import json
import logging
import re
import threading
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from live import live, until
from prometheus_client.parser import text_string_to_metric_families

from accordant.errors import AccordantError
from accordant.serve.app import create_app
from accordant.serve.logs import JsonLines
from accordant.serve.settings import ServeSettings, load_settings
from accordant.testing.scripted import ScriptedEngine

CHAT = {"model": "m", "messages": [{"role": "user", "content": "a private question"}]}


def figures(client: TestClient) -> dict[str, float]:
    text = client.get("/metrics").text
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_happened() -> None:
    app = create_app(ScriptedEngine(["a b c", ValueError("x")]), checkpoint_name="m")
    with TestClient(app, base_url="http://localhost") as client:
        client.post("/v1/chat/completions", json=CHAT)
        client.post("/v1/chat/completions", json=CHAT)
        client.get("/v1/nothing/here?with=secrets")
        client.get("/v1/models/some/name")
        found = figures(client)
    assert found["accordant_requests_total /v1/chat/completions 200"] == 1
    assert found["accordant_requests_total /v1/chat/completions 500"] == 1
    assert found["accordant_jobs_total done"] == 1
    assert found["accordant_jobs_total failed"] == 1
    assert found["accordant_answer_tokens_total"] == 3
    assert found["accordant_prompt_tokens_total"] == 4
    assert found["accordant_first_token_seconds_count"] == 1
    assert found["accordant_running_answers"] == found["accordant_waiting_jobs"] == 0
    assert not any("secrets" in name or "some/name" in name for name in found), "labels have no end otherwise"


def test_alive_is_not_ready() -> None:
    app = create_app(ScriptedEngine(["a"]))
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/ready").json() == {"ready": True}
    app.state.service.scheduler.close()
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    refused = client.post("/v1/chat/completions", json={**CHAT, "model": "model"})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1


def test_logs_have_the_request_and_nothing_that_was_said(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(ScriptedEngine(["a private answer"]), checkpoint_name="m")
    caplog.set_level(logging.INFO, "accordant.serve")
    with TestClient(app, base_url="http://localhost") as client:
        client.post("/v1/chat/completions?q=private", json=CHAT, headers={"X-Request-Id": "abc-1"})
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == "accordant.serve"]
    [line] = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/chat/completions", 200)
    assert not re.search("private", json.dumps(lines))


def test_answers_are_logged_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(ScriptedEngine(["a private answer"]), checkpoint_name="m", settings=ServeSettings(log_text=True))
    caplog.set_level(logging.INFO, "accordant.serve")
    with TestClient(app, base_url="http://localhost") as client:
        client.post("/v1/chat/completions", json=CHAT)
    assert any("a private answer" in JsonLines().format(record) for record in caplog.records)


def test_a_request_carries_its_id_into_the_log() -> None:
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(JsonLines().format(record))

    logger = logging.getLogger("accordant.serve")
    handler, level = Keep(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        client = TestClient(create_app(ScriptedEngine(["a"])), base_url="http://localhost")
        given = client.get("/health", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"]
        own = client.get("/health").headers["x-request-id"]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert [json.loads(line)["request"] for line in seen] == [given, own]
    assert given == "abc-1"
    assert own.startswith("req_")


def test_an_error_that_nobody_expected_is_one_line_with_an_id() -> None:
    app = create_app(ScriptedEngine(["a"]), checkpoint_name="m")
    app.state.service.engine.request = None
    client = TestClient(app, base_url="http://localhost")
    answer = client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert "NoneType" not in answer.text
    assert "default-src" in answer.headers.get("content-security-policy", "default-src")


def test_shutdown_lets_answers_finish() -> None:
    engine = ScriptedEngine([" ".join(["word"] * 30)], delay=0.02)
    app = create_app(engine, checkpoint_name="m")
    texts: list[str] = []

    def ask(address: str) -> None:
        answer = httpx.post(f"{address}/v1/chat/completions", json=CHAT, timeout=60)
        texts.append(answer.json()["choices"][0]["message"]["content"])

    with live(app) as address:
        thread = threading.Thread(target=ask, args=(address,))
        thread.start()
        until(lambda: engine.written)
    thread.join()
    assert texts == [" ".join(["word"] * 30)]


def test_shutdown_has_a_time_limit() -> None:
    engine = ScriptedEngine([" ".join(["word"] * 3000)], delay=0.02)
    app = create_app(engine, checkpoint_name="m", context=4000, settings=ServeSettings(shutdown_seconds=0.3))
    status: list[int] = []

    def ask(address: str) -> None:
        status.append(httpx.post(f"{address}/v1/chat/completions", json=CHAT, timeout=60).status_code)

    with live(app) as address:
        thread = threading.Thread(target=ask, args=(address,))
        thread.start()
        until(lambda: engine.written)
    thread.join()
    assert status == [503]
    assert engine.written < 200


def test_settings_are_read_and_faults_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("answers_at_once = 3\n[limits]\nconcurrency = 2\n")
    found = load_settings(file)
    assert (found.answers_at_once, found.limits.concurrency, found.most_waiting) == (3, 2, 256)
    for text, said in (("answers_at_once = 0", "answers_at_once = 0"), ("x = 1", "unknown field x"), ("[", "TOML")):
        file.write_text(text)
        with pytest.raises(AccordantError, match=said):
            load_settings(file)
    with pytest.raises(AccordantError, match="do not exist"):
        load_settings(tmp_path / "none.toml")


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in ServeSettings.model_fields.values())


def test_the_event_loop_is_never_blocked_by_a_tokenizer() -> None:
    """A long prompt is counted in another thread: others are answered meanwhile."""
    import time

    class Slow(ScriptedEngine):
        def __init__(self) -> None:
            super().__init__(["x"])
            words = self.renderer.prompt
            self.renderer.prompt = lambda messages, /: (time.sleep(0.5), words(messages))[1]  # type: ignore

    app = create_app(Slow(), checkpoint_name="m")

    async def main() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            slow = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            assert (await client.get("/health")).status_code == 200
            assert time.monotonic() - began < 0.3
            assert (await slow).status_code == 200

    asyncio.run(main())
    app.state.service.scheduler.close()
