"""Harmful words on every surface: blocked, warned of, told to those who ask, stored, and never let out by mistake."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from live import until

from accordant.engine import Engine
from accordant.errors import AccordantError
from accordant.moderation.policy import Policy, Side, Thresholds, Verdict
from accordant.moderation.stream import Mode, Spans
from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.serve.limits import Limits
from accordant.serve.moderation import UNJUDGED, Moderation
from accordant.serve.settings import ServeSettings, load_settings
from accordant.store import export, verdicts
from accordant.store.database import Database
from accordant.store.migrate import open_database
from accordant.store.schema import EventBatch, Message
from accordant.store.schema import Verdict as StoredVerdict
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.moderation import WordModerator
from accordant.testing.scripted import ScriptedEngine

Serve = Callable[..., TestClient]
SMALL = Spans(overlap=12, shortest=4, longest=20)
FORBIDDEN = ("bad", "d. word", "évil")


def moderation(mode: Mode = "hold", spans: Spans = SMALL, **policy: Any) -> Moderation:
    return Moderation(lambda: WordModerator(FORBIDDEN, ["hm"], policy=Policy(**policy)), mode, spans)


def user(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def data(body: str) -> list[dict[str, Any]]:
    """The JSON of Server-Sent Events."""
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def chat(client: TestClient, question: str = "q", **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "tiny", "messages": user(question), **fields})


def complete(client: TestClient, prompt: Any = "q", **fields: Any) -> Any:
    return client.post("/v1/completions", json={"model": "tiny", "prompt": prompt, "max_tokens": 900, **fields})


def begin(client: TestClient, **fields: Any) -> str:
    return str(client.post("/api/conversations", json=fields).json()["id"])


def ask(client: TestClient, one: str, content: str) -> dict[str, Any]:
    response = client.post(f"/api/conversations/{one}/messages", json={"content": content, "max_tokens": 900})
    assert response.status_code == 202, response.text
    found: dict[str, Any] = response.json()
    return found


def read(client: TestClient, one: str, begun: dict[str, Any]) -> list[dict[str, Any]]:
    return data(client.get(f"/api/conversations/{one}/generations/{begun['generation']}/events").text)


def messages(client: TestClient, one: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/api/conversations/{one}").json()["messages"]
    return found


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "delta")


# -- the property: in mode hold nothing of a blocked span gets out, for any chunking, on any surface


WORDS = st.sampled_from(["go", "bad", "word", "ba", "d", ". ", "!\n", " ", "。", "x" * 25, "évil", "…", '." ', "\n"])


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    """A text as pieces of any size, at least one."""
    text = "".join(draw(st.lists(WORDS, min_size=1, max_size=40)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


class Surfaces:
    """One server, and what an answer is on each of its surfaces."""

    def __init__(self, database: Database) -> None:
        self.engine, self.database = ScriptedEngine(["x"], rows=4), database
        app = create_app(
            self.engine,
            checkpoint_name="tiny",
            access=Access(database),
            moderation=moderation(),
            settings=ServeSettings(answers_at_once=4),
        )
        self.client = TestClient(app, base_url="http://127.0.0.1")

    def chat(self) -> tuple[str, str]:
        return self._whole(chat(self.client), lambda choice: choice["message"]["content"])

    def chat_stream(self) -> tuple[str, str]:
        return self._streamed(chat(self.client, stream=True), lambda choice: choice["delta"].get("content", ""))

    def completion(self) -> tuple[str, str]:
        return self._whole(complete(self.client), lambda choice: choice["text"])

    def completion_stream(self) -> tuple[str, str]:
        return self._streamed(complete(self.client, stream=True), lambda choice: choice["text"])

    def conversation(self) -> tuple[str, str]:
        one = begin(self.client)
        begun = ask(self.client, one, "q")
        live = read(self.client, one, begun)
        assert read(self.client, one, begun) == live, "who comes later is shown the same"
        answer = messages(self.client, one)[-1]
        assert answer["content"] == text_of(live)
        with self.database.read() as session:
            query = sa.select(EventBatch).where(EventBatch.generation_id == begun["generation"])
            stored = [event for batch in session.scalars(query.order_by(EventBatch.first)) for event in batch.events]
            assert json.loads(json.dumps(stored)) == live, "nothing else is in the store"
            assert session.get_one(Message, begun["answer"]).content == answer["content"]
        assert answer["generation"]["finish"] == live[-1]["finish"]
        return answer["content"], live[-1]["finish"]

    def _whole(self, response: Any, text: Callable[[Any], str]) -> tuple[str, str]:
        [choice] = response.json()["choices"]
        return text(choice), choice["finish_reason"]

    def _streamed(self, response: Any, text: Callable[[Any], str]) -> tuple[str, str]:
        choices = [chunk["choices"][0] for chunk in data(response.text)]
        return "".join(map(text, choices)), choices[-1]["finish_reason"]


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surfaces]:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('moderation') / 'store.db'}")
    found = Surfaces(database)
    with found.client:
        yield found
    database.close()


@pytest.mark.parametrize("surface", ["chat", "chat_stream", "completion", "completion_stream", "conversation"])
@settings(max_examples=40)
@given(pieces=cut_texts())
@example(pieces=["go on ", "and b", "ad", " things"])
@example(pieces=["go on. all is well. ", "words. ", "this is ba", "d. word. more. "])
def test_no_blocked_span_ever_reaches_the_socket(surfaces: Surfaces, surface: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    surfaces.engine.say([pieces])
    shown, finish = getattr(surfaces, surface)()
    assert text.startswith(shown)
    found = [text.find(phrase) for phrase in FORBIDDEN if phrase in text]
    if found:
        assert len(shown) <= min(found), "not even the beginning of it"
        assert finish == "content_filter"
    else:
        assert (shown, finish) == (text, "stop")


# -- questions


def test_blocked_words_are_not_answered_on_v1(serve: Serve) -> None:
    engine = ScriptedEngine(["x"], rows=2)
    engine.spell = lambda token: bytes([token])  # type: ignore[method-assign]
    client = serve(engine, moderation=moderation())
    for response, param in [
        (chat(client, "this is bad"), "messages"),
        (chat(client, stream=True, messages=[{"role": "system", "content": "be bad"}, *user("q")]), "messages"),
        (chat(client, messages=[*user("bad"), {"role": "assistant", "content": "no"}, *user("then?")]), "messages"),
        (chat(client, messages=[*user("q"), {"role": "assistant", "content": "so bad"}, *user("then?")]), "messages"),
        (complete(client, "bad"), "prompt"),
        (complete(client, ["good", "bad"]), "prompt"),
        (complete(client, list(b"bad")), "prompt"),
    ]:
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["code"], error["param"], error["type"]) == ("content_filter", param, "invalid_request_error")
        assert "violence (1.00)" in error["message"]
    assert not engine.asked


def test_words_that_a_client_gives_to_the_model_are_judged_as_the_models(serve: Serve) -> None:
    allowed = {"violence": Thresholds(warn=None, block=None)}
    said = [*user("q"), {"role": "assistant", "content": "so bad"}, *user("then?")]
    assert chat(serve(["fine"], moderation=moderation(model=allowed)), messages=said).status_code == 200
    assert chat(serve(["fine"], moderation=moderation(user=allowed)), messages=said).status_code == 400
    said[1]["content"] = "hm"
    [choice] = chat(serve(["fine"], moderation=moderation()), messages=said).json()["choices"]
    assert [(verdict["side"], verdict["action"]) for verdict in choice["moderation"]] == [("model", "warn")]


def test_verdicts_on_requests_are_stored_without_their_words(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(["hm, well", "so bad. secret"]), moderation=moderation())
    chat(client, "bad secret")
    told = [*chat(client, "hm?").json()["choices"][0]["moderation"]]
    told += complete(client, "fine").json()["choices"][0]["moderation"]
    with database.read() as session:
        stored = verdicts.of_requests(session, "user_local")
        assert [(one.side, one.action, one.withheld) for one in stored] == [
            ("user", "block", True),
            ("user", "warn", False),
            ("model", "warn", False),
            ("model", "block", True),
        ]
        assert [one.id for one in stored[1:]] == [verdict["id"] for verdict in told]
        assert "violence" in stored[0].scores
        rows = session.execute(sa.text("SELECT * FROM request_verdicts")).all()
        assert "secret" not in repr(rows)
    with database.write() as session:
        session.execute(sa.text("DELETE FROM users"))
        assert session.scalar(sa.text("SELECT count(*) FROM request_verdicts")) == 0


def test_verdicts_are_counted_by_category_and_action(serve: Serve) -> None:
    client = serve(ScriptedEngine(["hm, well", "fine"]), moderation=moderation())
    chat(client, "bad")
    chat(client, "hm")
    read(client, one := begin(client), ask(client, one, "fine"))
    lines = client.get("/metrics").text.splitlines()
    found = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith("accordant_verdicts_t")}
    assert found == {
        'accordant_verdicts_total{action="block",category="violence",side="user"}': 1,
        'accordant_verdicts_total{action="warn",category="violence",side="user"}': 1,
        'accordant_verdicts_total{action="warn",category="violence",side="model"}': 1,
        'accordant_verdicts_total{action="allow",category="",side="user"}': 1,
        'accordant_verdicts_total{action="allow",category="",side="model"}': 1,
    }


def test_blocked_requests_count_against_the_limit(serve: Serve) -> None:
    settings = ServeSettings(limits=Limits(requests_per_minute=3))
    client = serve(["fine"], moderation=moderation(), settings=settings)
    assert chat(client, "bad").status_code == 400
    one = begin(client)
    assert ask(client, one, "bad")["verdict"]["withheld"]
    assert client.post("/api/conversations", json={"system": "be bad"}).status_code == 400
    for refused in (
        chat(client, "bad"),
        chat(client, "fine"),
        client.post("/api/conversations", json={"system": "be bad"}),
        client.post(f"/api/conversations/{one}/messages", json={"content": "bad"}),
    ):
        assert refused.status_code == 429
    assert len(messages(client, one)) == 1


def test_a_warning_comes_along_with_the_answer(serve: Serve) -> None:
    client = serve(ScriptedEngine(["hm, well"]), moderation=moderation())
    [choice] = chat(client, "hm?").json()["choices"]
    question, answer = choice["moderation"]
    assert {"side": "user", "action": "warn", "withheld": False, "start": 0, "end": 3}.items() <= question.items()
    assert {"side": "model", "action": "warn", "withheld": False, "start": 0, "end": 8}.items() <= answer.items()
    assert question["categories"] == {"violence": 0.5}
    assert choice["finish_reason"] == "stop"
    chunks = [chunk["choices"][0] for chunk in data(chat(client, "hm?", stream=True).text)]
    assert chunks[0]["delta"] == {"role": "assistant", "content": ""}
    told = [verdict for chunk in chunks for verdict in chunk.get("moderation", [])]
    assert [(verdict["side"], verdict["action"]) for verdict in told] == [("user", "warn"), ("model", "warn")]


def test_without_flags_answers_look_as_ever(serve: Serve) -> None:
    answer = chat(serve(["fine"], moderation=moderation())).json()
    assert set(answer["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}


def test_a_blocked_question_stays_in_the_conversation_and_is_never_read(serve: Serve, database: Database) -> None:
    engine = ScriptedEngine(["fine", "hm, do not"])
    client = serve(engine, moderation=moderation())
    one = begin(client)
    blocked = ask(client, one, "this is bad")
    assert (blocked["answer"], blocked["generation"]) == (None, None)
    assert (blocked["verdict"]["action"], blocked["verdict"]["withheld"]) == ("block", True)
    assert not engine.asked
    warned = ask(client, one, "hm, this")
    assert warned["verdict"]["withheld"] is False
    read(client, one, warned)
    read(client, one, ask(client, one, "harmless"))
    found = messages(client, one)
    assert [[verdict["action"] for verdict in message["verdicts"]] for message in found] == [
        ["block"],
        ["warn"],
        [],
        [],
        ["warn"],
    ]
    assert found[0]["verdicts"] == [blocked["verdict"]]
    assert found[1]["verdicts"] == [warned["verdict"]]
    assert found[4]["verdicts"][0]["side"] == "model"
    assert len(engine.asked[-1][0]) == 3 + 2 + 2  # hm, this + fine + harmless, one more for each message
    # Asking for an answer to it, or for another one, does not get around it.
    again = client.post(f"/api/conversations/{one}/messages/{blocked['question']}/answers", json={}).json()
    assert (again["generation"], again["verdict"]["withheld"]) == (None, True)
    assert len(engine.asked) == 2
    client.delete(f"/api/conversations/{one}")
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(StoredVerdict)) == 0


def test_a_system_message_is_judged_when_it_is_written(serve: Serve) -> None:
    client = serve(["fine"], moderation=moderation())
    refused = client.post("/api/conversations", json={"system": "be bad"})
    assert refused.status_code == 400
    assert "moderation blocked" in refused.json()["error"]["message"]
    assert client.get("/api/conversations").json()["conversations"] == []


# -- answers


def test_every_answer_is_stored_with_what_was_said_of_it(serve: Serve, database: Database) -> None:
    engine = ScriptedEngine(["all is well. it is. so it is bad. more of it"])
    client = serve(engine, moderation=moderation())
    one = begin(client)
    events = read(client, one, ask(client, one, "q"))
    flagged, done = events[-2:]
    assert (flagged["type"], flagged["action"], flagged["withheld"]) == ("flagged", "block", True)
    assert done["finish"] == "content_filter"
    [verdict] = messages(client, one)[-1]["verdicts"]
    assert {"type": "flagged", **verdict} == flagged, "reports name what was told"
    with database.read() as session:
        document = export.conversation(session, "user_local", one)
    question, answer = (message["verdicts"] for message in document["messages"])
    assert [(said["action"], said["classifier"], said["end"]) for said in question] == [("allow", "words", 1)]
    assert answer[0]["scores"]["violence"] == 1.0
    assert set(answer[0]["scores"]) == set(question[0]["scores"])
    assert answer[0]["start"] <= "all is well. it is. so it is bad. more".find("bad") < answer[0]["end"]
    engine.say(["fine"])
    read(client, one, ask(client, one, "and?"))
    assert messages(client, one)[-1]["verdicts"] == []
    with database.read() as session:
        last = export.conversation(session, "user_local", one)["messages"][-1]["verdicts"]
    assert [(said["action"], said["start"], said["end"]) for said in last] == [("allow", 0, 4)]


def test_after_a_block_the_model_writes_no_further(serve: Serve) -> None:
    engine = ScriptedEngine(["bad. " + "word. " * 800], delay=0.002)
    client = serve(engine, moderation=moderation())
    whole = chat(client).json()
    assert whole["choices"][0]["finish_reason"] == "content_filter"
    assert engine.written < 200
    assert whole["usage"]["completion_tokens"] == engine.written


def test_of_several_answers_only_the_bad_one_ends(serve: Serve) -> None:
    client = serve(ScriptedEngine(["so bad. and more of it", "fine. and more of it"], rows=2), moderation=moderation())
    choices = chat(client, n=2).json()["choices"]
    assert [choice["finish_reason"] for choice in choices] == ["content_filter", "stop"]
    assert choices[1]["message"]["content"] == "fine. and more of it"
    assert "moderation" not in choices[1]


def test_window_is_sooner_and_audit_only_tells(serve: Serve) -> None:
    text = "once upon a time. it was d. word. more of it. "
    window = data(chat(serve([text], moderation=moderation("window")), stream=True).text)
    shown = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in window)
    held = chat(serve([text], moderation=moderation())).json()["choices"][0]["message"]["content"]
    assert len(held) < len(shown) < len(text)
    assert text.startswith(shown)
    assert window[-1]["choices"][0]["finish_reason"] == "content_filter"
    client = serve([text], moderation=moderation("audit"))
    [choice] = chat(client, "bad").json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "stop")
    assert [(said["side"], said["action"], said["withheld"]) for said in choice["moderation"]] == [
        ("user", "block", False),
        ("model", "block", False),
    ]


def test_the_policy_decides(serve: Serve) -> None:
    lenient = {"violence": Thresholds(warn=None, block=None)}
    client = serve(["so bad"], moderation=moderation(user=lenient, model=lenient))
    [choice] = chat(client, "bad").json()["choices"]
    assert choice["message"]["content"] == "so bad"
    assert "moderation" not in choice


def test_tokens_are_held_with_their_text() -> None:
    def answer(**settings: Any) -> Any:
        engine = Engine(tiny_model(), tiny_renderer(), 2)
        with TestClient(create_app(engine, checkpoint_name="tiny", **settings), base_url="http://127.0.0.1") as client:
            return chat(client, seed=3, logprobs=True, top_logprobs=2, max_tokens=200).json()["choices"][0]

    def written(choice: Any) -> bytes:
        return b"".join(bytes(token["bytes"]) for token in choice["logprobs"]["content"])

    free = answer()
    text = free["message"]["content"]
    quiet = answer(moderation=Moderation(lambda: WordModerator([]), spans=SMALL))
    assert quiet == free
    place = next(p for p in range(len(text) // 2, len(text)) if text.find(text[p : p + 6]) == p)
    strict = answer(moderation=Moderation(lambda: WordModerator([text[place : place + 6]]), spans=SMALL))
    shown = strict["message"]["content"]
    assert strict["finish_reason"] == "content_filter"
    assert 0 < len(shown) <= place
    assert written(free).startswith(written(strict))
    assert len(written(strict)) <= len(shown.encode())


# -- when it cannot judge


class Failing(WordModerator):
    """Fails at the words of one side."""

    def __init__(self, side: Side) -> None:
        super().__init__([])
        self.side = side

    def judge(self, text: str, side: Side = "model") -> Verdict:
        if side == self.side:
            raise RuntimeError("secret details")
        return super().judge(text, side)


def test_what_cannot_be_judged_is_not_answered(serve: Serve) -> None:
    engine = ScriptedEngine(["x"])
    client = serve(engine, moderation=Moderation(lambda: Failing("user")))
    one = begin(client)
    question = client.post(f"/api/conversations/{one}/messages", json={"content": "q"})
    for response in (chat(client), complete(client), question):
        assert response.status_code == 503
        assert response.json()["error"]["message"] == UNJUDGED
    assert not engine.asked
    assert messages(client, one) == []


def test_an_answer_that_cannot_be_judged_is_not_shown(serve: Serve) -> None:
    client = serve(["one two"], moderation=Moderation(lambda: Failing("model")))
    one = begin(client)
    begun = ask(client, one, "q")
    assert read(client, one, begun) == [{"type": "error", "message": UNJUDGED}]
    assert (messages(client, one)[-1]["content"], messages(client, one)[-1]["generation"]["status"]) == ("", "failed")
    whole = chat(client)
    assert (whole.status_code, whole.json()["error"]["message"]) == (500, UNJUDGED)
    assert data(chat(client, stream=True).text)[-1]["error"]["message"] == UNJUDGED


def test_the_server_starts_before_the_classifier_is_there_and_lets_nothing_by(serve: Serve) -> None:
    there = threading.Event()

    def load() -> WordModerator:
        there.wait()
        return WordModerator(FORBIDDEN)

    engine = ScriptedEngine(["fine"])
    client = serve(engine, moderation=Moderation(load))
    assert client.get("/ready").status_code == 503
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(chat(client).status_code))
    thread.start()
    assert client.get("/health").status_code == 200
    assert not engine.asked
    there.set()
    thread.join()
    assert found == [200]
    assert client.get("/ready").status_code == 200


def test_a_classifier_that_cannot_be_loaded_answers_nothing_and_says_so(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> WordModerator:
        raise AccordantError("no encoder here")

    client = serve(["fine"], moderation=Moderation(load))
    until(lambda: "no encoder here" in caplog.text)
    assert chat(client).status_code == 503
    assert client.get("/ready").json() == {"ready": False}


# -- settings


def test_settings_say_mode_and_policy(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[moderation]\nmode = "window"\n[moderation.policy.user.violence]\nwarn = "off"\nblock = 0.9\n')
    found = load_settings(path).moderation
    assert found.mode == "window"
    assert found.policy.thresholds("user", "violence") == Thresholds(warn=None, block=0.9)
    assert found.policy.thresholds("model", "violence") == Thresholds()
    path.write_text('[moderation]\nmode = "loud"\n')
    with pytest.raises(AccordantError, match=r"moderation\.mode"):
        load_settings(path)


@pytest.mark.parametrize("mode", ["hold", "audit", None])
def test_about_says_what_is_done(serve: Serve, mode: Mode | None) -> None:
    client = serve(["x"], moderation=moderation(mode) if mode else None)
    assert client.get("/api/about").json()["moderation"] == (mode or "off")
