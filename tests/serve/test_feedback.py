"""Feedback over HTTP: thumbs, ideal answers, reports on the filter, choices; replaced, withdrawn, reviewed, deleted."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from people import log_in
from test_conversations import answered, begin, read, statements

from accordant.store import audit, users
from accordant.store.database import Database
from accordant.store.schema import Feedback

Serve = Callable[..., TestClient]


def put(client: TestClient, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = client.put(path, json=body)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def talk(client: TestClient, **settings: Any) -> tuple[str, dict[str, Any]]:
    """A conversation with one question and its answer."""
    one = begin(client, **settings)
    return one, answered(client, one, "what is rain?")


def another_answer(client: TestClient, one: str, answer: str) -> str:
    begun = client.post(f"/api/conversations/{one}/messages/{answer}/answers", json={}).json()
    read(client, one, begun["generation"])
    return str(begun["answer"])


def entries(database: Database, start: str) -> list[tuple[str, dict[str, Any]]]:
    with database.read() as session:
        return [(e.action, e.details) for e in reversed(audit.latest(session)) if e.action.startswith(start)]


def test_a_rating_is_given_changed_and_withdrawn_and_the_log_keeps_its_history(
    serve: Serve, database: Database
) -> None:
    client = serve()
    one, begun = talk(client)
    path = f"/api/conversations/{one}/messages/{begun['answer']}/rating"
    first = put(client, path, thumb="up")
    assert first["said"] == {"kind": "rating", "thumb": "up", "reasons": [], "note": "", "ideal": ""}
    second = put(client, path, thumb="down", reasons=["untrue", "not_helpful"], note="dry?", ideal="Water that falls.")
    assert (second["id"], second["message"], second["other"]) == (first["id"], begun["answer"], None)
    assert second["said"]["ideal"] == "Water that falls."
    exported = client.get(f"/api/conversations/{one}/export").json()["feedback"]
    assert exported == [{"id": first["id"], "message": begun["answer"], "other": None, **second["said"]}]
    listed = client.get(f"/api/conversations/{one}/feedback").json()
    assert listed == {"feedback": [second]}
    assert client.delete(f"/api/feedback/{first['id']}").status_code == 204
    assert client.delete(f"/api/feedback/{first['id']}").status_code == 404
    assert client.get(f"/api/conversations/{one}/feedback").json() == {"feedback": []}
    log = entries(database, "feedback")
    assert [action for action, _ in log] == ["feedback.give", "feedback.change", "feedback.withdraw"]
    assert [details.get("thumb") for _, details in log] == ["up", "down", None]
    assert log[1][1]["reasons"] == ["untrue", "not_helpful"]
    assert "dry?" not in str(log)
    assert "Water" not in str(log)


def test_only_the_ideal_answer_may_be_given_and_something_must_be(serve: Serve) -> None:
    client = serve()
    one, begun = talk(client)
    path = f"/api/conversations/{one}/messages/{begun['answer']}/rating"
    assert put(client, path, ideal="Water.")["said"]["thumb"] is None
    assert "thumb or an ideal answer" in put(client, path, 422, ideal="  ")["error"]["message"]
    assert put(client, path, 422, thumb="sideways")["error"]["message"].startswith("thumb")
    own = f"/api/conversations/{one}/messages/{begun['question']}/rating"
    assert put(client, own, 400, thumb="up")["error"]["message"].startswith("only answers of the model")


def test_the_filter_is_reported_on_both_sides(serve: Serve) -> None:
    client = serve()
    one, begun = talk(client)
    path = f"/api/conversations/{one}/messages"
    wrong = put(client, f"{path}/{begun['question']}/report", fault="false_positive")
    missed = put(client, f"{path}/{begun['answer']}/report", fault="false_negative", categories=["hate"], note="see")
    assert wrong["said"]["categories"] == []
    assert missed["said"]["categories"] == ["hate"]
    put(client, f"{path}/{begun['answer']}/report", 422, fault="false_negative", categories=["rudeness"])
    only = client.get("/api/feedback", params={"fault": "false_negative"}).json()["feedback"]
    assert [found["id"] for found in only] == [missed["id"]]


def test_the_choice_between_two_answers_is_one_whichever_side_they_were_on(serve: Serve) -> None:
    client = serve(["it is wet", "it is cold"])
    one, begun = talk(client)
    other = another_answer(client, one, begun["answer"])
    path = f"/api/conversations/{one}/choice"
    first = put(client, path, left=begun["answer"], right=other, preferred="right")
    assert (first["message"], first["other"]) == (begun["answer"], other)
    second = put(client, path, left=other, right=begun["answer"], preferred="neither")
    assert second["id"] == first["id"]
    assert (second["said"]["left"], second["said"]["preferred"]) == (other, "neither")
    put(client, path, left=other, right=begun["answer"], preferred="tie")
    later = answered(client, one, "and snow?")
    for left, right in [(other, other), (other, later["answer"])]:
        refused = put(client, path, 400, left=left, right=right, preferred="left")
        assert "two answers to the same question" in refused["error"]["message"]


def test_nobody_speaks_for_somebody_else(serve: Serve, people: dict[str, str]) -> None:
    client = serve(accounts=True)
    ada, eve = log_in(client, "ada"), log_in(client, "eve")
    one, begun = talk(ada)
    path = f"/api/conversations/{one}/messages/{begun['answer']}"
    put(eve, f"{path}/rating", 404, thumb="down")
    put(eve, f"{path}/report", 404, fault="false_negative")
    given = put(ada, f"{path}/rating", thumb="up")
    assert eve.delete(f"/api/feedback/{given['id']}").status_code == 404
    assert eve.get(f"/api/conversations/{one}/feedback").json() == {"feedback": []}
    mine, _ = talk(eve)
    put(eve, f"/api/conversations/{mine}/messages/{begun['answer']}/rating", 404, thumb="down")
    assert eve.get("/api/feedback").status_code == 403
    assert put(eve, f"/api/feedback/{given['id']}/review", 403, review="rejected")


def test_reviewers_list_and_decide_but_read_only_what_its_owner_lets_be_used(
    serve: Serve, database: Database, people: dict[str, str]
) -> None:
    client = serve(accounts=True)
    with database.write() as session:
        users.set_roles(session, users.named(session, "eve"), ["reviewer"])
    ada, eve = log_in(client, "ada"), log_in(client, "eve")
    given = {}
    for consent in (False, True):
        one, begun = talk(ada, consent=consent)
        path = f"/api/conversations/{one}/messages/{begun['answer']}/rating"
        given[consent] = (path, put(ada, path, thumb="down" if consent else "up")["id"])
    newest, oldest = eve.get("/api/feedback").json()["feedback"]
    assert (newest["consent"], newest["content"], newest["user"]) == (True, "hello there", people["ada"])
    assert (oldest["consent"], oldest["content"]) == (False, None)
    page = eve.get("/api/feedback", params={"limit": 1}).json()
    assert ([found["id"] for found in page["feedback"]], page["next"]) == ([newest["id"]], newest["id"])
    rest = eve.get("/api/feedback", params={"limit": 1, "before": page["next"]}).json()
    assert ([found["id"] for found in rest["feedback"]], rest["next"]) == ([oldest["id"]], None)

    def found(**filters: str) -> list[str]:
        return [one["id"] for one in eve.get("/api/feedback", params=filters).json()["feedback"]]

    assert found(thumb="down") == [newest["id"]]
    assert found(kind="report") == found(user=people["eve"]) == []
    path, which = given[True]
    decided = put(eve, f"/api/feedback/{which}/review", review="rejected", reason="a joke")
    assert decided["review"]["reviewer"] == people["eve"]
    assert found(review="rejected") == [which]
    put(ada, path, thumb="down")
    assert found(review="rejected") == [which]  # the same once more is nothing new to review
    put(ada, path, thumb="up")
    assert found(review="rejected") == []
    put(eve, "/api/feedback/fb_none/review", 404, review="accepted")


def test_it_goes_with_its_conversation(serve: Serve, database: Database) -> None:
    client = serve()
    one, begun = talk(client)
    put(client, f"/api/conversations/{one}/messages/{begun['answer']}/rating", thumb="up")
    assert client.delete(f"/api/conversations/{one}").status_code == 204
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Feedback)) == 0


@pytest.mark.parametrize("again", [False, True])
def test_feedback_takes_at_most_five_statements(
    serve: Serve, database: Database, people: dict[str, str], again: bool
) -> None:
    client = serve(["it is wet", "it is cold"], accounts=True)
    ada, root = log_in(client, "ada"), log_in(client, "root")
    one, begun = talk(ada)
    other = another_answer(ada, one, begun["answer"])
    messages = f"/api/conversations/{one}/messages/{begun['answer']}"
    kept = (
        put(ada, f"{messages}/rating", thumb="up") if again else put(ada, f"{messages}/report", fault="false_negative")
    )
    requests: dict[str, Callable[[], Any]] = {
        "rate": lambda: ada.put(f"{messages}/rating", json={"thumb": "down"}),
        "choose": lambda: ada.put(
            f"/api/conversations/{one}/choice", json={"left": begun["answer"], "right": other, "preferred": "tie"}
        ),
        "own": lambda: ada.get(f"/api/conversations/{one}/feedback"),
        "list": lambda: root.get("/api/feedback"),
        "review": lambda: root.put(f"/api/feedback/{kept['id']}/review", json={"review": "accepted"}),
        "withdraw": lambda: ada.delete(f"/api/feedback/{kept['id']}"),
    }
    for name, request in requests.items():
        with statements(database) as counts:
            assert request().status_code < 300
        assert 1 <= counts["asked"] <= 5, (name, counts)
