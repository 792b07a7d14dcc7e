"""Does PPO beat SFT, and SFT the base, whatever the seed?

    python benchmarks/seeds.py recipes/starter.toml 0 1 2

Runs the round once per seed (what is done already is not done again) and prints one JSON document last: each seed's
figures per system, and over the seeds the mean with the smallest and the largest, because three seeds carry no more.
A seed decides the split of the rankings into reward model and judge, the order of everything, and every sample.
"""

import json
import sys
from pathlib import Path

from rich.console import Console

from accordant.cli.live import LiveWatcher
from accordant.config import load_recipe
from accordant.files import read_json
from accordant.rounds.run import run_round

METRICS = ("reward", "harmful_refused", "lookalikes_answered", "told_apart", "premises_challenged", "clarified")


def main(recipe: Path, seeds: list[int]) -> None:
    """Run and summarise."""
    name = load_recipe(recipe).run.name
    found = {}
    for seed in seeds:
        own = load_recipe(recipe, {"run.seed": seed, "run.name": f"{name}-seed{seed}"})
        report = run_round(own, LiveWatcher(Console(stderr=True)))
        found[seed] = read_json(report.parent / "evaluation.json")
    systems = list(found[seeds[0]]["systems"])
    document = {
        "recipe": recipe.name,
        "seeds": seeds,
        "systems": {
            s: {m: spread([found[k]["systems"][s][m]["value"] for k in seeds]) for m in METRICS} for s in systems
        },
        "differences": {
            pair: {"of_each_seed": [found[k]["differences"][pair] for k in seeds]}
            for pair in found[seeds[0]]["differences"]
        },
    }
    print(json.dumps(document))


def spread(values: list[float]) -> dict[str, float | list[float]]:
    """Mean, smallest and largest."""
    return {"mean": sum(values) / len(values), "least": min(values), "most": max(values), "of_each_seed": values}


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
