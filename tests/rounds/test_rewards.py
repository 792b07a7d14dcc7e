"""The rewards of a recipe: found before anything is trained, part of the run's fingerprint, and in its record."""

import sys
from pathlib import Path

import pytest
import torch
from tests.rounds.test_round import folder_of

from accordant.config import RewardPart, load_recipe
from accordant.errors import AccordantError
from accordant.files import read_json
from accordant.model.hub import new_scalar_model, save_scalar_model
from accordant.progress import SILENT
from accordant.rounds.reproduce import reproduce
from accordant.rounds.rewards import build_reward, import_function, outside_sources
from accordant.rounds.run import open_round, run_round, train_ppo
from accordant.testing.tiny import save_tiny_checkpoint, tiny_renderer
from accordant.train.loop import read_metrics
from accordant.train.micro_batches import MicroBatches

POLITE = """
def polite(messages, answer):
    return [0.5 * piece.count("e") for piece in answer.tokens]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A module on the path, with a name of its own: Python imports a module once."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    path = folder / f"mine_{abs(hash(request.node.name))}.py"
    path.write_text(POLITE)
    return path


def scalar_checkpoint(folder: Path) -> Path:
    base = save_tiny_checkpoint(folder / "base-of-it", 5)
    save_scalar_model(new_scalar_model(base, torch.float32), folder / "scalar")
    tiny_renderer().save(folder / "scalar")
    return folder / "scalar"


def part(source: str) -> RewardPart:
    return RewardPart(name="part", source=source)


def test_a_round_with_every_kind_of_reward(recipe: Path, module: Path, tmp_path: Path) -> None:
    scalar_checkpoint(tmp_path)
    rewards = [
        {"name": "model", "source": "model"},
        {"name": "polite", "source": f"{module.stem}:polite", "weight": 0.5},
        {"name": "other", "source": "scalar", "weight": 0.25},
        {"name": "short", "source": "length", "weight": -0.01},
    ]
    loaded = load_recipe(
        recipe, {"ppo.rewards": rewards, "ppo.normalise_reward": True, "ppo.kl_target_per_sequence": 1}
    )
    with open_round(loaded, SILENT) as work:
        train_ppo(work)
    folder = folder_of(recipe) / "ppo"
    rows = read_metrics(folder / "metrics.jsonl")
    assert all({"reward", "reward_model", "reward_polite", "reward_other", "reward_short"} <= set(row) for row in rows)
    record = read_json(folder / "checkpoint" / "run.json")
    assert set(record["parents"]) == {"sft", "reward", "ppo.rewards.polite", "ppo.rewards.other"}
    adapted = record["adapted"]
    assert adapted["scores"] == 3 * 8
    assert adapted["kl_coefficient_per_token"] != loaded.ppo.kl_coefficient_per_token
    means = [r["reward_model"] + r["reward_polite"] / 2 + r["reward_other"] / 4 - r["reward_short"] / 100 for r in rows]
    assert adapted["score_mean"] == pytest.approx(sum(means) / 3, abs=1e-5)
    assert all(stage.equal for stage in reproduce(folder.parent, SILENT, "ppo"))
    module.write_text(POLITE + "\n")
    with pytest.raises(AccordantError, match=r"ppo.rewards.polite is not the reward that the run was made with"):
        reproduce(folder.parent, SILENT, "ppo")
    with pytest.raises(AccordantError, match="other settings"), open_round(loaded, SILENT) as work:
        train_ppo(work)


def test_best_of_n_chooses_by_the_same_rewards(recipe: Path, module: Path) -> None:
    """The reward is minus the length, so its mean is minus the mean length; and the recipe tells runs apart by it."""
    short = [
        {"name": "short", "source": "length", "weight": -1},
        {"name": "polite", "source": f"{module.stem}:polite", "weight": 0},
    ]
    loaded = load_recipe(recipe, {"policy.methods": ["best_of_n"], "ppo.rewards": short})
    run_round(loaded, SILENT)
    folder = folder_of(recipe) / "best_of_n"
    for row in read_metrics(folder / "metrics.jsonl"):
        assert row["reward"] == pytest.approx(-row["answer_tokens"])
        assert row["best_reward"] >= row["reward"]
    parents = read_json(folder / "checkpoint" / "run.json")["parents"]
    assert set(parents) == {"sft", "reward", "ppo.rewards", "ppo.rewards.polite"}
    other = load_recipe(recipe, {"policy.methods": ["best_of_n"], "ppo.rewards": short[1:]})
    with pytest.raises(AccordantError, match="other settings"):
        run_round(other, SILENT)
    module.write_text(POLITE + "\n")
    with pytest.raises(AccordantError, match=r"ppo.rewards.polite is not the reward that the run was made with"):
        reproduce(folder.parent, SILENT, "best_of_n")


def test_a_run_goes_on_with_the_mended_function(
    recipe: Path, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails in the second of three iterations; mended, the run ends as if it had always been right."""
    loaded = load_recipe(recipe, {"ppo.rewards": [{"name": "polite", "source": f"{module.stem}:polite"}]})

    def train() -> bytes:
        monkeypatch.delitem(sys.modules, module.stem, raising=False)
        with open_round(loaded, SILENT) as work:
            return (train_ppo(work) / "model.safetensors").read_bytes()

    module.write_text(POLITE.replace("\n    return", "\n    calls.append(1)\n    1 / (len(calls) != 9)\n    return"))
    module.write_text("calls = []\n" + module.read_text())
    with pytest.raises(AccordantError, match=r":polite raised ZeroDivisionError.*prompt '.*', answer '"):
        train()
    assert (folder_of(recipe) / "ppo" / "state" / "step-000001").exists()
    module.write_text(POLITE)
    with pytest.raises(AccordantError, match=r"delete begun.json"):
        train()
    (folder_of(recipe) / "ppo" / "begun.json").unlink()
    mended = train()
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path / "other"))
    assert train() == mended


