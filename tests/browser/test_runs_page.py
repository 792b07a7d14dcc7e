"""The rounds of the workspace in a browser: curves that grow, results, samples, and who may see them."""

import json
from pathlib import Path
from typing import Any

import pytest
from driving import Open, Serve
from made_up_rounds import append, begin_round, finish_round, ppo_row
from playwright.sync_api import Page, expect
from test_accounts_page import enter
from test_looks import LOOKS, look

from accordant.files import only_one
from accordant.rounds import status
from accordant.store import settings
from accordant.store.database import Database
from accordant.store.settings import AccountSettings

PAYLOADS = json.loads(Path(__file__).with_name("payloads.json").read_text())


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path))
    monkeypatch.setattr(status, "_WRITE_EVERY_SECONDS", 0.0)
    return tmp_path / "runs"


def reader(page: Page, title: str) -> Any:
    """The slider by which a chart is read."""
    return page.get_by_role("slider", name=title)


def test_a_curve_grows_while_the_round_runs(serve: Serve, open_page: Open, runs: Path) -> None:
    folder = runs / "first"
    with only_one(folder):
        keeper = begin_round(folder)
        page = open_page(serve())
        page.get_by_role("link", name="Training runs").click()
        row = page.get_by_role("listitem")
        expect(row).to_contain_text("running")
        expect(row.get_by_role("progressbar")).to_have_attribute("value", str(4 / 12))
        row.get_by_role("link", name="first").click()
        expect(page.get_by_role("link", name="PPO, running")).to_have_attribute("aria-current", "true")
        expect(reader(page, "Reward")).to_have_attribute("aria-valuetext", "iteration 4: −0.589")
        drawn = page.locator(".line").first.get_attribute("d") or ""
        sent: list[list[int]] = []
        page.on(
            "response",
            lambda answer: (
                sent.append([row["step"] for row in answer.json()["rows"]]) if "/metrics/ppo" in answer.url else None
            ),
        )
        with (folder / "ppo" / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(ppo_row(4)) + "\n" + json.dumps(ppo_row(5))[:-30])
            file.flush()
            keeper.step(5, {})
            expect(reader(page, "Reward")).to_have_attribute("max", "4")
            file.write(json.dumps(ppo_row(5))[-30:] + "\n")
        keeper.step(12, {})
        expect(reader(page, "Reward")).to_have_attribute("max", "5")
        expect(page.locator("header").get_by_role("progressbar")).to_have_attribute("value", "1")
        assert page.locator(".line").first.get_attribute("d") != drawn
        assert [step for steps in sent for step in steps] == [4, 5]  # each line is sent once
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("listitem")).to_contain_text("stopped")


def test_a_round_that_goes_back_draws_only_what_holds(serve: Serve, open_page: Open, runs: Path) -> None:
    folder = runs / "first"
    with only_one(folder):
        begin_round(folder)
        page = open_page(serve() + "/runs/first/ppo")
        expect(reader(page, "Reward")).to_have_attribute("max", "3")
        (folder / "ppo" / "metrics.jsonl").unlink()
        append(folder / "ppo" / "metrics.jsonl", *map(ppo_row, range(2)), ppo_row(2) | {"reward": 0.25})
        expect(reader(page, "Reward")).to_have_attribute("aria-valuetext", "iteration 3: 0.25")


def test_values_are_read_by_pointer_by_keys_and_in_a_table(serve: Serve, open_page: Open, runs: Path) -> None:
    finish_round(runs / "first")
    page = open_page(serve() + "/runs/first/sft")
    loss = page.get_by_role("figure", name="Loss")
    expect(loss.locator(".at")).to_have_text("step 120")
    box = loss.locator(".plot").bounding_box()
    assert box
    page.mouse.move(box["x"] + 45, box["y"] + 60)
    expect(loss.locator(".at")).to_have_text("step 1")
    expect(loss.locator(".reading")).to_contain_text("training 3.7")
    page.mouse.move(5, 5)
    expect(loss.locator(".at")).to_have_text("step 120")
    reader(page, "Loss").focus()
    page.keyboard.press("ArrowLeft")
    expect(loss.locator(".at")).to_have_text("step 119")
    page.keyboard.press("Home")
    expect(reader(page, "Loss")).to_have_attribute("aria-valuetext", "step 1: training 3.7")
    loss.get_by_text("Table").click()
    expect(loss.locator("tbody tr")).to_have_count(120)
    expect(loss.locator("tbody tr").first).to_have_text("13.7–")


