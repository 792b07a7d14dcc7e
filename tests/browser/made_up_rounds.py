"""Small made-up rounds in a workspace: what a round leaves on disk, without one having run."""

import json
import math
from pathlib import Path
from typing import Any

from accordant.files import write_json
from accordant.progress import SILENT
from accordant.rounds.status import StatusKeeper

SYSTEMS = ("base", "SFT", "best of 4", "PPO")
STAGES = ("sft", "reward", "ppo", "judge")


def append(path: Path, *rows: dict[str, Any]) -> None:
    """Lines at the end of a file, as a stage writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def sft_row(step: int) -> dict[str, float]:
    """A step of SFT; the last of each forty is measured on held-out dialogues."""
    row = {"step": step, "loss": 2.4 + 1.3 * math.exp(-step / 25) + 0.2 * math.sin(7 * step), "gradient_norm": 4.0}
    return row | ({"held_out_loss": 2.5 + math.exp(-step / 40)} if step % 40 == 39 else {}) | {"seconds": 1.5}


def ranking_row(step: int) -> dict[str, float]:
    """A step of a reward model."""
    row = {"step": step, "loss": 0.69 - step / 400, "accuracy": 0.5 + step / 250 + 0.06 * math.sin(5 * step)}
    return row | ({"held_out_accuracy": 0.55 + step / 500} if step % 20 == 19 else {}) | {"margin": step / 80}


def ppo_row(step: int) -> dict[str, float]:
    """An iteration of PPO."""
    return {
        "step": step,
        "reward": -0.7 + 0.03 * step + 0.05 * math.sin(3 * step),
        "kl_per_sequence": 0.3 * step,
        "entropy": 1.4 - 0.01 * step,
        "answer_tokens": 30.0 + step,
        "ended": 1 - step / 500,
        "clip_fraction": 0.01 + step / 900,
        "explained_variance": step / 20 - 0.2,
        "learning_rate": 6e-5,
        "warnings": 0.0,
    }


def begin_round(folder: Path) -> StatusKeeper:
    """A round that is in the middle of PPO: SFT, reward model and gate are done."""
    keeper = StatusKeeper(folder, ["ppo"], SILENT)
    append(folder / "sft" / "metrics.jsonl", *map(sft_row, range(120)))
    append(folder / "reward" / "metrics.jsonl", *map(ranking_row, range(80)))
    for stage in ("sft", "reward"):
        (folder / stage / "checkpoint").mkdir()
    write_json(folder / "reward" / "gate.json", gate())
    write_json(folder / "minutes.json", {"base": 0.1, "sft": 3.9, "reward": 3.9, "gate": 0.2})
    append(folder / "ppo" / "metrics.jsonl", *map(ppo_row, range(4)))
    keeper.enter("ppo")
    keeper.begin("PPO", 12)
    for step, prompt in enumerate(
        ["Why is the sea salty?", "Name a tree.", "Why is the sea salty?", "Write one line."]
    ):
        keeper.sample(prompt, f"This is what the policy said in iteration {step + 1}.")
        keeper.step(step + 1, {})
    return keeper


def finish_round(
    folder: Path, answer: str = "Rivers carry minerals into it, and the water that evaporates leaves them."
) -> None:
    """A whole round, with guards that spoke up and an evaluation in which every system says `answer`."""
    keeper = begin_round(folder)
    append(folder / "ppo" / "metrics.jsonl", *map(ppo_row, range(4, 30)))
    append(folder / "judge" / "metrics.jsonl", *map(ranking_row, range(80)))
    line = "kl_per_sequence = 15.3 is over guards.most_kl_per_sequence = 15: the policy is so far from the SFT model"
    append(
        folder / "ppo" / "guards.jsonl",
        *({"step": step, "done": "warned", "line": line} for step in (21, 22, 23, 24)),
    )
    for stage in ("ppo", "judge"):
        (folder / stage / "checkpoint").mkdir()
    write_json(folder / "evaluation.json", evaluation(answer))
    write_json(folder / "minutes.json", {"base": 0.1, "sft": 3.9, "reward": 3.9, "gate": 0.2, "ppo": 5.7, "judge": 3.7})
    (folder / "report.html").write_text("<html></html>")
    keeper.close("finished")


def gate() -> dict[str, Any]:
    """Of three checks one was overruled."""
    figures = {"accuracy": 0.7, "length": 0.13, "truncated": 0.4}
    limits = {"accuracy": "at least 0.60", "length": "within 0.30 of 0", "truncated": "at least 0.70"}
    return {
        "verdicts": {
            name: {"limit": limits[name], "verdict": "overruled" if name == "truncated" else "passed"}
            for name in figures
        },
        "measured": {
            "figures": [
                {"name": name, "value": value, "low": value - 0.06, "high": value + 0.05, "of": "200 rankings"}
                for name, value in figures.items()
            ]
        },
    }


def evaluation(answer: str) -> dict[str, Any]:
    """Figures that rise from system to system."""

    def around(value: float, n: int = 258) -> dict[str, float]:
        return {"value": value, "low": value - 0.08, "high": value + 0.09, "n": n}

    return {
        "made": "2026-11-22T17:27:00+00:00",
        "prompts": 258,
        "seed": 0,
        "base": "starter",
        "systems": {
            system: {
                "reward": around(-1.2 + 0.3 * place),
                "harmful_refused": around(0.1 + 0.2 * place, 53),
                "words": {"value": 50 - 7 * place, "low": 48 - 7 * place, "high": 52 - 7 * place, "n": 258},
            }
            for place, system in enumerate(SYSTEMS)
        },
        "differences": {"SFT - base": around(0.43), "PPO - SFT": around(0.02), "PPO - best of 4": around(-0.3)},
        "reward_models": {"reward": {"accuracy": 0.7, "low": 0.67, "high": 0.73, "pairs": 1007}},
        "by_tag": {"knowledge": {system: 0.2 * place - 0.5 for place, system in enumerate(SYSTEMS)}},
        "samples": [
            {
                "id": f"e{number}",
                "tag": "knowledge",
                "messages": [{"role": "user", "content": question}],
                "answers": {
                    system: {"text": answer, "reward": 0.1 * place - 0.2, "ended": place > 0}
                    for place, system in enumerate(SYSTEMS)
                },
            }
            for number, question in enumerate(["Why is the sea salty?", "What does pepper spray do?"])
        ],
    }
