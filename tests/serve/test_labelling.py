"""Labelling over HTTP: rankings and demonstrations are given out, saved, undone, handed in, skipped, reviewed."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from people import PASSWORD, log_in
from pydantic import TypeAdapter
from test_conversations import Gated, answered, ask, begin, statements, until

from accordant.data.jsonl import write_records
from accordant.errors import AccordantError
from accordant.labelling.settings import LabellingSettings
from accordant.records import EvaluationPrompt, Message
from accordant.serve.events import Delta, Done, Suggested, SuggestionEvent
from accordant.serve.settings import ServeSettings
from accordant.store import annotations, passwords, users
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.schema import Annotation, Suggestion, Task
from accordant.testing.scripted import ScriptedEngine

Serve = Callable[..., TestClient]

REPLIES = ["it is wet", "it is cold", "it is grey", "it is loud"]
SUGGESTIONS: TypeAdapter[SuggestionEvent] = TypeAdapter(SuggestionEvent)
ONLY_NEW: dict[str, Any] = {"gold_share": 0.0, "repeat_share": 0.0, "overlap_share": 0.0}


def settings(**labelling: Any) -> ServeSettings:
    return ServeSettings(labelling=LabellingSettings(**{**ONLY_NEW, **labelling}))


def post(client: TestClient, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = client.post(f"/api/labelling/{path}", json=body)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def put(client: TestClient, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = client.put(f"/api/labelling/{path}", json=body)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json() if response.content else {}
    return found


def get(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    response = client.get(f"/api/labelling/{path}", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def consenting(client: TestClient, *questions: str, system: str = "") -> str:
    one = begin(client, consent=True, system=system)
    for question in questions or ("what is rain?",):
        answered(client, one, question)
    return one


def rank(client: TestClient, **more: Any) -> dict[str, Any]:
    """Rank the next one: the first shown is best, the others are tied."""
    work = post(client, "comparisons/next")
    others = list(range(1, len(work["answers"])))
    return post(
        client,
        f"comparisons/{work['id']}/submit",
        revision=work["revision"],
        value={"tiers": [[0], others], **more},
    )


def counts(found: dict[str, Any]) -> tuple[int, int]:
    return found["alike"], found["pairs"]


@pytest.fixture
def trainers(database: Database) -> None:
    """Three trainers (ada, ben, eve) and a reviewer (rex), all with the same password."""
    digest = passwords.hash_password(PASSWORD)
    with database.write() as session:
        for name, role in [("ada", "trainer"), ("ben", "trainer"), ("eve", "trainer"), ("rex", "reviewer")]:
            users.add(session, name, digest, [role])


def test_an_answer_of_a_conversation_is_drawn_with_alternatives_sampled_now(serve: Serve, database: Database) -> None:
    engine = ScriptedEngine(REPLIES, rows=4)
    client = serve(engine, settings=settings(alternatives=4, temperatures=(0.5, 1.5), max_tokens=7))
    consenting(client, "what is rain?", system="Be brief.")
    before = len(engine.asks)
    work = post(client, "comparisons/next")
    assert [(m["role"], m["content"]) for m in work["messages"]] == [("system", "Be brief."), ("user", "what is rain?")]
    assert sorted(work["answers"]) == sorted(REPLIES)
    assert "tiny" not in str(work), "the model must be hidden"
    asks = [one.sampling for one in engine.asks[before:]]
    assert [(one.temperature, one.max_tokens) for one in asks] == [(0.5, 7), (1.5, 7), (0.5, 7), (1.5, 7)]
    assert len({one.seed for one in asks}) == 4
    with database.read() as session:
        task = session.scalars(sa.select(Task)).one()
    stored = {c["content"]: (c["model"], c["sampling"]["temperature"], c["sampling"]["seed"]) for c in task.candidates}
    assert {name for name, _, _ in stored.values()} == {"tiny"}
    assert {(temperature, seed) for _, temperature, seed in stored.values()} == {(a.temperature, a.seed) for a in asks}
    again = post(client, "comparisons/next")  # a lost page asks once more
    assert again | {"leased_until": work["leased_until"]} == work


def test_the_whole_conversation_before_the_drawn_answer_is_in_view_and_each_is_drawn_once(serve: Serve) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    consenting(client, "one", "two", "three")
    seen = Counter()
    for _ in range(3):
        work = post(client, "comparisons/next")
        said = [m["content"] for m in work["messages"] if m["role"] == "user"]
        assert said == ["one", "two", "three"][: len(said)]
        assert [m["role"] for m in work["messages"]] == ["user", "assistant"] * (len(said) - 1) + ["user"]
        seen[len(said)] += 1
        post(client, f"comparisons/{work['id']}/submit", revision=0, value={"all_bad": True})
    assert seen == {1: 1, 2: 1, 3: 1}
    assert "nothing to rank" in post(client, "comparisons/next", 404)["error"]["message"]


def test_nothing_is_drawn_without_consent_and_nothing_shown_once_it_is_withdrawn(serve: Serve) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    answered(client, begin(client), "private")
    post(client, "comparisons/next", 404)
    one = consenting(client)
    post(client, "comparisons/next")
    client.patch(f"/api/conversations/{one}", json={"consent": False})
    post(client, "comparisons/next", 404)
    assert get(client, "annotations")["works"] == []
    client.patch(f"/api/conversations/{one}", json={"consent": True})
    assert len(get(client, "annotations")["works"]) == 1


def test_prompts_of_a_file_serve_a_machine_without_conversations(serve: Serve, tmp_path: Path) -> None:
    asked = [
        EvaluationPrompt(id=f"p{n}", messages=(Message(role="user", content=f"question {n}"),), expect="answer")
        for n in range(2)
    ]
    write_records(tmp_path / "prompts.jsonl", asked)
    with_prompts = settings(prompts=tmp_path / "prompts.jsonl")
    client = serve(ScriptedEngine(REPLIES), settings=with_prompts)
    first = post(client, "comparisons/next")
    post(client, f"comparisons/{first['id']}/submit", revision=0, value={"all_bad": True})
    again = serve(ScriptedEngine(REPLIES), settings=with_prompts)  # another process knows what was drawn
    second = post(again, "comparisons/next")
    assert {one["messages"][0]["content"] for one in (first, second)} == {"question 0", "question 1"}
    post(again, f"comparisons/{second['id']}/submit", revision=0, value={"all_bad": True})
    post(again, "comparisons/next", 404)
    with pytest.raises(AccordantError, match="missing"):
        serve(settings=settings(prompts=tmp_path / "none.jsonl"))


def test_a_model_that_says_the_same_again_and_again_is_nothing_to_rank(serve: Serve) -> None:
    client = serve(["always this"], settings=settings())
    consenting(client)
    assert "same answer each time" in post(client, "comparisons/next", 503)["error"]["message"]


def test_every_step_is_saved_and_can_be_undone(serve: Serve) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    consenting(client)
    work = post(client, "comparisons/next")
    path = f"comparisons/{work['id']}"
    marks = [{"helpful": True, "truthful": None, "harmless": True, "flags": ["nonsense"]}] * 4
    steps = [{"tiers": [[2]]}, {"tiers": [[2], [0, 1]]}, {"tiers": [[2], [0, 1]], "marks": marks, "note": "hm"}]
    for number, value in enumerate(steps):
        work = put(client, path, revision=work["revision"], value=value)
        assert (work["undo_steps"], work["value"]["tiers"]) == (number + 1, value["tiers"])
    assert get(client, path)["value"]["marks"] == marks
    same = put(client, path, revision=work["revision"], value=work["value"])
    assert same["undo_steps"] == 3, "saving the same is no step"
    work = post(client, f"{path}/undo", revision=same["revision"])
    assert (work["undo_steps"], work["value"]["marks"]) == (2, [])
    work = put(client, path, revision=work["revision"], value={"tiers": [[3]]})
    for left, tiers in [(2, [[2], [0, 1]]), (1, [[2]]), (0, [])]:
        work = post(client, f"{path}/undo", revision=work["revision"])
        assert (work["undo_steps"], work["value"]["tiers"]) == (left, tiers)
    assert "nothing to undo" in post(client, f"{path}/undo", 409, revision=work["revision"])["error"]["message"]
    assert get(client, path)["value"]["tiers"] == []


def test_two_windows_cannot_overwrite_each_other(serve: Serve) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    consenting(client)
    work = post(client, "comparisons/next")
    path = f"comparisons/{work['id']}"
    put(client, path, revision=0, value={"tiers": [[0]]})
    for call in (
        lambda: put(client, path, 409, revision=0, value={"tiers": [[1]]}),
        lambda: post(client, f"{path}/undo", 409, revision=0),
        lambda: post(client, f"{path}/submit", 409, revision=0, value={"all_bad": True}),
        lambda: post(client, f"{path}/skip", 409, revision=0, reason=""),
    ):
        assert "another window" in call()["error"]["message"]
    done = post(client, f"{path}/submit", revision=1, value={"tiers": [[3], [0, 1, 2]]})
    assert (done["state"], done["value"]["tiers"]) == ("submitted", [[3], [0, 1, 2]])
    assert "submitted already" in put(client, path, 409, revision=2, value={})["error"]["message"]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"tiers": [[0], [0]]}, "each once"),
        ({"tiers": [[4]]}, "0 to 3"),
        ({"tiers": [[-1]]}, "0 to 3"),
        ({"tiers": [[0], []]}, "none may be empty"),
        ({"marks": [{}]}, "each of the 4"),
    ],
)
def test_a_ranking_that_fits_to_nothing_is_refused(serve: Serve, value: dict[str, Any], complaint: str) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    consenting(client)
    work = post(client, "comparisons/next")
    path = f"comparisons/{work['id']}"
    assert complaint in put(client, path, 400, revision=0, value=value)["error"]["message"]
    unfinished = post(client, f"{path}/submit", 400, revision=0, value={"tiers": [[1], [2]]})
    assert "2 of the 4 answers are not ranked" in unfinished["error"]["message"]


def test_a_task_is_for_one_person_until_the_lease_is_over(serve: Serve, database: Database, trainers: None) -> None:
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings())
    ada, ben = log_in(client, "ada"), log_in(client, "ben")
    consenting(ada)
    work = post(ada, "comparisons/next")
    path = f"comparisons/{work['id']}"
    saved = put(ada, path, revision=0, value={"tiers": [[0]]})
    post(ben, "comparisons/next", 404)
    assert ben.get(f"/api/labelling/{path}").status_code == 404
    put(ben, path, 404, revision=1, value={})
    over = now() - timedelta(minutes=1)
    with database.write() as session:
        session.execute(sa.update(Annotation).values(leased_until=over))
    back = post(ada, "comparisons/next")  # nobody took it: still hers, and the lease begins anew
    assert (back["id"], back["value"]) == (work["id"], saved["value"])
    post(ben, "comparisons/next", 404)
    with database.write() as session:
        session.execute(sa.update(Annotation).values(leased_until=over))
    taken = post(ben, "comparisons/next")
    assert taken["id"] != work["id"]
    assert sorted(taken["answers"]) == sorted(work["answers"])
    assert taken["value"]["tiers"] == []
    assert "somebody else has it now" in put(ada, path, 409, revision=1, value={})["error"]["message"]
    assert get(ada, path)["value"]["tiers"] == [[0]], "what she had is still there to read"
    post(ada, "comparisons/next", 404)


def test_a_saved_step_renews_the_lease(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings(lease_minutes=10.0))
    consenting(client)
    work = post(client, "comparisons/next")
    soon = now() + timedelta(seconds=5)
    with database.write() as session:
        session.execute(sa.update(Annotation).values(leased_until=soon))
    put(client, f"comparisons/{work['id']}", revision=0, value={"tiers": [[0]]})
    with database.read() as session:
        assert session.scalars(sa.select(Annotation)).one().leased_until > soon + timedelta(minutes=9)


def test_nobody_gets_a_task_that_somebody_else_takes_at_the_same_moment(
    serve: Serve, database: Database, trainers: None
) -> None:
    """One place, three people at once: one gets it."""
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings())
    clients = [log_in(client, name) for name in ("ada", "ben", "eve")]
    consenting(clients[0])
    work = post(clients[0], "comparisons/next")
    post(clients[0], f"comparisons/{work['id']}/skip", revision=0, reason="no idea")
    barrier, found = threading.Barrier(2), []

    def take(one: TestClient) -> None:
        barrier.wait()
        found.append(one.post("/api/labelling/comparisons/next").status_code)

    threads = [threading.Thread(target=take, args=(one,)) for one in clients[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 404]


def test_skipped_tasks_go_to_others_but_not_for_ever(serve: Serve, database: Database, trainers: None) -> None:
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings())
    clients = [log_in(client, name) for name in ("ada", "ben", "eve")]
    consenting(clients[0])
    for one in clients[:2]:
        work = post(one, "comparisons/next")
        skipped = post(one, f"comparisons/{work['id']}/skip", revision=0, reason="a language that I cannot read")
        assert skipped["state"] == "skipped"
        post(one, "comparisons/next", 404)
    post(clients[2], "comparisons/next", 404)
    with database.read() as session:
        assert session.scalars(sa.select(Task)).one().skips == 2
    rex = log_in(client, "rex")
    assert {work["skip_reason"] for work in get(rex, "annotations")["works"]} == {"a language that I cannot read"}


def test_several_people_get_the_same_task_and_agreement_is_measured(
    serve: Serve, database: Database, trainers: None
) -> None:
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings(overlap_share=1.0, overlap_people=2))
    ada, ben, eve, rex = (log_in(client, name) for name in ("ada", "ben", "eve", "rex"))
    consenting(ada)
    for one in (ada, ben):
        work = post(one, "comparisons/next")
        order = sorted(range(4), key=lambda place: work["answers"][place])  # both rank by the alphabet
        marks = [{"helpful": answer.endswith("wet")} for answer in work["answers"]]
        value = {"tiers": [[place] for place in order], "marks": marks}
        post(one, f"comparisons/{work['id']}/submit", revision=0, value=value)
    post(eve, "comparisons/next", 404)
    found = get(rex, "quality")
    assert found["ranking"] == {"alpha": 1.0, "units": 4, "values": 8}
    assert found["criteria"]["helpful"] == {"alpha": 1.0, "units": 4, "values": 8}
    assert found["criteria"]["harmless"] == {"alpha": None, "units": 0, "values": 0}
    assert [counts(one["others"]) for one in found["annotators"]] == [(6, 6)] * 2
    assert found["annotators"][0]["gold"] == {"alike": 0, "pairs": 0, "low": None, "high": None}
    assert all(one["trust"] is None and one["median_seconds"] >= 0 for one in found["annotators"])
    works = get(rex, "annotations", state="submitted")["works"]
    rankings = [work["ranking"] for work in works]
    assert rankings[0] == rankings[1], "by candidate they are the same, whatever was shown where"
    assert all(work["candidates"][0]["model"] == "tiny" for work in works)


def test_gold_and_repeated_tasks_measure_who_ranks(serve: Serve, database: Database, trainers: None) -> None:
    hours = 1.0
    shares = {"gold_share": 1.0, "repeat_after_hours": hours}
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings(**shares))
    ada, ben, rex = (log_in(client, name) for name in ("ada", "ben", "rex"))
    consenting(ada)
    rank(ada)
    [work] = get(rex, "annotations")["works"]
    refused = put(rex, f"tasks/{work['task']}/gold", 400, ranking=[[0], [1]])
    assert "2 of the 4" in refused["error"]["message"]
    put(rex, f"tasks/{work['task']}/gold", 204, ranking=[[3], [2], [1], [0]])
    put(rex, "tasks/task_none/gold", 404, ranking=None)
    given = post(ben, "comparisons/next")  # the only place was taken; as a known one it is for everybody
    with database.read() as session:
        shown = session.get_one(Annotation, given["id"]).shown_order
    place = {candidate: number for number, candidate in enumerate(shown)}
    tiers = [[place[3]], [place[1]], [place[2], place[0]]]  # of six pairs 3>2 3>1 3>0 and 1>0 are right
    post(ben, f"comparisons/{given['id']}/submit", revision=0, value={"tiers": tiers})
    by_user = {one["user"]: one for one in get(rex, "quality")["annotators"]}
    with database.read() as session:
        ben_id = users.named(session, "ben").id
    gold = by_user[ben_id]["gold"]
    assert counts(gold) == (4, 6)
    # Wilson, 4 of 6: the two roots of (p - 4/6)² = 1.96² p (1 - p) / 6
    assert [gold["low"], gold["high"]] == pytest.approx([0.300, 0.903], abs=0.001)
    assert by_user[ben_id]["trust"] == gold["low"]
    [seen] = get(rex, "annotations", user=ben_id)["works"]
    assert (seen["agrees"], seen["gold"]) == ({"alike": 4, "pairs": 6}, [[3], [2], [1], [0]])
    post(ben, "comparisons/next", 404)  # never the same known one twice


def test_the_same_person_gets_a_task_again_later_once(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings(repeat_share=1.0, repeat_after_hours=1.0))
    consenting(client)
    rank(client)
    post(client, "comparisons/next", 404)
    with database.write() as session:
        session.execute(sa.update(Annotation).values(ended_at=now() - timedelta(hours=2)))
    again = post(client, "comparisons/next")
    with database.read() as session:
        first, second = session.scalars(sa.select(Annotation).order_by(Annotation.repeat))
    assert (second.id, second.task_id, second.repeat) == (again["id"], first.task_id, 1)
    order = [second.shown_order.index(first.shown_order[place]) for place in range(4)]
    post(client, f"comparisons/{again['id']}/submit", revision=0, value={"tiers": [[order[0]], order[1:]]})
    with database.write() as session:
        session.execute(sa.update(Annotation).values(ended_at=now() - timedelta(hours=2)))
    post(client, "comparisons/next", 404)
    [me] = get(client, "quality")["annotators"]
    assert counts(me["themselves"]) == (3, 3)
    assert counts(me["others"]) == (0, 0)
    assert get(client, "quality")["ranking"]["units"] == 0, "who repeats oneself is no second person"


def test_reviewers_see_names_and_of_addresses_not_the_domain(serve: Serve, database: Database, trainers: None) -> None:
    digest = passwords.hash_password(PASSWORD)
    with database.write() as session:
        for name in ("kim@one.example", "kim@two.example", "lee@one.example"):
            users.add(session, name, digest, ["trainer"])
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings())
    ada, rex = log_in(client, "ada"), log_in(client, "rex")
    consenting(ada, "one", "two", "three")
    kim, lee = log_in(client, "kim@one.example"), log_in(client, "lee@one.example")
    rank(kim)
    rank(lee)
    assert set(get(rex, "people").values()) == {"kim", "lee"}, "nobody else did anything"
    rank(log_in(client, "kim@two.example"))
    [work, *_] = get(rex, "annotations")["works"]
    put(rex, f"annotations/{work['id']}/review", review="accepted")
    names = get(rex, "people")
    assert names[work["user"]] == f"kim …{work['user'][-5:]}", "two who would be called the same are told apart"
    assert sorted(name.split(" ")[0] for name in names.values()) == ["kim", "kim", "lee", "rex"]
    assert "example" not in str(names)
    assert ada.get("/api/labelling/people").status_code == 403


def test_reviewers_reject_and_filter(serve: Serve, trainers: None) -> None:
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings())
    ada, rex = log_in(client, "ada"), log_in(client, "rex")
    consenting(ada, "one", "two")
    for _ in range(2):
        rank(ada)
    newest, oldest = get(rex, "annotations", kind="comparison")["works"]
    put(ada, f"annotations/{newest['id']}/review", 403, review="accepted")
    decided = put(rex, f"annotations/{newest['id']}/review", review="rejected", reason="at random")
    assert (decided["review"]["review"], decided["review"]["reason"]) == ("rejected", "at random")
    assert [work["id"] for work in get(rex, "annotations", review="open")["works"]] == [oldest["id"]]
    page = get(rex, "annotations", limit=1)
    assert [work["id"] for work in get(rex, "annotations", limit=1, before=page["next"])["works"]] == [oldest["id"]]
    assert [one["rejected"] for one in get(rex, "quality")["annotators"]] == [1]
    put(rex, "annotations/rank_none/review", 404, review="open")


def test_who_is_no_trainer_labels_nothing(serve: Serve, people: dict[str, str]) -> None:
    client = log_in(serve(accounts=True), "eve")
    post(client, "comparisons/next", 403)
    post(client, "demonstrations", 403)
    assert client.get("/api/labelling/annotations").status_code == 403
    assert client.get("/api/labelling/quality").status_code == 403


def test_guidelines_come_with_the_package(serve: Serve) -> None:
    found = get(serve(), "guidelines")
    assert found["comparisons"].startswith("# Ranking answers")
    assert "## Examples" in found["demonstrations"]


def suggestions(client: TestClient, one: str, **asked: Any) -> list[Any]:
    response = client.post(f"/api/labelling/demonstrations/{one}/suggestions", json=asked)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return [SUGGESTIONS.validate_json(block.removeprefix("data: ")) for block in response.text.split("\n\n")[:-1]]


def test_a_demonstration_is_written_with_suggestions(serve: Serve, database: Database) -> None:
    engine = ScriptedEngine(["falls from clouds", "is water"], rows=2)
    client = serve(engine)
    work = post(client, "demonstrations", 201)
    path = f"demonstrations/{work['id']}"
    asked = {"role": "user", "content": "what is rain?"}
    events = suggestions(client, work["id"], messages=[asked], begun="Rain ", count=2, temperature=0.9)
    *before, first, second = events
    assert isinstance(first, Suggested)
    assert isinstance(second, Suggested)
    assert {type(event) for event in before} == {Delta, Done}
    assert [first.text, second.text] == ["Rainfalls from clouds", "Rainis water"]  # scripted words have no space
    prompt = engine.renderer.prompt([Message(**asked)]) + engine.renderer.words("Rain")
    assert [len(one.prompt) for one in engine.asks] == [len(prompt)] * 2
    with database.read() as session:
        stored = session.scalars(sa.select(Suggestion)).all()
    assert {one.id: one.content for one in stored} == {first.id: first.text, second.id: second.text}
    assert all(one.model == "tiny" and one.sampling["temperature"] == 0.9 for one in stored)
    half = {"messages": [asked, {"role": "assistant", "content": ""}], "taken": []}
    work = put(client, path, revision=0, value=half)
    whole = {
        "messages": [asked, {"role": "assistant", "content": "Rain falls from clouds."}],
        "taken": [{"message": 1, "suggestion": first.id}],
    }
    work = put(client, path, revision=1, value=whole)
    assert post(client, f"{path}/undo", revision=2)["value"] == half
    refused = post(client, f"{path}/submit", 400, revision=3, value=half)
    assert refused["error"]["message"] == "message 2 is empty"
    done = post(client, f"{path}/submit", revision=3, value=whole)
    assert (done["state"], done["value"]) == ("submitted", whole)
    assert [one["id"] for one in get(client, "demonstrations")["demonstrations"]] == [work["id"]]
    other = post(client, "demonstrations", 201)
    thrown = post(client, f"demonstrations/{other['id']}/skip", revision=0, reason="dull")
    assert thrown["state"] == "skipped"
    assert len(get(client, "demonstrations")["demonstrations"]) == 1
    totals = get(client, "totals")["totals"]
    assert [(one["kind"], one["state"], one["works"]) for one in totals] == [
        ("demonstration", "skipped", 1),
        ("demonstration", "submitted", 1),
    ]


def test_suggestions_are_for_own_dialogues_that_end_with_a_question(serve: Serve, trainers: None) -> None:
    client = serve(accounts=True)
    ada, ben = log_in(client, "ada"), log_in(client, "ben")
    work = post(ada, "demonstrations", 201)
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    post(ben, f"demonstrations/{work['id']}/suggestions", 404, **asked)
    answer = {"role": "assistant", "content": "yes"}
    unasked = post(ada, f"demonstrations/{work['id']}/suggestions", 422, messages=[*asked["messages"], answer])
    assert "must be from the user" in unasked["error"]["message"]


def test_a_suggestion_that_fails_is_not_stored(serve: Serve, database: Database) -> None:
    client = serve([RuntimeError("the model is ill")])
    work = post(client, "demonstrations", 201)
    events = suggestions(client, work["id"], messages=[{"role": "user", "content": "hi"}], count=1)
    assert [event.type for event in events] == ["error"]
    with database.read() as session:
        assert session.scalars(sa.select(Suggestion)).all() == []


def test_work_goes_with_its_conversation(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    one = consenting(client)
    rank(client)
    client.delete(f"/api/conversations/{one}")
    with database.read() as session:
        assert session.scalars(sa.select(Task)).all() == []
        assert annotations.all_rankings(session) == []


def test_time_spent_counts_no_long_pauses(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    consenting(client)
    work = post(client, "comparisons/next")
    for pause, number in ((10, 0), (3600, 1)):
        with database.write() as session:
            session.execute(sa.update(Annotation).values(saved_at=now() - timedelta(seconds=pause)))
        put(client, f"comparisons/{work['id']}", revision=number, value={"tiers": [[number]]})
    with database.read() as session:
        assert session.scalars(sa.select(Annotation)).one().seconds == pytest.approx(70, abs=2)


def test_labelling_takes_at_most_five_statements(serve: Serve, database: Database, trainers: None) -> None:
    client = serve(ScriptedEngine(REPLIES), accounts=True, settings=settings(overlap_share=1.0))
    ada, ben, rex = (log_in(client, name) for name in ("ada", "ben", "rex"))
    consenting(ada, "one", "two", "three")
    seen: dict[str, str] = {}

    def next_one(one: TestClient) -> Any:
        response = one.post("/api/labelling/comparisons/next")
        seen["path"] = f"/api/labelling/comparisons/{response.json()['id']}"
        return response

    def demonstration() -> Any:
        response = ada.post("/api/labelling/demonstrations")
        seen["demo"] = f"/api/labelling/demonstrations/{response.json()['id']}"
        return response

    whole = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "taken": []}
    all_bad = {"all_bad": True}
    requests: dict[str, Callable[[], Any]] = {
        "sampled": lambda: next_one(ada),
        "own again": lambda: next_one(ada),
        "open": lambda: ada.get(seen["path"]),
        "save": lambda: ada.put(seen["path"], json={"revision": 0, "value": {"tiers": [[0]]}}),
        "undo": lambda: ada.post(f"{seen['path']}/undo", json={"revision": 1}),
        "submit": lambda: ada.post(f"{seen['path']}/submit", json={"revision": 2, "value": all_bad}),
        "somebody else's place": lambda: next_one(ben),
        "skip": lambda: ben.post(f"{seen['path']}/skip", json={"revision": 0, "reason": ""}),
        "list": lambda: rex.get("/api/labelling/annotations"),
        "quality": lambda: rex.get("/api/labelling/quality"),
        "review": lambda: rex.put(
            f"/api/labelling/annotations/{seen['path'].split('/')[-1]}/review", json={"review": "accepted"}
        ),
        "begin": demonstration,
        "suggest": lambda: ada.post(
            f"{seen['demo']}/suggestions", json={"messages": [{"role": "user", "content": "q"}]}
        ),
        "write": lambda: ada.put(seen["demo"], json={"revision": 0, "value": {"messages": []}}),
        "hand in": lambda: ada.post(f"{seen['demo']}/submit", json={"revision": 1, "value": whole}),
        "own": lambda: ada.get("/api/labelling/demonstrations"),
        "totals": lambda: ada.get("/api/labelling/totals"),
    }
    for name, request in requests.items():
        with statements(database) as counts:
            response = request()
            assert response.status_code < 300, (name, response.text)
        assert 1 <= counts["asked"] <= 5, (name, counts)


def test_own_work_is_in_the_own_export_and_nobody_elses(serve: Serve, trainers: None) -> None:
    owner = log_in(serve(ScriptedEngine(REPLIES, rows=4), accounts=True, settings=settings()), "eve")
    consenting(owner, "a secret question of eve")
    ada, ben = log_in(owner, "ada"), log_in(owner, "ben")
    ranked = rank(ada)
    written = post(ada, "demonstrations", 201)
    asked = {"role": "user", "content": "Wat is regen?"}
    suggestions(ada, written["id"], messages=[asked], count=2)
    put(ada, f"demonstrations/{written['id']}", revision=0, value={"messages": [asked]})
    found = ada.get("/api/me/export").json()["work"]
    assert [(one["id"], one["kind"], one["state"]) for one in found] == [
        (ranked["id"], "comparison", "submitted"),
        (written["id"], "demonstration", "open"),
    ]
    assert found[0]["value"]["tiers"] == ranked["value"]["tiers"]
    assert found[1]["value"]["messages"] == [asked]
    assert len(found[1]["suggestions"]) == 2
    assert "secret" not in ada.get("/api/me/export").text
    assert ben.get("/api/me/export").json()["work"] == []


def test_a_busy_model_says_so(serve: Serve) -> None:
    engine = Gated(list(REPLIES))
    engine.gate.set()
    client = serve(engine, settings=ServeSettings(most_waiting=1, labelling=LabellingSettings(**ONLY_NEW)))
    consenting(client)
    engine.gate.clear()
    scheduler = client.app.state.service.scheduler  # type: ignore[attr-defined]
    ask(client, begin(client), "one that is answered")
    until(scheduler.running)
    ask(client, begin(client), "one that waits")
    assert client.post("/api/labelling/comparisons/next").status_code == 429
    engine.gate.set()