def test_results_and_samples_of_a_finished_round(serve: Serve, open_page: Open, runs: Path) -> None:
    finish_round(runs / "first")
    page = open_page(serve() + "/runs/first")
    expect(page.get_by_role("link", name="Results, done")).to_have_attribute("aria-current", "true")
    expect(page.locator(".intervals li", has_text="PPO − SFT")).to_contain_text("no clear difference")
    expect(page.locator(".intervals li", has_text="SFT − Base")).to_contain_text("+0.43 +0.35 … +0.52higher")
    expect(page.get_by_role("row", name="Harmful refused")).to_contain_text("70%62% … 79%")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").click()
    assert download.value.suggested_filename == "first.html"
    page.get_by_role("link", name="Gate, done").click()
    expect(page.get_by_role("row", name="Length bias")).to_contain_text("within 0.30 of 0passed")
    page.get_by_role("link", name="Samples").click()
    expect(page.locator(".sample").first.locator(".answer-of")).to_have_count(4)
    on_the_way = page.get_by_role("region", name="On the way").locator(".sample", has_text="sea salty")
    expect(on_the_way.locator(".by")).to_have_text(["PPO iteration 1", "PPO iteration 3"])
    page.get_by_role("link", name="PPO, done").click()
    expect(page.get_by_role("region", name="Guards")).to_contain_text("Guards spoke up 4 times")


def test_rounds_are_shown_to_admins_alone(serve: Serve, open_page: Open, database: Database, runs: Path) -> None:
    address = serve(accounts=True)
    with database.write() as session:
        settings.save(session, AccountSettings(sign_up="open"))
    page = open_page(address)
    page.get_by_role("button", name="I have no account").click()
    enter(page, "ada", "correct horse battery", "Create an account")
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    expect(page.get_by_role("link", name="Training runs")).to_have_count(0)
    page.goto("/runs")
    page.wait_for_url("**/chat")


def test_no_payload_does_anything_in_a_run(serve: Serve, open_page: Open, runs: Path) -> None:
    """As answers, as a prompt, as what a guard quotes, as a name."""
    everything = "\n\n".join(PAYLOADS)
    folder = runs / "<img src=x onerror=window.hacked=1>%2F.. ?#"
    finish_round(folder, everything)
    append(folder / "samples.jsonl", {"stage": "ppo", "step": 9, "prompt": everything, "answer": everything})
    append(folder / "ppo" / "guards.jsonl", {"step": 25, "done": "warned", "line": everything})
    page = open_page(serve() + "/runs")
    foreign: list[str] = []
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    page.get_by_role("listitem").get_by_role("link").click()
    expect(page.get_by_role("heading", name=folder.name)).to_be_visible()
    page.get_by_role("link", name="Samples").click()
    expect(page.locator(".sample")).to_have_count(2 + 4)
    page.get_by_role("link", name="PPO, done").click()
    expect(page.get_by_role("figure", name="Reward")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert foreign == []
    assert page.locator("main :is(script, img, iframe, style, object, embed, form)").count() == 0


@pytest.mark.parametrize(("name", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_everybody_can_watch(name: str, options: dict[str, Any], serve: Serve, open_page: Open, runs: Path) -> None:
    page = open_page(serve() + "/runs", **options)
    expect(page.locator(".empty")).to_be_visible()
    look(page, f"{name}-runs-empty")
    finish_round(runs / "starter")
    begin_round(runs / "night").close("failed", "disk full while saving step 4; earlier state is intact")
    with only_one(runs / "second"):
        begin_round(runs / "second")
        page.reload()
        expect(page.locator(".run-list li")).to_have_count(3)
        look(page, f"{name}-runs")
        page.goto("/runs/second")
        expect(page.locator(".curves").first).to_be_visible()
        look(page, f"{name}-run-running")
    for part in ("ppo", "gate", "evaluation", "samples"):
        page.goto(f"/runs/starter/{part}")
        expect(page.locator(".curves, .table, .sample").first).to_be_visible()
        look(page, f"{name}-run-{part}")
    page.goto("/runs/starter/sft")
    page.locator(".numbers summary").first.click()
    page.locator(".plot input").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    look(page, f"{name}-run-reading")
