"""Conversations over HTTP: pages, branches, answers that go on without a reader, export, deletion, consent."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from people import log_in

from accordant.errors import AccordantError
from accordant.serve import answers
from accordant.serve.events import EVENT, Delta, Done, Error, Event
from accordant.serve.moderation import Moderation
from accordant.serve.settings import ServeSettings
from accordant.store import audit, conversations, generations
from accordant.store.conversations import spoken
from accordant.store.database import Database
from accordant.store.schema import EventBatch, Message
from accordant.store.schema import Generation as StoredGeneration
from accordant.testing.moderation import WordModerator
from accordant.testing.scripted import ScriptedEngine, ScriptedRequest, ScriptedRow

Serve = Callable[..., TestClient]
Replies = list[str | Exception]


class Gated(ScriptedEngine):
    """Says one piece, and the rest when it is opened."""

    def __init__(self, replies: Replies) -> None:
        super().__init__(replies)
        self.gate = threading.Event()

    def serve(self, source: Callable[[int], list[ScriptedRequest]]) -> Generator[list[ScriptedRow], None, None]:
        for rows in super().serve(source):
            yield rows
            end = time.monotonic() + 60  # a test that fails shall not hang
            while (live := [row for row in rows if not row.over]) and not self.gate.wait(0.01):
                assert time.monotonic() < end
                yield live  # with nothing new, so that they can be stopped


def begin(client: TestClient, **settings: Any) -> str:
    response = client.post("/api/conversations", json=settings)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def ask(client: TestClient, one: str, content: str, **settings: Any) -> dict[str, Any]:
    response = client.post(f"/api/conversations/{one}/messages", json={"content": content, **settings})
    assert response.status_code == 202, response.text
    found: dict[str, Any] = response.json()
    return found


def read(
    client: TestClient, one: str, generation: str, start: int = 0, **headers: str
) -> list[tuple[int | None, Event]]:
    path = f"/api/conversations/{one}/generations/{generation}/events?start={start}"
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    found: list[tuple[int | None, Event]] = []
    for block in response.text.split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((int(lines["id"]) if "id" in lines else None, EVENT.validate_json(lines["data"])))
    return found


def text_of(events: list[tuple[int | None, Event]]) -> str:
    return "".join(event.text for _, event in events if isinstance(event, Delta))


def answered(client: TestClient, one: str, content: str, **settings: Any) -> dict[str, Any]:
    """Ask and read to the end."""
    begun = ask(client, one, content, **settings)
    assert isinstance(read(client, one, begun["generation"])[-1][1], Done)
    return begun


def opened(client: TestClient, one: str, **query: Any) -> dict[str, Any]:
    response = client.get(f"/api/conversations/{one}", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def shown(client: TestClient, one: str) -> list[str]:
    return [message["content"] for message in opened(client, one)["messages"]]


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def statements(database: Database) -> Iterator[Counter[str]]:
    """Counts what this thread's requests send to the database; the task that stores answers counts apart."""
    counts: Counter[str] = Counter()

    def count(_c: object, _cursor: object, statement: str, *_: object) -> None:
        words = statement.split()
        stores = any(
            name in statement
            for name in ("event_batches", "heartbeat_at <", "SET heartbeat_at", "usage", "INTO verdicts")
        )
        if words[0] != "BEGIN":
            counts[
                "stored" if stores or words[:2] in (["UPDATE", "messages"], ["UPDATE", "generations"]) else "asked"
            ] += 1

    sa.event.listen(database.engine, "before_cursor_execute", count)
    yield counts
    sa.event.remove(database.engine, "before_cursor_execute", count)


