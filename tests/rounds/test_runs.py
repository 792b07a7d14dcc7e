"""What a round says of itself on disk: while it runs, when it ends, is stopped, fails, or is killed."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from accordant.config import load_recipe
from accordant.errors import AccordantError, Stopped
from accordant.files import only_one, read_json, runs_folder
from accordant.progress import SILENT, Watcher, seconds_left
from accordant.rounds.run import run_round
from accordant.rounds.runs import (
    RunView,
    UnknownRun,
    detail_of,
    evaluation_of,
    find_run,
    list_runs,
    metrics_of,
    samples_of,
    view_of,
)
from accordant.rounds.status import STATUS, StatusKeeper
from accordant.train.loop import read_metrics


class AtPPO(Watcher):
    """Does something after each step of PPO, with the steps that are done."""

    def __init__(self, action: Callable[[int], None]) -> None:
        self._action, self._part = action, ""

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        self._part = stage

    def step(self, done: int, metrics: object) -> None:
        if self._part == "PPO":
            self._action(done)


def states(run: RunView) -> list[str]:
    return [stage.state for stage in run.stages]


def test_a_round_is_seen_running_and_finished(recipe: Path) -> None:
    seen: list[tuple[RunView, int]] = []
    place = ""

    def look(done: int) -> None:
        nonlocal place
        folder = find_run("tiny")
        read = metrics_of(folder, "ppo", place)
        place = read.place
        seen.append((view_of(folder), len(read.rows)))

    assert list_runs() == []
    run_round(load_recipe(recipe), AtPPO(look))
    assert [run.state for run, _ in seen] == ["running"] * 3
    # A step is told before its line is written.
    assert [rows for _, rows in seen] == [0, 1, 1]
    for done, (run, _) in enumerate(seen, start=1):
        assert run.progress
        assert (run.progress.stage, run.progress.part, run.progress.total) == ("ppo", "PPO", 3)
        assert run.progress.done in ((3,) if done == 3 else range(done + 1))  # written at most once a second
        assert states(run) == ["done", "done", "done", "running", "ahead", "ahead"]
    (run,) = list_runs()
    assert (run.name, run.state, run.why, run.progress) == ("tiny", "finished", "", None)
    assert set(states(run)) == {"done"}
    folder = find_run("tiny")
    minutes = read_json(folder / "minutes.json")
    assert {stage.name: stage.minutes for stage in run.stages} == {
        name: minutes[name] for name in minutes if name != "base"
    }
    assert metrics_of(folder, "ppo").rows == read_metrics(folder / "ppo" / "metrics.jsonl")
    assert metrics_of(folder, "ppo", place).rows == read_metrics(folder / "ppo" / "metrics.jsonl")[2:]
    assert [(row.stage, row.step) for row in samples_of(folder).rows] == [("ppo", step) for step in range(3)]
    assert all(row.prompt for row in samples_of(folder).rows)


def test_the_evaluation_is_what_the_round_wrote(recipe: Path) -> None:
    folder = run_round(load_recipe(recipe), SILENT).parent
    written, shown = read_json(folder / "evaluation.json"), evaluation_of(folder)
    assert shown.systems == list(written["systems"])
    for metric in shown.metrics:
        for system, measure in metric.measures.items():
            assert measure.model_dump() == written["systems"][system][metric.name]
    assert {metric.name for metric in shown.metrics} == {name for one in written["systems"].values() for name in one}
    assert [f"{one.left} - {one.right}" for one in shown.differences] == list(written["differences"])
    assert [sample.id for sample in shown.samples] == [sample["id"] for sample in written["samples"]]
    gate = read_json(folder / "reward" / "gate.json")
    assert {row.name: row.verdict for row in detail_of(folder).gate} == {
        name: one["verdict"] for name, one in gate["verdicts"].items()
    }


def test_a_stopped_round_says_so_and_goes_on(recipe: Path) -> None:
    def stop(done: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped):
        run_round(load_recipe(recipe), AtPPO(stop))
    (run,) = list_runs()
    assert run.state == "stopped"
    assert "stopped after step 2 of 3 of PPO" in run.why
    assert states(run) == ["done", "done", "done", "stopped", "ahead", "ahead"]
    run_round(load_recipe(recipe), SILENT)
    assert [row.step for row in samples_of(find_run("tiny")).rows] == [0, 1, 2]
    assert list_runs()[0].state == "finished"


def test_a_round_that_fails_says_why(recipe: Path) -> None:
    with pytest.raises(AccordantError):
        run_round(load_recipe(recipe, {"gate.overrule": []}), SILENT)
    (run,) = list_runs()
    assert run.state == "failed"
    assert "does not pass its gate" in run.why
    assert states(run)[:4] == ["done", "done", "stopped", "ahead"]
    assert {row.verdict for row in detail_of(find_run("tiny")).gate} >= {"failed"}


def test_a_killed_round_is_not_running(made_up: Path) -> None:
    StatusKeeper(made_up, ["ppo"], SILENT).enter("sft")
    with only_one(made_up):
        assert view_of(made_up).state == "running"
    assert (view_of(made_up).state, states(view_of(made_up))[0]) == ("stopped", "stopped")


def test_samples_after_the_state_that_a_stage_goes_back_to_are_forgotten(made_up: Path) -> None:
    keeper = StatusKeeper(made_up, ["ppo", "best_of_n"], SILENT)
    keeper.enter("best_of_n")
    keeper.begin("SFT on best", 1)
    keeper.sample("p", "other stage")
    keeper.enter("ppo")
    keeper.begin("PPO", 5)
    for step in range(4):
        keeper.sample("p", f"first {step}")
        keeper.step(step + 1, {})
    keeper.begin("PPO", 5, 2)
    keeper.sample("p", "second 2")
    found = [(row.stage, row.step, row.answer) for row in samples_of(made_up).rows]
    assert found == [
        ("best_of_n", 0, "other stage"),
        ("ppo", 0, "first 0"),
        ("ppo", 1, "first 1"),
        ("ppo", 2, "second 2"),
    ]


def test_what_a_model_writes_and_what_is_not_finite_can_be_sent(made_up: Path) -> None:
    keeper = StatusKeeper(made_up, ["ppo"], SILENT)
    keeper.enter("ppo")
    keeper.sample("half \ud83d", "\x00\x1b[31m\u202e")
    (made_up / "ppo").mkdir()
    (made_up / "ppo" / "metrics.jsonl").write_text('{"step": 0, "kl": NaN, "loss": Infinity, "note": "x"}\n{"step": 1')
    (sample,) = samples_of(made_up).rows
    assert (sample.prompt, sample.answer) == ("half ?", "\x00\x1b[31m\u202e")
    assert metrics_of(made_up, "ppo").rows == [{"step": 0, "kl": None, "loss": None}]
    samples_of(made_up).model_dump_json().encode()


def test_a_run_that_keeps_no_status_is_shown_by_what_it_left(recipe: Path) -> None:
    folder = run_round(load_recipe(recipe), SILENT).parent
    (folder / STATUS).unlink()
    run = view_of(folder)
    assert (run.state, set(states(run))) == ("finished", {"done"})
    assert [stage.name for stage in run.stages] == ["sft", "reward", "gate", "ppo", "judge", "evaluation"]
    (folder / "evaluation.json").unlink()
    shutil.rmtree(folder / "judge")
    assert view_of(folder).state == "stopped"
    with pytest.raises(UnknownRun, match="not evaluated"):
        evaluation_of(folder)


def test_damaged_files_of_one_run_do_not_hide_the_others(made_up: Path) -> None:
    for name in (STATUS, "minutes.json", "evaluation.json"):
        (made_up / name).write_text("{")
    (runs_folder() / "a file").write_text("")
    assert [run.name for run in list_runs()] == ["made up"]
    for damage in ("{", "[]", '{"systems": {}}', '{"systems": 5}'):
        (made_up / "evaluation.json").write_text(damage)
        with pytest.raises(AccordantError, match=r"evaluation\.json"):
            evaluation_of(made_up)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../runs/made up", "made up/..", "/etc", ".hidden", "MADE UP", "a\x00b"]
)
def test_no_name_leads_out_of_the_runs(made_up: Path, name: str) -> None:
    (made_up.parent / ".hidden").mkdir()
    assert find_run("made up") == made_up
    with pytest.raises(UnknownRun):
        find_run(name)


def test_the_time_that_is_left_goes_by_the_pace_of_this_sitting() -> None:
    assert seconds_left(10.0, done=4, total=10, done_before=2) == 30.0
    assert seconds_left(10.0, done=2, total=10, done_before=2) is None
    assert seconds_left(10.0, done=10, total=10) is None


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path))
    folder = runs_folder() / "made up"
    folder.mkdir(parents=True)
    return folder
