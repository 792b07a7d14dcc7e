"""Recipes: the shipped ones load; each fault is one line with the field, the value and what to do."""

from pathlib import Path

import pytest

from accordant.config import load_recipe
from accordant.errors import AccordantError

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.mark.parametrize("name", ["starter.toml", "quick.toml", "own.toml"])
def test_shipped_recipes_load(name: str) -> None:
    recipe = load_recipe(RECIPES / name)
    assert recipe.data.evaluation.is_absolute()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"sft.epoch": 3}, "unknown field sft.epoch"),
        ({"sft.epochs": "many"}, "sft.epochs = 'many'"),
        ({"sft.epochs": 0}, "sft.epochs = 0: Input should be greater than 0"),
        ({"data.built": "../escape"}, "data.built = '../escape'"),
        ({"run.name": "../escape"}, "run.name = '../escape'"),
        ({"run.precision": "float16"}, "run.precision = 'float16'"),
        ({"ppo.episodes": 30}, "episodes = 30 must be a multiple of minibatches = 4"),
        ({"ppo.critic_warmup_iterations": 99}, "critic_warmup_iterations = 99 leaves the policy no iteration"),
        ({"sft.max_tokens": 4096}, "sft.max_tokens = 4096 exceeds run.micro_batch_tokens = 2048"),
        ({"ppo.rewards": []}, "ppo.rewards"),
        ({"ppo.rewards": [{"name": "a", "source": "length"}] * 2}, "two of the rewards have the name 'a'"),
        ({"ppo.rewards": [{"name": "a", "source": "lenght"}]}, "lenght does not exist; mend the path"),
        ({"ppo.rewards": [{"name": "A b", "source": "length"}]}, "ppo.rewards.0.name = 'A b'"),
        ({"data.evaluation": "nowhere.jsonl"}, "nowhere.jsonl does not exist"),
        (
            {"gate.overrule": ["lenght"]},
            "gate.overrule.0 = 'lenght': Input should be 'accuracy', 'cal",
        ),
        ({"dpo.max_tokens": 4096}, "dpo.max_tokens = 4096 exceeds run.micro_batch_tokens = 2048"),
        ({"policy.methods": ["ppo", "ppo"]}, "policy: a method stands twice in methods"),
        ({"policy.methods": ["grpo"]}, "policy.methods.0 = 'grpo': Input should be 'ppo', 'dpo' or 'best_of_n'"),
        ({"nothing.here": 1}, "unknown field nothing"),
    ],
)
def test_each_fault_is_one_line(override: dict[str, object], message: str) -> None:
    with pytest.raises(AccordantError) as caught:
        load_recipe(RECIPES / "starter.toml", override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_and_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match="does not exist"):
        load_recipe(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(AccordantError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(AccordantError, match="field run is missing"):
        load_recipe(tmp_path / "empty.toml")