def test_a_question_is_answered_stored_and_found_again(serve: Serve, database: Database) -> None:
    engine = ScriptedEngine(["it is wet", "it is cold"])
    client = serve(engine)
    one = begin(client, system="Be brief.")
    begun = ask(client, one, "what is rain?", temperature=0.5, top_p=0.8, max_tokens=9, seed=7)
    events = read(client, one, begun["generation"])
    assert [number for number, _ in events] == list(range(len(events)))
    assert text_of(events) == "it is wet"
    assert events[-1][1] == Done(finish="stop", prompt_tokens=7, answer_tokens=3, turns_left_out=0)
    page = opened(client, one)
    question, answer = page["messages"]
    assert page["conversation"]["title"] == "what is rain?"
    assert (question["content"], answer["content"]) == ("what is rain?", "it is wet")
    assert (question["id"], answer["id"]) == (begun["question"], begun["answer"])
    made = answer["generation"]
    expected = {"model": "tiny", "status": "done", "finish": "stop", "temperature": 0.5, "top_p": 0.8, "max_tokens": 9}
    assert expected | {"seed": 7, "prompt_tokens": 7, "answer_tokens": 3} == {
        name: made[name] for name in [*expected, "seed", "prompt_tokens", "answer_tokens"]
    }
    answered(client, one, "and snow?")
    assert shown(client, one) == ["what is rain?", "it is wet", "and snow?", "it is cold"]
    # Be brief. + what is rain? + it is wet + and snow?, one more for each message
    assert len(engine.asked[-1][0]) == 3 + 4 + 4 + 3
    assert client.get("/api/me/usage").json()[0] | {"day": ""} == {
        "day": "",
        "key": "",
        "key_name": "",
        "model": "tiny",
        "requests": 2,
        "prompt_tokens": 7 + 14,
        "answer_tokens": 6,
    }


def test_what_is_read_later_is_what_was_read_live_from_any_number(serve: Serve) -> None:
    client = serve(["one two three four five"])
    one = begin(client)
    begun = ask(client, one, "count")
    live = read(client, one, begun["generation"])
    assert len(live) == 6
    for start in range(6):
        assert read(client, one, begun["generation"], start) == live[start:]
    assert read(client, one, begun["generation"], **{"Last-Event-ID": "2"}) == live[3:]
    # A reader who knows more than was stored learns at least how it ended.
    assert read(client, one, begun["generation"], 100) == live[-1:]


