from typing import Any

from fastapi.testclient import TestClient

from accordant.serve.app import create_app
from accordant.testing.scripted import ScriptedEngine


def client_of(engine: Any) -> TestClient:
    app = create_app(engine, "Accordant", "tiny", {"Parameters": "135M"})
    return TestClient(app, base_url="http://127.0.0.1")


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


def test_a_form_post_from_another_page_is_not_taken() -> None:
    engine = ScriptedEngine(["never"])
    body = '{"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}'
    response = client_of(engine).post("/v1/chat/completions", content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 400
    assert not engine.asked
