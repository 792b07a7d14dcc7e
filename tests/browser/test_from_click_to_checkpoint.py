"""The whole way once: from clicks in a browser to the rows of a reward model, and from its checkpoint back."""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from driving import Open, Serve, answered, ask
from playwright.sync_api import Locator, Page, expect
from teaching import ALTERNATIVES, ONLY_NEW
from tests.rounds.tiny_recipe import MACHINE, of_the_reward_model, write_tiny_recipe
from typer.testing import CliRunner

from accordant.cli import app, judgements
from accordant.files import runs_folder
from accordant.rounds import run, stages
from accordant.serve.settings import ServeSettings
from accordant.store import conversations
from accordant.store.database import Database
from accordant.store.schema import AuditEntry
from accordant.text import Renderer
from accordant.train.rankings import Ranking

assert judgements  # registers the commands


def accordant(*arguments: str) -> list[str]:
    """What the command prints."""
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.strip().splitlines()


def test_from_a_click_to_the_rows_of_a_reward_model_and_from_its_checkpoint_to_the_click(
    serve: Serve, open_page: Open, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path / "workspace"))
    monkeypatch.setattr(run, "measure", lambda: MACHINE)
    # One answer in eight is offered a second one, by its id.
    monkeypatch.setattr(conversations, "new_id", lambda kind: f"{kind}_A{secrets.token_urlsafe(16)}")
    question = of_the_reward_model()
    page = open_page(serve(["It rains.", "It pours.", *ALTERNATIVES], settings=ServeSettings(labelling=ONLY_NEW)))
    clicked: dict[str, str] = {}

    # In the browser: a thumb with the ideal answer, the better of two answers, a ranking.
    page.get_by_role("switch", name="May be used for training").click()
    ask(page, question)
    answered(page)
    page.get_by_role("button", name="A bad answer").click()
    form = page.get_by_role("form", name="About this answer")
    form.get_by_role("textbox", name="What would the ideal answer have been?").fill("Water that falls from clouds.")
    clicked["rating"] = made(page, "rating", form.get_by_role("button", name="Keep"))
    expect(form).to_have_count(0)
    page.get_by_role("button", name="See a second answer and choose").click()
    expect(page.locator("article.answer .prose")).to_have_text("It pours.")
    better = page.get_by_role("group", name="Compared with the version before").get_by_role("button", name="better")
    clicked["choice"] = made(page, "choice", better)
    expect(better).to_have_attribute("aria-pressed", "true")
    page.goto("/label/compare")
    expect(page.locator(".card")).to_have_count(4)
    shown = [card.locator(".text").inner_text() for card in page.locator(".card").all()]
    for letter, place in zip("ABCD", (2, 1, 3, 3), strict=True):
        page.locator(".board").get_by_role("button", name=f"Answer {letter}").click()
        page.get_by_role("group", name=f"Place {place} of 4").click(position={"x": 4, "y": 4})
    clicked["ranking"] = made(page, "submit", page.get_by_role("button", name="Hand in"))
    expect(page.get_by_text("Handed in. Thank you.")).to_be_attached()

    # Built, and learned: what the reward model's stage is given.
    accordant("data", "build", "--database", f"sqlite:///{tmp_path}/accordant.db")
    learned: list[Sequence[Ranking]] = []
    stage = stages.RewardStage

    def watched(model: Any, rankings: Sequence[Ranking], *others: Any) -> Any:
        learned.append(rankings)
        return stage(model, rankings, *others)

    monkeypatch.setattr(stages, "RewardStage", watched)
    accordant("reward", str(write_tiny_recipe(tmp_path)), "--set", 'data.built="own"')
    checkpoint = runs_folder() / "tiny" / "reward" / "checkpoint"
    rows = tiers_of(learned[0], Renderer.load(checkpoint))
    assert rows[clicked["ranking"]] == [{shown[1]}, {shown[0]}, set(shown[2:])]
    assert rows[clicked["rating"]] == [{"Water that falls from clouds."}, {"It rains."}]
    assert rows[clicked["choice"]] == [{"It pours."}, {"It rains."}]

    # Back: the checkpoint names these very judgements, and the service tells of each who said what of which words.
    *_, uses = accordant("lineage", str(checkpoint), "--json")
    ranked = {use["judgement"] for use in json.loads(uses) if use["file"] == "comparisons.jsonl"}
    assert ranked == set(clicked.values())
    for judgement in ranked:
        assert str(checkpoint) in accordant("lineage", judgement)
    assert said_of(page, clicked["rating"]) == ("local", "It rains.")
    assert said_of(page, clicked["choice"]) == ("local", "It rains.")
    [work] = page.request.get("/api/labelling/annotations?state=submitted").json()["works"]
    assert (work["id"], work["messages"][-1]["content"]) == (clicked["ranking"], question)
    with database.read() as session:
        acts = {entry.subject: entry.action for entry in session.query(AuditEntry) if entry.subject in ranked}
    assert set(acts) == ranked


def made(page: Page, route: str, button: Locator) -> str:
    """What a click made by the route whose address ends so: its id in the store."""
    with page.expect_response(lambda response: response.url.endswith(f"/{route}") and response.ok) as told:
        button.click()
    made_id: str = told.value.json()["id"]
    return made_id


def said_of(page: Page, judgement: str) -> tuple[str, str]:
    """Who said it, and the message that it is on."""
    found = page.request.get("/api/feedback").json()["feedback"]
    [one] = [one for one in found if one["id"] == judgement]
    names = page.request.get("/api/labelling/people").json()
    return names[one["user"]], one["content"]


def tiers_of(rankings: Sequence[Ranking], renderer: Renderer) -> dict[str, list[set[str]]]:
    """By row: the answers of each tier, read from the token ids that the model is given."""

    def answer(ids: list[int]) -> str:
        return renderer.tokenizer.decode(ids).split("assistant\n")[1].strip()

    return {
        ranking.id: [
            {answer(ids) for ids, own in zip(ranking.sequences, ranking.tiers, strict=True) if own == tier}
            for tier in sorted(set(ranking.tiers))
        ]
        for ranking in rankings
    }