def test_an_answer_goes_on_without_a_reader_and_two_may_read(serve: Serve) -> None:
    engine = Gated(["one two three"])
    client = serve(engine)
    one = begin(client)
    begun = ask(client, one, "count")
    until(lambda: engine.written)
    page = opened(client, one)["messages"][-1]
    assert (page["content"], page["generation"]["status"]) == ("", "running")
    readers: list[list[tuple[int | None, Event]]] = []

    def follow() -> None:
        readers.append(read(client, one, begun["generation"]))

    threads = [threading.Thread(target=follow) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    engine.gate.set()
    for thread in threads:
        thread.join()
    assert [text_of(events) for events in readers] == ["one two three"] * 2
    again = ask(client, one, "count")  # nobody reads this one
    until(lambda: opened(client, one)["messages"][-1]["generation"]["status"] == "done")
    assert shown(client, one)[-1] == "one two three"
    assert text_of(read(client, one, again["generation"])) == "one two three"


def test_stop_is_explicit_and_keeps_what_is_written(serve: Serve) -> None:
    engine = ScriptedEngine([" ".join(["word"] * 1000)], delay=0.01)
    client = serve(engine)
    one = begin(client)
    begun = ask(client, one, "go on", max_tokens=1000)
    until(lambda: engine.written > 3)
    assert client.post(f"/api/conversations/{one}/generations/{begun['generation']}/stop").status_code == 202
    events = read(client, one, begun["generation"])
    ending = events[-1][1]
    assert isinstance(ending, Done)
    assert ending.finish == "cancelled"
    written = engine.written
    last = opened(client, one)["messages"][-1]
    assert last["generation"]["status"] == "stopped"
    assert last["content"] == text_of(events)
    assert 3 <= len(last["content"].split()) <= written
    time.sleep(0.1)
    assert engine.written <= written + 1
    assert client.post(f"/api/conversations/{one}/generations/{begun['generation']}/stop").status_code == 202


def test_another_process_can_stop_and_read_it(serve: Serve, database: Database) -> None:
    engine = ScriptedEngine([" ".join(["word"] * 1000)], delay=0.01)
    here, there = serve(engine), serve(["nothing"])
    one = begin(here)
    begun = ask(here, one, "go on", max_tokens=1000)
    until(lambda: engine.written > 3)
    assert there.post(f"/api/conversations/{one}/generations/{begun['generation']}/stop").status_code == 202
    assert read(there, one, begun["generation"]) == read(here, one, begun["generation"])
    assert opened(there, one)["messages"][-1]["generation"]["status"] == "stopped"


def test_edit_and_another_answer_make_siblings_and_one_can_go_back(serve: Serve) -> None:
    engine = ScriptedEngine(["a1", "a2", "a3", "a4"])
    client = serve(engine)
    one = begin(client)
    first = answered(client, one, "q1")
    answered(client, one, "q2")
    edited = client.post(
        f"/api/conversations/{one}/messages/{first['question']}/edit", json={"content": "q1 better"}
    ).json()
    read(client, one, edited["generation"])
    assert shown(client, one) == ["q1 better", "a3"]
    assert len(engine.asked[-1][0]) == 3
    again = client.post(f"/api/conversations/{one}/messages/{edited['answer']}/answers", json={}).json()
    read(client, one, again["generation"])
    assert again["question"] is None
    assert shown(client, one) == ["q1 better", "a4"]
    question, answer = opened(client, one)["messages"]
    assert question["siblings"] == [first["question"], edited["question"]]
    assert answer["siblings"] == [edited["answer"], again["answer"]]
    back = client.put(f"/api/conversations/{one}/path", json={"message": first["question"]})
    assert back.status_code == 200
    assert shown(client, one) == ["q1", "a1", "q2", "a2"]
    client.put(f"/api/conversations/{one}/path", json={"message": edited["answer"]})
    assert shown(client, one) == ["q1 better", "a3"]
    refused = client.post(f"/api/conversations/{one}/messages/{first['answer']}/edit", json={"content": "mine now"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "only own messages can be edited")
    # The question itself can be answered once more, too.
    client.post(f"/api/conversations/{one}/messages/{first['question']}/answers", json={})
    assert opened(client, one)["messages"][1]["siblings"][0] == first["answer"]


def test_a_long_conversation_is_sent_by_the_page_and_cut_by_whole_turns(serve: Serve) -> None:
    engine = ScriptedEngine(["four words of answer"])
    client = serve(engine, context=100)
    one = begin(client, system="system")
    for number in range(6):
        begun = answered(client, one, f"question {number}", max_tokens=70)
    # 30 tokens: 2 for the system message, 3 for the question, 8 for each turn before it.
    assert begun["turns_left_out"] == 5 - (30 - 2 - 3) // 8
    assert opened(client, one)["messages"][-1]["generation"]["turns_left_out"] == begun["turns_left_out"]
    assert len(engine.asked[-1][0]) == 2 + 3 + 3 * 8
    pages, end = [], {}
    while True:
        page = opened(client, one, limit=5, **end)
        pages.insert(0, [message["content"] for message in page["messages"]])
        if page["earlier"] is None:
            break
        end = {"end": page["earlier"]}
    assert [len(page) for page in pages] == [2, 5, 5]
    expected = [text for number in range(6) for text in (f"question {number}", "four words of answer")]
    assert [content for page in pages for content in page] == expected
    too_long = client.post(f"/api/conversations/{one}/messages", json={"content": "w " * 60, "max_tokens": 70})
    assert too_long.status_code == 400
    assert "fit" in too_long.json()["error"]["message"]
    assert len(shown(client, one)) == 12


def test_turns_beyond_what_is_looked_at_count_as_left_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from accordant.serve.routes import conversations as routes

    monkeypatch.setattr(routes, "MOST_READ", 4)
    client = serve(["yes"])
    one = begin(client)
    found = [answered(client, one, f"q{number}")["turns_left_out"] for number in range(5)]
    assert found == [0, 0, 0, 1, 2]


def test_questions_without_an_answer_are_not_read_by_the_model() -> None:
    def row(role: str, content: str) -> Message:
        return Message(role=role, content=content)

    path = [row("assistant", "cut"), row("user", "a"), row("assistant", " "), row("user", "b"), row("user", "c")]
    path += [row("assistant", "answer"), row("user", "d")]
    said = [(message.role, message.content) for message in spoken("", path, "last")]
    assert said == [("user", "c"), ("assistant", "answer"), ("user", "last")]
    assert [message.content for message in spoken("s", path, None)] == ["s", "c", "answer", "d"]


def test_a_page_and_a_message_take_at_most_five_statements(
    serve: Serve, database: Database, people: dict[str, str]
) -> None:
    warns = Moderation(lambda: WordModerator([], ["question"]))
    client = log_in(serve(["yes it is"], accounts=True, moderation=warns), "ada")
    one = begin(client)
    for number in range(8):
        last = answered(client, one, f"question {number}")
    requests: dict[str, Callable[[], Any]] = {
        "list": lambda: client.get("/api/conversations"),
        "open": lambda: client.get(f"/api/conversations/{one}"),
        "create": lambda: client.post("/api/conversations", json={}),
        "ask": lambda: client.post(f"/api/conversations/{one}/messages", json={"content": "more"}),
        "edit": lambda: client.post(
            f"/api/conversations/{one}/messages/{last['question']}/edit", json={"content": "e"}
        ),
        "again": lambda: client.post(f"/api/conversations/{one}/messages/{last['answer']}/answers", json={}),
        "choose": lambda: client.put(f"/api/conversations/{one}/path", json={"message": last["answer"]}),
        "rename": lambda: client.patch(f"/api/conversations/{one}", json={"title": "t"}),
        "events": lambda: client.get(f"/api/conversations/{one}/generations/{last['generation']}/events"),
        "delete": lambda: client.delete(f"/api/conversations/{one}"),
    }
    for name, request in requests.items():
        with statements(database) as counts:
            assert request().status_code < 300
        assert 1 <= counts["asked"] <= 5, (name, counts)
    assert sum(counts.values()) > 0


def test_storing_answers_takes_as_many_statements_for_many_as_for_one(serve: Serve, database: Database) -> None:
    engine = Gated(["one two three four"])
    client = serve(engine, settings=ServeSettings(most_waiting=20))
    all_of_them = [begin(client) for _ in range(8)]
    for one in all_of_them:
        ask(client, one, "count")
    time.sleep(0.5)
    stored: list[str] = []

    def count(_c: object, _cursor: object, statement: str, *_: object) -> None:
        stored.append(statement.split()[0])

    sa.event.listen(database.engine, "before_cursor_execute", count)
    time.sleep(answers.BEAT_SECONDS + 0.5)
    sa.event.remove(database.engine, "before_cursor_execute", count)
    engine.gate.set()
    assert stored.count("UPDATE") in (1, 2)  # a heartbeat of all of them
    until(lambda: all(opened(client, one)["messages"][-1]["generation"]["status"] == "done" for one in all_of_them))


def test_when_the_line_is_full_nothing_is_stored(serve: Serve) -> None:
    engine = Gated(["one two"])
    client = serve(engine, settings=ServeSettings(most_waiting=1))
    first, second, third = (begin(client) for _ in range(3))
    ask(client, first, "a")
    until(lambda: engine.written)
    waiting = ask(client, second, "b")
    refused = client.post(f"/api/conversations/{third}/messages", json={"content": "c"})
    assert refused.status_code == 429
    assert "too many" in refused.json()["error"]["message"]
    assert shown(client, third) == []
    engine.gate.set()
    assert read(client, second, waiting["generation"])[-1][1].type == "done"


def test_an_answer_that_fails_says_so_now_and_later(serve: Serve) -> None:
    client = serve([AccordantError("the logits are not finite"), "fine"])
    one = begin(client)
    begun = ask(client, one, "q")
    assert read(client, one, begun["generation"]) == [(0, Error(message="the logits are not finite"))]
    failed = opened(client, one)["messages"][-1]
    assert (failed["generation"]["status"], failed["generation"]["error"]) == ("failed", "the logits are not finite")
    again = client.post(f"/api/conversations/{one}/messages/{begun['answer']}/answers", json={}).json()
    assert text_of(read(client, one, again["generation"])) == "fine"


def test_an_answer_that_cannot_be_stored_ends_and_says_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(["one two"])
    one = begin(client)
    monkeypatch.setattr(generations, "beat", lambda *_: 1 / 0)
    begun = ask(client, one, "q")
    assert read(client, one, begun["generation"])[-1][1] == Error(message=answers.UNSTORED)


def test_deleting_is_real_even_while_an_answer_is_written(serve: Serve, database: Database) -> None:
    engine = Gated(["one two three"])
    client = serve(engine)
    one, other = begin(client), begin(client)
    answers_of_other = ask(client, other, "kept")
    until(lambda: engine.written == 1)
    engine.gate.set()
    read(client, other, answers_of_other["generation"])
    engine.gate.clear()
    begun = ask(client, one, "gone")
    until(lambda: engine.written == 4)
    endings: list[Event] = []
    reader = threading.Thread(target=lambda: endings.append(read(client, one, begun["generation"])[-1][1]))
    reader.start()
    time.sleep(0.2)
    assert client.delete(f"/api/conversations/{one}").status_code == 204
    reader.join(5)
    assert endings == [Error(message=answers.DELETED)]
    engine.gate.set()
    for path in ("", "/export", f"/generations/{begun['generation']}/events"):
        assert client.get(f"/api/conversations/{one}{path}").status_code == 404
    assert client.delete(f"/api/conversations/{one}").status_code == 404
    with database.read() as session:
        left = [session.scalar(sa.select(sa.func.count()).select_from(table)) for table in (Message, StoredGeneration)]
        assert left == [2, 1]
        assert set(session.scalars(sa.select(EventBatch.generation_id))) == {answers_of_other["generation"]}
        assert [entry.action for entry in audit.latest(session)] == ["conversation.delete"]
    assert shown(client, other) == ["kept", "one two three"]


def test_rename_and_consent_which_is_off_by_default(serve: Serve, database: Database) -> None:
    client = serve()
    one = begin(client)
    answered(client, one, "rain")
    assert opened(client, one)["conversation"]["consent"] is False
    assert client.patch(f"/api/conversations/{one}", json={"consent": True}).json()["consent"] is True
    assert client.patch(f"/api/conversations/{one}", json={"title": "Weather"}).json()["title"] == "Weather"
    found = client.get("/api/conversations").json()["conversations"][0]
    assert (found["title"], found["consent"]) == ("Weather", True)
    assert client.patch(f"/api/conversations/{one}", json={"consent": False}).json()["consent"] is False
    with database.read() as session:
        assert [entry.details for entry in audit.latest(session)] == [{"consent": False}, {"consent": True}]


def test_export_of_one_and_of_everything(serve: Serve, people: dict[str, str]) -> None:
    ada = log_in(serve(["it is wet", "it falls"], accounts=True), "ada")
    eve = log_in(ada, "eve")
    one = begin(ada, system="Be brief.", title="Rain 🙂")
    begun = answered(ada, one, "what is rain?")
    read(
        ada, one, ada.post(f"/api/conversations/{one}/messages/{begun['answer']}/answers", json={}).json()["generation"]
    )
    begin(eve, title="secret of eve")
    document = ada.get(f"/api/conversations/{one}/export").json()
    assert [message["content"] for message in document["messages"]] == ["what is rain?", "it is wet", "it falls"]
    assert document["messages"][1]["made_by"]["model"] == "tiny"
    text = ada.get(f"/api/conversations/{one}/export?form=markdown")
    assert text.headers["content-type"].startswith("text/markdown")
    shown_path = "# Rain 🙂\n\n## System\n\nBe brief.\n\n## User\n\nwhat is rain?\n\n## Assistant\n\nit falls\n"
    assert text.text == shown_path
    key = ada.post("/api/keys", json={"name": "laptop"}).json()["key"]
    begin(ada, title="another")
    everything = ada.get("/api/me/export")
    assert everything.headers["content-disposition"].startswith("attachment")
    found = json.loads(everything.text)
    assert found["account"]["name"] == "ada"
    assert [key["name"] for key in found["account"]["keys"]] == ["laptop"]
    assert found["conversations"][0] == document
    assert [conversation["title"] for conversation in found["conversations"]] == ["Rain 🙂", "another"]
    assert "eve" not in everything.text
    assert key.split("-", 2)[2] not in everything.text


def test_the_list_comes_by_the_page(serve: Serve) -> None:
    client = serve()
    made = [begin(client, title=str(number)) for number in range(5)]
    found, query = [], {"limit": "2"}
    while True:
        page = client.get("/api/conversations", params=query).json()
        found += [one["id"] for one in page["conversations"]]
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert found == made[::-1]
    assert client.get("/api/conversations?before=yesterday").status_code == 400
    assert client.get("/api/conversations?limit=1000").status_code == 422


def test_what_is_anothers_is_as_if_it_were_not_there(serve: Serve, people: dict[str, str]) -> None:
    ada = log_in(serve(["mine"], accounts=True), "ada")
    eve = log_in(ada, "eve")
    one, other = begin(ada), begin(eve)
    begun = answered(ada, one, "private")
    message, generation = begun["question"], begun["generation"]
    attempts: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"title": "x", "consent": True}),
        ("DELETE", "", None),
        ("GET", "/export", None),
        ("PUT", "/path", {"message": message}),
        ("POST", "/messages", {"content": "x"}),
        ("POST", f"/messages/{message}/edit", {"content": "x"}),
        ("POST", f"/messages/{begun['answer']}/answers", {}),
        ("GET", f"/generations/{generation}/events", None),
        ("POST", f"/generations/{generation}/stop", None),
    ]
    for method, path, body in attempts:
        refused = eve.request(method, f"/api/conversations/{one}{path}", json=body)
        assert refused.status_code == 404, (method, path)
        assert "private" not in refused.text
        if message in path or generation in path or begun["answer"] in path or path == "/path":
            assert eve.request(method, f"/api/conversations/{other}{path}", json=body).status_code == 404, path
    assert eve.get(f"/api/conversations/{other}", params={"end": message}).status_code == 404
    assert shown(ada, one) == ["private", "mine"]
    assert opened(ada, one)["conversation"]["consent"] is False
    assert [found["id"] for found in eve.get("/api/conversations").json()["conversations"]] == [other]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": ""}, 422),
        ({"content": " \n"}, 422),
        ({"content": "a\u0000b"}, 422),
        ({"content": "w" * 200_000}, 422),
        ({"content": "x", "max_tokens": 0}, 422),
        ({"content": "x", "nonsense": 1}, 422),
        ({}, 422),
    ],
)
def test_bad_questions_are_refused_in_one_line(serve: Serve, body: Any, status: int) -> None:
    client = serve()
    one = begin(client)
    refused = client.post(f"/api/conversations/{one}/messages", json=body)
    assert refused.status_code == status
    assert "\n" not in refused.json()["error"]["message"]
    assert len(refused.text) < 400
    assert shown(client, one) == []


