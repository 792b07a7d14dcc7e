"""Does a round take what `accordant plan` says? Minutes and memory of a finished run beside its plan.

    python -m benchmarks.planned recipes/starter.toml workspace/runs/starter

The plan is made with the rates that the run itself measured at its start. Other work beside a run stretches its
minutes. The goal is a share of 0.8 to 1.2 for each stage of more than a minute; in shorter ones loading weighs more.
Memory is the most that the process held up to the end of a stage, so only the stages up to the largest say something.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.paired import publish, say

from accordant.config import load_recipe
from accordant.machine import Machine
from accordant.model.base import config_of_base
from accordant.rounds.plan import StagePlan, make_plan

FOLDERS = {"SFT": "sft", "reward model": "reward", "PPO": "ppo", "judge": "judge", "evaluation": "evaluation"}


def beside(stage: StagePlan, run: Path, minutes: float) -> dict[str, float]:
    """Planned and measured figures of one stage, and their ratios."""
    found = {"planned_minutes": stage.minutes, "minutes": minutes, "share": stage.minutes / minutes}
    record = run / FOLDERS[stage.name] / "checkpoint" / "run.json"
    if record.exists():
        peak, planned = json.loads(record.read_text())["peak_memory_gb"], stage.peak.total / 1e9
        found |= {"planned_gb": planned, "gb": peak, "share_of_memory": planned / peak}
    return found


def main() -> None:
    """Compare what both sides have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("run", type=Path, help="folder of a finished run of it")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    minutes: dict[str, float] = json.loads((arguments.run / "minutes.json").read_text())
    machine = Machine(**json.loads((arguments.run / "machine.json").read_text()))
    plan = make_plan(recipe, machine, config_of_base(recipe.run.base, arguments.run.parent.parent / "bases"))
    result: dict[str, Any] = {
        stage.name: beside(stage, arguments.run, minutes[FOLDERS[stage.name]])
        for stage in plan.stages
        if FOLDERS.get(stage.name) in minutes
    }
    for name, figures in result.items():
        say(f"{name:14} " + "  ".join(f"{what} {value:.2f}" for what, value in figures.items()))
    publish("planned", {"stages": result}, machine)


if __name__ == "__main__":
    main()
