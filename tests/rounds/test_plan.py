"""The plan of a round follows the recipe, reads no weights, says what to change, and agrees with what is measured."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.rounds.tiny_recipe import write_tiny_recipe

from accordant.config import load_recipe
from accordant.errors import AccordantError
from accordant.machine import Machine, measure
from accordant.model.base import STARTER_CONFIG, bring_base, config_of_base
from accordant.model.hub import read_config
from accordant.rounds.estimate import estimate
from accordant.rounds.plan import Plan, StagePlan, advice, make_plan

RECIPES = Path(__file__).parent.parent.parent / "recipes"
MACHINE = Machine(2, 2, 190.0, 900.0, 40.0, 24.0, "any", "any")


def starter(machine: Machine = MACHINE, **changes: object) -> Plan:
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    return make_plan(load_recipe(RECIPES / "starter.toml", overrides), machine, STARTER_CONFIG)


def stage(plan: Plan, name: str) -> StagePlan:
    return next(stage for stage in plan.stages if stage.name == name)


def roles(plan: Plan, name: str, phase: str) -> dict[str, float]:
    return next(p.roles for p in stage(plan, name).phases if p.name == phase)


@pytest.fixture(scope="module")
def plain() -> Plan:
    return starter()


def test_plan_and_doctor_have_one_estimate(plain: Plan) -> None:
    minutes = estimate(load_recipe(RECIPES / "starter.toml"), MACHINE).minutes
    assert {stage.name: stage.minutes for stage in plain.stages} == minutes
    assert plain.minutes == pytest.approx(sum(minutes.values()))


def test_a_model_in_training_holds_twelve_bytes_a_weight(plain: Plan) -> None:
    names = ("weights", "float32 masters", "moments")
    held = roles(plain, "SFT", "update")
    assert sum(held[name] for name in names) == 12 * 134_515_008
    wide = roles(starter(run__precision="float32"), "SFT", "update")
    assert sum(wide[name] for name in names) == 12 * 134_515_008
    assert wide["activations"] == pytest.approx(2 * held["activations"], rel=0.01)


def test_ppo_holds_four_models(plain: Plan) -> None:
    held = roles(plain, "PPO", "rollout")
    assert held["reference"] == 2 * 134_515_008
    assert held["reward model"] == 2 * (134_515_008 + 576)
    assert held["critic, trained"] == 12 * (134_515_008 + 576)


def test_gradients_of_one_model_are_held_from_pass_to_pass(plain: Plan) -> None:
    assert "gradients" not in roles(plain, "PPO", "update"), "a step is one pass"
    halved = starter(run__micro_batch_tokens=512)
    assert roles(halved, "PPO", "update")["gradients"] == 4 * 134_515_008
    for phase in ("rollout", "scoring", "save"):
        assert "gradients" not in roles(halved, "PPO", phase)


def test_smaller_passes_take_less_in_the_update_alone(plain: Plan) -> None:
    halved = starter(run__micro_batch_tokens=512)
    assert roles(halved, "PPO", "update")["activations"] < 0.6 * roles(plain, "PPO", "update")["activations"]
    assert roles(halved, "PPO", "rollout") == roles(plain, "PPO", "rollout")
    assert stage(halved, "PPO").minutes == stage(plain, "PPO").minutes


def test_adapters_and_a_shared_trunk_take_less_memory_and_time(plain: Plan) -> None:
    adapted = starter(ppo__lora_rank=8)
    held = roles(adapted, "PPO", "update")
    assert "reference" not in held
    assert held["moments"] < 0.1 * roles(plain, "PPO", "update")["moments"]
    assert stage(adapted, "PPO").minutes < stage(plain, "PPO").minutes
    shared = starter(ppo__lora_rank=8, ppo__baseline="value_head")
    assert "critic, trained" not in roles(shared, "PPO", "update")
    assert stage(shared, "PPO").minutes < stage(adapted, "PPO").minutes


def test_processes_use_cores_and_memory(plain: Plan) -> None:
    one_thread = dataclasses.replace(MACHINE, threads=1)
    one, two = starter(one_thread), starter(one_thread, run__processes=2)
    assert stage(two, "SFT").minutes == pytest.approx(stage(one, "SFT").minutes / 2)
    assert stage(two, "evaluation").minutes == stage(one, "evaluation").minutes, "it is for one process"
    assert two.peak_gb > 1.5 * one.peak_gb
    assert starter(run__processes=2).minutes == pytest.approx(plain.minutes), "one used both cores already"


def test_steps_are_those_of_the_stages(plain: Plan) -> None:
    """As in the runs of docs/log.md: 159, 114, 12 and 107 steps."""
    counts = [stage(plain, name).steps for name in ("SFT", "reward model", "PPO", "judge")]
    assert counts == [159, 114, 12, 107]
    assert stage(plain, "PPO").seconds_per_step == pytest.approx(5 * stage(plain, "PPO").minutes)


@pytest.mark.parametrize("memory", [4.0, 4.5, 5.0])
def test_too_much_is_one_line_that_says_what_to_change(memory: float) -> None:
    recipe = RECIPES / "starter.toml"
    small = dataclasses.replace(MACHINE, memory_gb=memory)
    line = advice(load_recipe(recipe), small, STARTER_CONFIG)
    assert line
    assert "\n" not in line
    assert f"this machine has {memory:.1f} GB" in line
    changes = dict(re.findall(r"--set (\S+)=(\S+)", line))
    assert changes
    typed = {name: int(value) if value.isdigit() else value for name, value in changes.items()}
    changed = make_plan(load_recipe(recipe, typed), small, STARTER_CONFIG)
    assert changed.peak_gb <= memory
    assert f"brings it to {changed.peak_gb:.1f} GB" in line


def test_enough_memory_needs_no_advice_and_hopeless_says_so() -> None:
    recipe = load_recipe(RECIPES / "starter.toml")
    assert advice(recipe, MACHINE, STARTER_CONFIG) is None
    hopeless = advice(recipe, dataclasses.replace(MACHINE, memory_gb=1.0), STARTER_CONFIG)
    assert hopeless
    assert "smaller base" in hopeless


def test_a_base_is_planned_without_its_weights(tmp_path: Path) -> None:
    recipe = load_recipe(write_tiny_recipe(tmp_path))
    (tmp_path / "base" / "model.safetensors").unlink()
    config = config_of_base(recipe.run.base, tmp_path)
    assert config.layers == 2
    assert make_plan(recipe, MACHINE, config).peak_gb > 0
    assert config_of_base("starter", tmp_path) == STARTER_CONFIG, "it is known before it is here"
    with pytest.raises(AccordantError, match="bring it: accordant base some/model"):
        config_of_base("some/model", tmp_path)
    with pytest.raises(AccordantError, match="does not exist"):
        config_of_base("./nowhere", tmp_path)


def test_every_method_is_planned(tmp_path: Path) -> None:
    recipe = load_recipe(write_tiny_recipe(tmp_path), {"policy.methods": ["ppo", "dpo", "best_of_n"]})
    plan = make_plan(recipe, MACHINE, config_of_base(recipe.run.base, tmp_path))
    assert set(plan.to_json()["stages"]) == {
        "SFT", "reward model", "gate", "PPO", "DPO", "SFT on best", "judge", "evaluation",
    }  # fmt: skip


@pytest.mark.slow
def test_the_planned_memory_is_within_a_fifth_of_what_is_measured(tmp_path: Path) -> None:
    """The first stages of the quick recipe, with the starter base; for the minutes see benchmarks/planned.py."""
    home = Path(os.environ.get("ACCORDANT_HOME") or tmp_path).absolute()
    config = read_config(bring_base("starter", home / "bases"))
    assert config == STARTER_CONFIG
    recipe = load_recipe(RECIPES / "quick.toml", {"run.name": "planned"})
    plan = make_plan(recipe, measure(), config)
    subprocess.run(
        [sys.executable, "-c", "from accordant.cli import main; main()", "sft", str(RECIPES / "quick.toml")],
        check=True, env=os.environ | {"ACCORDANT_HOME": str(tmp_path)},
    )  # fmt: skip
    record = json.loads((tmp_path / "runs" / "quick" / "sft" / "checkpoint" / "run.json").read_text())
    assert stage(plan, "SFT").peak.total / 1e9 == pytest.approx(record["peak_memory_gb"], rel=0.2)