def test_broken_unicode_is_refused_and_all_else_comes_back(serve: Serve) -> None:
    client = serve(["🙂 \u2028 \ufffd naïve"])
    one = begin(client)
    for raw in (b'{"content": "\\ud800"}', b'{"content": "\xff"}'):
        headers = {"Content-Type": "application/json"}
        assert client.post(f"/api/conversations/{one}/messages", content=raw, headers=headers).status_code in (400, 422)
    text = "data: x\n\nid: 9\n\U0001f642\u202e\u2028"
    answered(client, one, text)
    assert shown(client, one) == [text, "🙂 \u2028 \ufffd naïve"]


def test_an_answer_whose_process_died_is_closed_and_says_so(serve: Serve, database: Database) -> None:
    with database.write() as session:
        one = conversations.create(session, "user_local")
        plan = conversations.Plan("tiny", 0.7, 0.9, 16, 1, 0)
        made = conversations.write(session, one, None, "question", plan).generation
        assert made
        events = [{"type": "delta", "text": "half an "}, {"type": "delta", "text": "answer"}]
        generations.append(session, [(made.id, 0, events)])
    assert answers.close_lost(database) == 0  # its heart has just beaten
    with database.write() as session:
        long_ago = made.heartbeat_at - 2 * generations.LOST_AFTER
        session.execute(sa.update(StoredGeneration).values(heartbeat_at=long_ago))
    client = serve()
    until(lambda: opened(client, one.id)["messages"][-1]["generation"]["status"] == "lost")
    assert shown(client, one.id) == ["question", "half an answer"]
    found = read(client, one.id, made.id)
    assert text_of(found) == "half an answer"
    assert found[-1] == (2, Error(message=answers.LOST))
    assert answers.close_lost(database) == 0


def test_closing_the_server_ends_answers_and_stores_them(serve: Serve, database: Database) -> None:
    from accordant.serve.access import Access
    from accordant.serve.app import create_app

    engine = Gated(["one two"])
    with TestClient(create_app(engine, access=Access(database)), base_url="http://127.0.0.1") as client:
        one = begin(client)
        begun = ask(client, one, "q")
        until(lambda: engine.written)
    later = serve()
    found = opened(later, one)["messages"][-1]
    assert (found["content"], found["generation"]["status"]) == ("one", "failed")
    assert read(later, one, begun["generation"])[-1][1] == Error(message=answers.CLOSING)
