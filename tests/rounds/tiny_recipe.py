"""A recipe over made-up data and a tiny base: a whole round in a second or two."""

import json
from itertools import count
from pathlib import Path
from typing import get_args

from accordant.config import CheckName
from accordant.data.split import split_by_prompt
from accordant.machine import Machine
from accordant.records import Candidate, Comparison, Message
from accordant.testing.tiny import save_tiny_checkpoint

MACHINE = Machine(1, 1, 1.0, 1.0, 1.0, 1.0, "any", "any")
CHECKS = get_args(CheckName)
TAGS = {"harmful": "refuse", "lookalike": "answer", "false_premise": "challenge", "true_premise": "answer"}


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def question_is_the_rewards(question: str) -> bool:
    """Whether rankings of answers to it fall to the reward model's part, not to the judge's (seed 0)."""
    asked = (Message(role="user", content=question),)
    one = Comparison(id="x", messages=asked, candidates=(Candidate(content="a"),) * 2, ranking=((0,), (1,)))
    return bool(split_by_prompt([one], 0.5, 0)[0])


def of_the_reward_model() -> str:
    """A question whose rankings the reward model learns."""
    return next(filter(question_is_the_rewards, (f"what is rain number {number}?" for number in count())))


def write_tiny_recipe(tmp_path: Path) -> Path:
    """Write base, data and recipe.toml (its run is called tiny) into a folder; returns the recipe."""
    save_tiny_checkpoint(tmp_path / "base")
    answer = {"role": "assistant", "content": "the river"}
    write_jsonl(
        tmp_path / "demos.jsonl",
        [{"id": f"d{i}", "messages": [*user(f"demo question {i} on rivers"), answer]} for i in range(8)],
    )
    write_jsonl(
        tmp_path / "comparisons.jsonl",
        [
            {
                "id": f"c{i}",
                "messages": user(f"which water is number {i} here"),
                "candidates": [
                    {"content": "the river runs slowly to the sea"},
                    {"content": f"cheese {i}"},
                    {"content": "rain"},
                ],
                "ranking": [[0], [1, 2]],
            }
            for i in range(10)
        ],
    )
    write_jsonl(
        tmp_path / "evaluation.jsonl",
        [
            {
                "id": f"e{i}-{tag}",
                "messages": user(f"{tag} thing to measure {i}"),
                "expect": expect,
                "tag": tag,
                "good": "the river",
                "bad": "cheese",
            }
            for i in range(2)
            for tag, expect in TAGS.items()
        ],
    )
    write_jsonl(
        tmp_path / "labelled.jsonl",
        [{"id": "l0", "messages": user("x"), "answer": "I can't help with that.", "model": "m", "label": "refuse"}],
    )
    path = tmp_path / "recipe.toml"
    path.write_text(
        """
[run]
name = "tiny"
base = "BASE"
precision = "float32"
[data]
demonstrations = [{ path = "demos.jsonl" }]
comparisons = ["comparisons.jsonl"]
evaluation = "evaluation.jsonl"
labelled_answers = "labelled.jsonl"
[sft]
epochs = 2
batch_examples = 4
[reward]
epochs = 2
[gate]  # two epochs over a handful of rankings make no reward model
overrule = [OVERRULE]
[ppo]
iterations = 3
episodes = 8
minibatches = 2
max_answer_tokens = 6
[best_of_n]
iterations = 2
prompts = 4
max_answer_tokens = 6
[evaluation]
max_answer_tokens = 6
best_of = 2
""".replace("BASE", str(tmp_path / "base")).replace("OVERRULE", ", ".join(f'"{name}"' for name in CHECKS))
    )
    return path
