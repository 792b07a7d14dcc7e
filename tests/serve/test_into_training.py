"""From a click to the rows that a model learned, and from its checkpoint back to the click."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from test_conversations import answered, begin
from test_feedback import another_answer
from test_labelling import REPLIES, post, put, rank, settings
from tests.rounds.tiny_recipe import (
    MACHINE,
    of_the_reward_model,
    question_is_the_rewards,
    user,
    write_jsonl,
    write_tiny_recipe,
)

from accordant.config import load_recipe
from accordant.data.load import load_comparisons, load_demonstrations, load_labelled_texts
from accordant.data.split import split_by_prompt
from accordant.errors import AccordantError
from accordant.files import data_folder, manifests_folder, read_json, runs_folder, sha256
from accordant.labelling.build import build_data
from accordant.progress import SILENT
from accordant.records import Comparison
from accordant.rounds import run, stages
from accordant.rounds.data import load_round_data
from accordant.rounds.lineage import checkpoints_after, judgements_behind
from accordant.store.database import Database
from accordant.testing.scripted import ScriptedEngine

Serve = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path / "workspace"))
    monkeypatch.setattr(run, "measure", lambda: MACHINE)


def say(client: TestClient, path: str, **body: Any) -> str:
    response = client.put(f"/api/conversations/{path}", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / "manifest.json")
    return found


def made_of(manifest: dict[str, Any], file: str) -> dict[str, list[str]]:
    """Judgements by row."""
    found: dict[str, list[str]] = manifest["files"][file]["judgements"]
    return found


def test_from_a_click_to_a_checkpoint_and_back(
    serve: Serve, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    question = of_the_reward_model()
    one = begin(client, consent=True)
    first = answered(client, one, question)["answer"]
    second = another_answer(client, one, first)
    up = say(client, f"{one}/messages/{first}/rating", thumb="up")
    down = say(client, f"{one}/messages/{second}/rating", thumb="down", ideal="Water that falls from clouds.")
    ranking = rank(client)["id"]
    dialogue = {"messages": [*user("and snow?"), {"role": "assistant", "content": "Ice that falls."}]}
    demonstration = post(client, "demonstrations", 201)["id"]
    post(client, f"demonstrations/{demonstration}/submit", revision=0, value=dialogue)

    folder = build_data(database)
    manifest = manifest_of(folder)
    assert made_of(manifest, "comparisons.jsonl") == {
        ranking: [ranking],
        down: [down],
        f"{up}+{down}": [up, down],
    }
    assert made_of(manifest, "demonstrations.jsonl") == {demonstration: [demonstration], down: [down]}

    learned: list[str] = []
    parts = stages.ranking_parts

    def watched(own: Sequence[Comparison], *others: Any) -> Any:
        learned.extend(comparison.id for comparison in own)
        return parts(own, *others)

    monkeypatch.setattr(stages, "ranking_parts", watched)
    recipe = load_recipe(write_tiny_recipe(tmp_path), {"data.built": "own"})
    reward = run.carry_out(recipe, SILENT, run.train_reward)
    assert {ranking, down, f"{up}+{down}"} <= set(learned)

    behind = {use.judgement: use for use in judgements_behind(reward)}
    assert set(behind) == {up, down, ranking, demonstration}
    assert behind[ranking].sha256 in read_json(reward / "run.json")["data_sha256"].values()
    sft = runs_folder() / "tiny" / "sft" / "checkpoint"
    assert {use.judgement for use in judgements_behind(sft)} == {demonstration, down}
    assert checkpoints_after(ranking) == checkpoints_after(up) == [reward]
    assert checkpoints_after(down) == [reward, sft]

    # The conversation is deleted: the next data know nothing of it, and which checkpoints do is still known.
    client.delete(f"/api/conversations/{one}")
    later = manifest_of(build_data(database))
    assert "comparisons.jsonl" not in later["files"]
    assert not (folder / "comparisons.jsonl").exists()
    assert later["withdrawn"] == 3
    assert made_of(later, "demonstrations.jsonl") == {demonstration: [demonstration]}
    assert question not in "".join(path.read_text() for path in folder.iterdir())
    assert question not in "".join(path.read_text() for path in manifests_folder().iterdir())
    assert checkpoints_after(ranking) == [reward]
    with pytest.raises(AccordantError, match="in no data"):
        checkpoints_after("rank_never")


def test_lineage_names_what_a_model_learned_and_not_what_stood_in_the_same_file(
    serve: Serve, database: Database, tmp_path: Path
) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    by_part: dict[bool, set[str]] = {True: set(), False: set()}
    for number in range(6):
        one = begin(client, consent=True)
        question = f"what is wet number {number}?"
        answer = answered(client, one, question)["answer"]
        by_part[question_is_the_rewards(question)].add(say(client, f"{one}/messages/{answer}/rating", ideal="x"))
    assert all(by_part.values())
    build_data(database)
    recipe = load_recipe(write_tiny_recipe(tmp_path), {"data.built": "own", "sft.holdout_share": 0.5})
    reward, judge = run.carry_out(recipe, SILENT, run.train_reward), run.carry_out(recipe, SILENT, run.train_judge)

    def ranked(checkpoint: Path) -> set[str]:
        return {use.judgement for use in judgements_behind(checkpoint) if use.file == "comparisons.jsonl"}

    assert ranked(reward) == by_part[True]
    assert ranked(judge) == by_part[False]
    sft = run.carry_out(recipe, SILENT, run.train_sft)
    taught = split_by_prompt(load_demonstrations(data_folder() / "own" / "demonstrations.jsonl").records, 0.5, 0)[0]
    assert {use.judgement for use in judgements_behind(sft)} == {row.id for row in taught}
    [one] = [row.id for row in taught[:1]]
    assert sft in checkpoints_after(one)
    dpo = run.carry_out(recipe, SILENT, run.train_dpo)
    assert ranked(dpo) == by_part[True]
    policy = run.carry_out(recipe, SILENT, run.train_ppo)
    assert ranked(policy) == by_part[True] | by_part[False], "it answers the prompts of all rows"


def test_a_run_that_begins_with_a_checkpoint_has_what_that_learned(
    serve: Serve, database: Database, tmp_path: Path
) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    one = begin(client, consent=True)
    ideal = say(client, f"{one}/messages/{answered(client, one, 'q')['answer']}/rating", ideal="a better one")
    build_data(database)
    path = write_tiny_recipe(tmp_path)
    sft = run.carry_out(load_recipe(path, {"data.built": "own"}), SILENT, run.train_sft)
    again = run.carry_out(load_recipe(path, {"run.base": str(sft), "run.name": "again"}), SILENT, run.train_sft)
    assert [use.judgement for use in judgements_behind(again)] == [ideal]
    assert checkpoints_after(ideal) == [again, sft]


def test_every_judgement_is_in_a_row_or_left_out_with_a_reason(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    private = begin(client)
    say(client, f"{private}/messages/{answered(client, private, 'mine')['answer']}/rating", ideal="no")
    one = begin(client, consent=True)
    begun = answered(client, one, "what is wet?")
    first = begun["answer"]
    second, third = another_answer(client, one, first), another_answer(client, one, first)
    chosen = say(client, f"{one}/choice", left=first, right=second, preferred="right")
    say(client, f"{one}/choice", left=first, right=third, preferred="tie")
    say(client, f"{one}/choice", left=third, right=second, preferred="neither")
    lonely = say(client, f"{one}/messages/{first}/rating", thumb="up")
    missed = say(client, f"{one}/messages/{first}/report", fault="false_negative", categories=["hate"])
    say(client, f"{one}/messages/{second}/report", fault="false_negative")
    wrong = say(client, f"{one}/messages/{begun['question']}/report", fault="false_positive", categories=["sexual"])
    harmless = say(client, f"{one}/messages/{third}/report", fault="false_positive")
    ranked = rank(client)
    bad = post(client, "comparisons/next")
    post(client, f"comparisons/{bad['id']}/submit", revision=0, value={"all_bad": True})
    tied = post(client, "comparisons/next")
    post(client, f"comparisons/{tied['id']}/submit", revision=0, value={"tiers": [[0, 1, 2, 3]]})
    post(client, "demonstrations", 201)
    thrown = post(client, "demonstrations", 201)["id"]
    post(client, f"demonstrations/{thrown}/skip", revision=0, reason="")

    folder = build_data(database)
    manifest = manifest_of(folder)
    assert manifest["left_out"] == {
        "choice": {"no answer is better than another": 2},
        "demonstration": {"not handed in": 1, "skipped": 1},
        "ranking": {"all answers are bad, and they are not ranked": 1, "no answer is better than another": 1},
        "rating": {"no consent": 1, "a thumb without another answer to compare with": 1},
        "report": {"no category is named": 1},
    }
    assert manifest["files"]["comparisons.jsonl"]["sources"] == {"ranking": 1, "choice": 1}
    assert manifest["withdrawn"] == 0
    for file, about in manifest["files"].items():
        assert about["sha256"] == sha256(folder / file)
        assert about["rows"] == len((folder / file).read_text().splitlines()) == len(about["judgements"])
    comparisons = {one.id: one for one in load_comparisons(folder / "comparisons.jsonl").records}
    choice = comparisons[chosen]
    best = choice.candidates[choice.ranking[0][0]]
    assert (best.content, best.model) == (REPLIES[2], "tiny")  # the second answer in this conversation
    assert choice.shown_order == (1, 0), "the better one was shown on the right"
    ranking = comparisons[ranked["id"]]
    assert ranking.candidates[ranking.ranking[0][0]].content == ranked["answers"][0]
    assert ranking.candidates[ranking.shown_order[0]].content == ranked["answers"][0]
    assert len(ranking.ranking[1]) == 3
    texts = {one.id: one.labels for one in load_labelled_texts(folder / "moderation.jsonl").records}
    assert (texts[missed], texts[wrong]) == ({"hate": True}, {"sexual": False})
    assert set(texts[harmless].values()) == {False}
    assert len(texts[harmless]) == 8

    put(client, f"annotations/{ranked['id']}/review", review="rejected")
    assert client.put(f"/api/feedback/{missed}/review", json={"review": "rejected"}).status_code == 200
    assert client.delete(f"/api/feedback/{lonely}").status_code == 204
    client.patch(f"/api/conversations/{private}", json={"consent": True})
    rejecting = manifest_of(build_data(database))
    assert rejecting["left_out"]["ranking"]["rejected by a reviewer"] == 1
    assert rejecting["left_out"]["report"]["rejected by a reviewer"] == 1
    assert "rating" not in rejecting["left_out"]
    assert rejecting["withdrawn"] == 1
    assert rejecting["files"]["demonstrations.jsonl"]["sources"] == {"ideal answer": 1}
    client.patch(f"/api/conversations/{one}", json={"consent": False})
    without = manifest_of(build_data(database))
    assert without["left_out"]["ranking"] == {"no consent": 3}


def test_known_and_repeated_rankings_measure_and_are_not_learned(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    one = begin(client, consent=True)
    answered(client, one, "q")
    rank(client)
    [work] = client.get("/api/labelling/annotations").json()["works"]
    put(client, f"tasks/{work['task']}/gold", 204, ranking=work["ranking"])
    manifest = manifest_of(build_data(database))
    assert manifest["left_out"] == {"ranking": {"its ranking is known: it measures who ranks": 1}}
    assert manifest["files"] == {}


def test_what_was_taken_from_a_suggestion_stands_in_the_row(serve: Serve, database: Database) -> None:
    client = serve(ScriptedEngine(["falls from clouds"]))
    work = post(client, "demonstrations", 201)["id"]
    response = client.post(
        f"/api/labelling/demonstrations/{work}/suggestions", json={"messages": user("rain?"), "count": 1}
    )
    suggestion = response.text.split('"id":"')[1].split('"')[0]
    dialogue = {
        "messages": [*user("rain?"), {"role": "assistant", "content": "falls from clouds!!!"}],
        "taken": [{"message": 1, "suggestion": suggestion}],
    }
    post(client, f"demonstrations/{work}/submit", revision=0, value=dialogue)
    [row] = load_demonstrations(build_data(database) / "demonstrations.jsonl").records
    [taken] = row.suggestions
    assert (taken.suggestion, taken.model, taken.message) == (suggestion, "tiny", 1)
    assert taken.edited == pytest.approx(3 / 20)


def test_what_the_evaluation_asks_is_not_taught(serve: Serve, database: Database, tmp_path: Path) -> None:
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    one = begin(client, consent=True)
    say(client, f"{one}/messages/{answered(client, one, 'harmful thing to measure 0')['answer']}/rating", ideal="x")
    path = write_tiny_recipe(tmp_path)
    build_data(database)
    with pytest.raises(AccordantError, match="also trained on"):
        load_round_data(load_recipe(path, {"data.built": "own"}).data, SILENT)
    manifest = manifest_of(build_data(database, apart_from=[tmp_path / "evaluation.jsonl"]))
    assert manifest["left_out"] == {"ideal answer": {"too like an evaluation prompt": 2}}
    load_round_data(load_recipe(path, {"data.built": "own"}).data, SILENT)


def test_a_round_takes_the_built_data_as_they_were_built_or_not_at_all(
    serve: Serve, database: Database, tmp_path: Path
) -> None:
    recipe = load_recipe(write_tiny_recipe(tmp_path), {"data.built": "own"})
    with pytest.raises(AccordantError, match="accordant data build --name own"):
        load_round_data(recipe.data, SILENT)
    client = serve(ScriptedEngine(REPLIES), settings=settings())
    one = begin(client, consent=True)
    say(client, f"{one}/messages/{answered(client, one, 'q')['answer']}/rating", ideal="x")
    folder = build_data(database)
    assert load_round_data(recipe.data, SILENT).comparisons[-1].candidates[1].content == "x"
    write_jsonl(folder / "comparisons.jsonl", [{"id": "mine"}])
    with pytest.raises(AccordantError, match="is not what was built"):
        load_round_data(recipe.data, SILENT)
