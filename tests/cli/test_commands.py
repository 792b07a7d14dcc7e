"""The command line as a user meets it: help, one clear line per fault, exit codes, JSON last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.rounds.tiny_recipe import write_tiny_recipe

from accordant.testing.tiny import save_tiny_checkpoint

ROOT = Path(__file__).parent.parent.parent


def accordant(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    code = "from accordant.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "ACCORDANT_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


HEAVY = {"torch", "numpy", "transformers", "matplotlib", "fastapi", "jinja2", "tokenizers"}


def help_of(*command: str) -> str:
    """What the help prints; it must load none of the HEAVY."""
    code = f"import sys; sys.argv = ['accordant', {', '.join(map(repr, [*command, '--help']))}]\n"
    code += "from accordant.cli import main\ntry:\n    main()\n"
    code += f"finally:\n    assert not {HEAVY!r} & sys.modules.keys(), {HEAVY!r} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [["doctor"], ["serve"], ["data", "show"]])
def test_help_of_a_command_loads_nothing_heavy(command: list[str]) -> None:
    assert f"accordant {' '.join(command)}" in help_of(*command)


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    told = help_of()
    names = [
        "round",
        "sft",
        "reward",
        "gate",
        "ppo",
        "dpo",
        "best-of-n",
        "eval",
        "report",
        "chat",
        "serve",
        "export",
        "doctor",
    ]
    for name in [*names, "data", "base", "reproduce", "moderation", "lineage"]:
        assert name in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["round", "missing.toml"], "recipe missing.toml does not exist"),
        (["sft", "recipes/starter.toml", "--set", "sft.epoch=1"], "unknown field sft.epoch"),
        (["sft", "recipes/starter.toml", "--set", "ppo.episodes=30"], "must be a multiple of minibatches"),
        (["report", "nothing"], "finish the round first"),
        (["reproduce", "nothing"], "has no finished stage sft"),
        (["reproduce", "nothing", "--stage", "tuning"], "must be one of sft, reward, ppo, dpo, best_of_n, judge"),
        (["chat", "nothing"], "neither a checkpoint folder nor a run"),
        (["base", "./nowhere"], "does not exist"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_1(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = accordant(*arguments, home=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("accordant: ")


def test_eval_prints_one_json_document_last(tiny: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {i}", "label": "unsafe" if i % 2 else "safe", "type": "x", "id": i} for i in range(4)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    options = ["--suite", "refusal", "--data", str(data), "--max-tokens", "4", "--precision", "float32", "--json"]
    done = accordant("eval", str(tiny), *options, home=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.strip().splitlines()[-1])
    assert document["n"] == 2
    assert {"score", "interval"} <= set(document)


def test_plan_prints_every_stage_and_one_json_document_last(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    done = accordant("plan", str(recipe), "--set", "policy.methods=['ppo', 'dpo']", "--json", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.strip().splitlines()
    document = json.loads(last)
    assert list(document["plan"]["stages"]) == ["SFT", "reward model", "gate", "PPO", "DPO", "judge", "evaluation"]
    assert document["plan"]["peak_gb"] < document["machine"]["memory_gb"]
    assert document["advice"] is None
    assert any(line.startswith("PPO: ") and "3 steps of" in line for line in lines)
    assert any(line.split()[:2] == ["float32", "masters"] for line in lines)
    assert not (tmp_path / "home" / "bases").exists(), "nothing was brought or run"


def test_data_show_prints_a_row_and_names_a_bad_one(tiny: Path, tmp_path: Path) -> None:
    good = {"id": "a", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "rain"}]}
    path = tmp_path / "demos.jsonl"
    path.write_text(json.dumps(good) + "\n")
    done = accordant("data", "show", str(path), "--checkpoint", str(tiny), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rain" in done.stdout
    assert "<|im_end|>" in done.stdout
    path.write_text(json.dumps(good) + "\n" + json.dumps({"id": "b", "messages": []}) + "\n")
    done = accordant("data", "show", str(path), "--checkpoint", str(tiny), home=tmp_path)
    assert done.returncode == 1
    assert "demos.jsonl, row 2" in done.stderr
