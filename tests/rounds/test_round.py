"""A whole round on a tiny base: it runs, is not done twice, goes on after a stop, and refuses what it cannot use."""

import json
import math
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.rounds.tiny_recipe import CHECKS, user, write_jsonl

from accordant import config
from accordant.config import METHOD_NAMES, load_recipe
from accordant.errors import AccordantError, Stopped
from accordant.files import only_one, read_json
from accordant.model.hub import load_scalar_model, load_transformer, read_weights
from accordant.progress import SILENT, Watcher
from accordant.rounds import gate
from accordant.rounds.run import run_round
from accordant.train.loop import read_metrics


class Recorder(Watcher):
    def __init__(self, stop_in: str = "") -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []
        self._stop_in = stop_in

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        self.stages.append(stage)

    def step(self, done: int, metrics: object) -> None:
        if self._stop_in and self.stages[-1] == self._stop_in:
            import signal

            self._stop_in = ""
            signal.raise_signal(signal.SIGINT)

    def note(self, line: str) -> None:
        self.notes.append(line)


def folder_of(recipe: Path) -> Path:
    return recipe.parent / "workspace" / "runs" / "tiny"


def test_every_recipe_field_is_read_by_a_round(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[tuple[str, str]] = set()

    def watched(self: config.Section, name: str) -> object:
        read.add((type(self).__name__, name))
        return object.__getattribute__(self, name)

    path = recipe.parent / "extra.jsonl"
    write_jsonl(path, [{"id": "x", "messages": user("one more thing to ask"), "expect": "answer"}])
    everything = {"ppo.ptx_coefficient": 1.0, "ppo.baseline": "value_head", "ppo.lora_rank": 2}
    loaded = load_recipe(recipe, everything | {"data.extra_prompts": [str(path)], "policy.methods": list(METHOD_NAMES)})
    monkeypatch.setattr(config.Section, "__getattribute__", watched)
    run_round(loaded, SILENT)
    monkeypatch.undo()
    sections = [v for v in vars(config).values() if isinstance(v, type) and issubclass(v, config.Section)]
    unread = [f"{s.__name__}.{f}" for s in sections for f in s.model_fields if (s.__name__, f) not in read]
    assert unread == []


def test_a_round_makes_checkpoints_and_a_report_and_is_not_done_twice(recipe: Path) -> None:
    report = run_round(load_recipe(recipe), SILENT)
    folder = folder_of(recipe)
    assert report.exists()
    evaluation = read_json(folder / "evaluation.json")
    assert list(evaluation["systems"]) == ["base", "SFT", "best of 2", "PPO"]
    for metrics in evaluation["systems"].values():
        assert {"reward", "harmful_refused", "lookalikes_answered", "told_apart", "ended"} <= set(metrics)
    assert evaluation["scorer"]["agreement"] == 1.0
    load_transformer(folder / "ppo" / "checkpoint", __import__("torch").float32)
    load_scalar_model(folder / "judge" / "checkpoint", __import__("torch").float32)
    lineage = read_json(folder / "ppo" / "checkpoint" / "run.json")
    assert set(lineage["parents"]) == {"sft", "reward"}
    assert lineage["parents"]["sft"] == read_json(folder / "sft" / "checkpoint" / "run.json")["fingerprint"]
    assert not (folder / "ppo" / "state").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    again = Recorder()
    run_round(load_recipe(recipe), again)
    assert again.stages == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == before


def test_ppo_with_adapters_and_a_value_head_loads_one_policy(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second policy as the reference, no second scalar model as the critic; what is saved is an ordinary policy."""
    from accordant.rounds import rewards, stages

    loaded: list[str] = []

    def counted(load: Callable[..., object]) -> Callable[..., object]:
        def counting(folder: Path, *others: object) -> object:
            loaded.append(f"{load.__name__} {folder.parent.name}")
            return load(folder, *others)

        return counting

    for module, load in ((stages, load_transformer), (stages, load_scalar_model), (rewards, load_scalar_model)):
        monkeypatch.setattr(module, load.__name__, counted(load))
    run_round(load_recipe(recipe, {"ppo.lora_rank": 2, "ppo.baseline": "value_head"}), SILENT)
    assert loaded == [f"load_transformer {recipe.parent.name}", "load_transformer sft", "load_scalar_model reward"]
    sft, ppo = (read_weights(folder_of(recipe) / stage / "checkpoint") for stage in ("sft", "ppo"))
    assert set(ppo) == set(sft)
    assert any(not ppo[name].equal(sft[name]) for name in sft)


def test_each_method_makes_a_policy_beside_the_others(recipe: Path) -> None:
    run_round(load_recipe(recipe, {"policy.methods": ["dpo"]}), SILENT)
    folder = folder_of(recipe)
    assert list(read_json(folder / "evaluation.json")["systems"]) == ["base", "SFT", "best of 2", "DPO"]
    assert not (folder / "ppo").exists()
    assert set(read_json(folder / "dpo" / "checkpoint" / "run.json")["parents"]) == {"sft"}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    run_round(load_recipe(recipe, {"policy.methods": list(METHOD_NAMES)}), SILENT)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    evaluation = read_json(folder / "evaluation.json")
    assert list(evaluation["systems"]) == ["base", "SFT", "best of 2", "PPO", "DPO", "SFT on best"]
    assert {"DPO - SFT", "SFT on best - best of 2", "PPO - DPO"} <= set(evaluation["differences"])
    assert set(read_json(folder / "best_of_n" / "checkpoint" / "run.json")["parents"]) == {
        "sft",
        "reward",
        "ppo.rewards",
    }
    weights = {(folder / m / "checkpoint" / "model.safetensors").read_bytes() for m in ("sft", *METHOD_NAMES)}
    assert len(weights) == 4
    page = (folder / "report.html").read_text()
    assert all(title in page for title in ("DPO: margin", "SFT on best: reward of the chosen", "PPO: entropy"))


@pytest.mark.parametrize("stage", ["SFT", "reward model", "PPO"])
def test_a_stopped_round_ends_in_the_same_weights(recipe: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        run_round(load_recipe(recipe), Recorder(stop_in=stage))
    run_round(load_recipe(recipe), SILENT)
    stopped = (folder_of(recipe) / "ppo" / "checkpoint" / "model.safetensors").read_bytes()
    monkeypatch.setenv("ACCORDANT_HOME", str(recipe.parent / "other"))
    run_round(load_recipe(recipe), SILENT)
    whole = recipe.parent / "other" / "runs" / "tiny" / "ppo" / "checkpoint" / "model.safetensors"
    assert whole.read_bytes() == stopped


@pytest.mark.slow
def test_two_processes_make_the_round_of_one(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = load_recipe(recipe, {"run.processes": 2})
    with pytest.raises(Stopped):
        run_round(shared, Recorder(stop_in="PPO"))
    watcher = Recorder()
    assert run_round(shared, watcher).exists()
    assert any(note.startswith("PPO: going on after step") for note in watcher.notes)
    assert [row["step"] for row in read_metrics(folder_of(recipe) / "ppo" / "metrics.jsonl")] == [0, 1, 2]
    monkeypatch.setenv("ACCORDANT_HOME", str(recipe.parent / "other"))
    run_round(load_recipe(recipe), SILENT)
    alone = recipe.parent / "other" / "runs" / "tiny"
    for stage in ("sft", "reward", "judge", "ppo"):
        weights = (run / stage / "checkpoint" / "model.safetensors" for run in (folder_of(recipe), alone))
        found, expected = map(load_file, weights)
        for name, weight in expected.items():
            torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=0)


def test_other_settings_under_the_same_name_are_refused(recipe: Path) -> None:
    run_round(load_recipe(recipe), SILENT)
    with pytest.raises(AccordantError, match="other settings"):
        run_round(load_recipe(recipe, {"sft.learning_rate": 1e-3}), SILENT)


def test_a_damaged_checkpoint_is_recognised(recipe: Path) -> None:
    run_round(load_recipe(recipe), SILENT)
    weights = folder_of(recipe) / "sft" / "checkpoint" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-3] ^= 4
    weights.write_bytes(raw)
    with pytest.raises(AccordantError, match="is damaged; delete"):
        run_round(load_recipe(recipe), SILENT)


def test_a_failing_gate_stops_the_round_before_ppo_until_it_is_overruled_by_name(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Recorder()
    with pytest.raises(AccordantError, match="the reward model does not pass its gate: accuracy ") as caught:
        run_round(load_recipe(recipe, {"gate.overrule": ["flattery"]}), first)
    assert "\n" not in str(caught.value)
    named = json.loads(str(caught.value).partition("gate.overrule = ")[2])
    assert named[0] == "flattery"
    assert {"accuracy", "calibration"} <= set(named) <= set(CHECKS)
    assert [line.split()[1] for line in first.notes if line.startswith("gate: ")] == list(CHECKS)
    folder = folder_of(recipe)
    assert not (folder / "ppo").exists()
    before = read_json(folder / "reward" / "gate.json")
    monkeypatch.setattr(gate, "measure", None)  # what is measured already is only judged again
    report = run_round(load_recipe(recipe, {"gate.overrule": named}), SILENT)
    after = read_json(folder / "reward" / "gate.json")
    assert after["measured"] == before["measured"]
    assert before["verdicts"]["accuracy"]["verdict"] == "failed"
    assert after["verdicts"]["accuracy"]["verdict"] == "overruled"
    assert "this did not hold and was overruled by the recipe: held-out pairs" in report.read_text()


def test_the_gate_reads_confidence_off_raw_scores(recipe: Path) -> None:
    run_round(load_recipe(recipe), SILENT)
    folder = folder_of(recipe) / "reward"
    deviation = read_json(folder / "checkpoint" / "config.json")["accordant"]["score_deviation"]
    assert abs(deviation - 1) > 0.01, "else this shows nothing"
    sure = []
    for scores in read_json(folder / "accuracy.json")["scores"]:
        sure += [1 / (1 + math.exp(-abs(a - b) * deviation)) for i, a in enumerate(scores) for b in scores[i + 1 :]]
    bins = read_json(folder / "gate.json")["measured"]["reliability"]
    assert sum(b["predicted"] * b["size"] for b in bins) == pytest.approx(sum(sure), rel=1e-6)


def _hold(folder: Path, ready: object, done: object) -> None:
    with only_one(folder):
        ready.set()  # type: ignore[attr-defined]
        done.wait(30)  # type: ignore[attr-defined]


def test_a_second_run_in_the_same_workspace_gets_one_clear_line(recipe: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(folder_of(recipe), ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(AccordantError, match=f"in use by another run .process {other.pid}."):
            run_round(load_recipe(recipe), SILENT)
    finally:
        done.set()
        other.join(30)


def test_an_evaluation_prompt_that_is_trained_on_is_refused(recipe: Path) -> None:
    rows = [json.loads(line) for line in (recipe.parent / "evaluation.jsonl").read_text().splitlines()]
    rows[3]["messages"] = user("Which water is number 4 here?")
    write_jsonl(recipe.parent / "evaluation.jsonl", rows)
    with pytest.raises(AccordantError, match=r"also trained on, the first is e0-true_premise \(like c4\)"):
        run_round(load_recipe(recipe), SILENT)


def test_a_bad_row_is_named_before_anything_is_trained(recipe: Path) -> None:
    path = recipe.parent / "demos.jsonl"
    path.write_text(path.read_text() + '{"id": "bad", "messages": [{"role": "user", "content": "x"}]}\n')
    with pytest.raises(AccordantError, match=r"demos.jsonl, row 9: .*assistant"):
        run_round(load_recipe(recipe), SILENT)
    assert not (folder_of(recipe) / "sft").exists()


def test_rows_without_consent_are_left_out(recipe: Path) -> None:
    path = recipe.parent / "comparisons.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:4]:
        row["consent"] = False
    write_jsonl(path, rows)
    run_round(load_recipe(recipe), SILENT)
    folder = folder_of(recipe)
    seen = [read_json(folder / name / "accuracy.json") for name in ("reward", "judge")]
    assert sum(found["trained_on"] for found in seen) == 6


@pytest.mark.parametrize("stage", ["sft", "ppo"])
def test_a_full_disk_is_one_line_and_loses_nothing(recipe: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from accordant.rounds import stages

    real = stages.save_transformer

    def full(model: object, folder: Path) -> None:
        if folder.parent.name == stage:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        real(model, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "save_transformer", full)
    with pytest.raises(AccordantError, match="disk full"):
        run_round(load_recipe(recipe), SILENT)
    folder = folder_of(recipe) / stage
    assert not (folder / "checkpoint").exists()
    assert not [p for p in folder.iterdir() if p.name.startswith(".checkpoint")]
    monkeypatch.setattr(stages, "save_transformer", real)
    assert run_round(load_recipe(recipe), SILENT).exists()