def test_a_run_without_extras_records_its_kl_coefficient(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    with open_round(loaded, SILENT) as work:
        train_ppo(work)
    record = read_json(folder_of(recipe) / "ppo" / "checkpoint" / "run.json")
    assert record["adapted"]["kl_coefficient_per_token"] == loaded.ppo.kl_coefficient_per_token
    assert record["adapted"]["scores"] == 0


def test_a_reward_that_cannot_be_found_stops_the_round_before_anything_is_trained(recipe: Path) -> None:
    loaded = load_recipe(recipe, {"ppo.rewards": [{"name": "x", "source": "no_such_module_here:score"}]})
    with pytest.raises(AccordantError, match=r"no_such_module_here:score cannot be imported \(ModuleNotFoundError"):
        run_round(loaded, SILENT)
    assert not (folder_of(recipe) / "sft").exists()


def test_what_cannot_be_a_reward_is_one_line(module: Path, tmp_path: Path) -> None:
    module.write_text(POLITE + "from math import sqrt\nnumber = 3\n")
    for source, message in [
        (f"{module.stem}:impolite", "cannot be imported .AttributeError"),
        (f"{module.stem}:number", "is a int, which cannot be called"),
        (f"{module.stem}:sqrt", "has no source file"),
        (str(tmp_path), "is no checkpoint"),
        (str(save_tiny_checkpoint(tmp_path / "language-model")), "is no reward model of ours"),
    ]:
        with pytest.raises(AccordantError, match=message) as caught:
            outside_sources([part(source)])
        assert "\n" not in str(caught.value)
    module.with_name("broken_module.py").write_text("def f(:\n")
    with pytest.raises(AccordantError, match="SyntaxError"):
        import_function("broken_module:f")


def test_digests_tell_sources_apart(module: Path, tmp_path: Path) -> None:
    folder = scalar_checkpoint(tmp_path)
    parts = [part(f"{module.stem}:polite"), part(str(folder))]
    before = [outside_sources([p])["ppo.rewards.part"] for p in parts]
    assert before == [outside_sources([p])["ppo.rewards.part"] for p in parts]
    module.write_text(POLITE.replace("0.5", "0.6"))
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"score_mean": 0.0', '"score_mean": 1.0'))
    after = [outside_sources([p])["ppo.rewards.part"] for p in parts]
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert outside_sources([part("model"), part("length")]) == {}


def test_only_a_model_with_the_policys_tokens_reads_them(tmp_path: Path) -> None:
    folder = scalar_checkpoint(tmp_path)
    renderer = tiny_renderer()
    other = type(renderer)(renderer.tokenizer, type(renderer.template)(renderer.template.source + "{# another #}"))
    for policy, same in ((renderer, True), (other, False)):
        built = build_reward([part("model")], folder, policy, MicroBatches(100), torch.float32, "cpu")
        assert built.parts[0][2].reads_ids is same  # type: ignore[attr-defined]
