"""A server that is killed in the middle of an answer: what was stored is there, and the answer says what happened."""

import signal

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from tests.killed import run_child

from accordant.serve import answers
from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.serve.events import EVENT, Delta, Error
from accordant.store import generations
from accordant.store.database import Database
from accordant.store.schema import EventBatch, Generation
from accordant.testing.scripted import ScriptedEngine


def answer_for_ever(url: str) -> None:
    engine = ScriptedEngine([" ".join(f"w{number}" for number in range(1000))], delay=0.01)
    with TestClient(create_app(engine, access=Access(Database(url))), base_url="http://127.0.0.1") as client:
        one = client.post("/api/conversations", json={}).json()["id"]
        path = f"/api/conversations/{one}"
        begun = client.post(f"{path}/messages", json={"content": "go on", "max_tokens": 1000}).json()
        client.get(f"{path}/generations/{begun['generation']}/events")


def test_an_answer_survives_as_far_as_it_was_stored(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_batches() -> bool:
        with database.read() as session:
            return (session.scalar(sa.select(sa.func.count()).select_from(EventBatch)) or 0) >= 2

    assert run_child(answer_for_ever, database_url, when=two_batches, after=0.1) == -signal.SIGKILL
    with database.read() as session:
        made = session.scalars(sa.select(Generation)).one()
        stored = generations.events(session, made.id)
    assert made.status == "running"
    monkeypatch.setattr(generations, "LOST_AFTER", generations.LOST_AFTER * 0)
    assert answers.close_lost(database) == 1
    app = create_app(ScriptedEngine(["again"]), access=Access(database))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        path = f"/api/conversations/{made.conversation_id}"
        question, answer = client.get(path).json()["messages"]
        text = "".join(event["text"] for _, event in stored)
        assert answer["content"] == text
        assert text.split() == [f"w{number}" for number in range(len(stored))]
        assert (answer["generation"]["status"], answer["generation"]["error"]) == ("lost", answers.LOST)
        blocks = client.get(f"{path}/generations/{made.id}/events").text.split("\n\n")[:-1]
        events = [EVENT.validate_json(block.split("data: ", 1)[1]) for block in blocks]
        assert [type(event) for event in events] == [Delta] * len(stored) + [Error]
        again = client.post(f"{path}/messages/{question['id']}/answers", json={})
        assert again.status_code == 202
