"""A whole round, or a part of it, from a recipe."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from accordant.config import Method, Recipe
from accordant.files import only_one, read_json, runs_folder, workspace, write_json
from accordant.machine import Machine, keep_freed_memory, make_deterministic, measure
from accordant.progress import SILENT, Watcher
from accordant.rounds import rivals, stages
from accordant.rounds.data import load_round_data
from accordant.rounds.evaluation import evaluate_round
from accordant.rounds.gate import pass_gate
from accordant.rounds.rewards import outside_sources
from accordant.rounds.stages import Round
from accordant.rounds.status import MINUTES, keeping_status
from accordant.train.processes import together
from accordant.train.workers import ALONE, Workers


def carry_out(recipe: Recipe, watcher: Watcher, action: Callable[[Round], Path], folder: Path | None = None) -> Path:
    """Do `action`, such as `train_sft`, in the recipe's run, with as many processes as it says; returns its path.

    Args:
        recipe: what to run.
        watcher: hears of the progress.
        action: a function of a module, so that other processes can call it, too.
        folder: of the run, where it is not the one in the workspace.
    """
    with (
        together(recipe.run.processes, partial(_follow, recipe, action, folder)) as workers,
        open_round(recipe, watcher, workers, folder) as work,
    ):
        return action(work)


def _follow(recipe: Recipe, action: Callable[[Round], Path], folder: Path | None, workers: Workers) -> None:
    with open_round(recipe, SILENT, workers, folder) as work:
        action(work)


@contextmanager
def open_round(
    recipe: Recipe, watcher: Watcher, workers: Workers = ALONE, folder: Path | None = None
) -> Iterator[Round]:
    """Hold the run's folder for this process and its workers; find rewards, read data, measure the machine.

    The folder is the run's own in the workspace unless told otherwise.
    """
    folder = folder or runs_folder() / recipe.run.name
    with ExitStack() as held:
        if workers.leads:
            held.enter_context(only_one(folder))
            watcher = held.enter_context(keeping_status(folder, recipe.policy.methods, watcher))
        keep_freed_memory()
        outside_sources(recipe.ppo.rewards)
        data = load_round_data(recipe.data, watcher)
        machine = workers.first(lambda: _machine_of(folder))
        machine.use(workers.size)
        if machine.device != "cpu":
            make_deterministic()
        yield Round(recipe, folder, workspace() / "bases", machine, watcher, data, workers)


def _machine_of(folder: Path) -> Machine:
    """The machine as it was measured when the run began.

    Threads and number format decide the last bits of every sum, so a run that goes on must keep both, however busy
    the machine is by then.
    """
    path = folder / "machine.json"
    if not path.exists():
        write_json(path, measure().to_json())
    return Machine(**read_json(path))


def train_sft(work: Round) -> Path:
    """Base and SFT."""
    base = _timed(work, "base", lambda: stages.base(work))
    return _timed(work, "sft", lambda: stages.sft(work, base))


def train_reward(work: Round) -> Path:
    """Everything up to the reward model; measured on the half of the comparisons that it did not see."""
    sft = train_sft(work)
    own, others = stages.reward_halves(work)
    return _timed(work, "reward", lambda: stages.reward(work, sft, "reward", own, others))


def gate_reward(work: Round) -> Path:
    """Everything up to PPO's reward model, and the gate that it must pass."""
    reward = train_reward(work)
    _, others = stages.reward_halves(work)
    _timed(work, "gate", lambda: work.workers.first(lambda: pass_gate(work, others)))
    return reward


def train_ppo(work: Round) -> Path:
    """Everything up to the PPO policy."""
    gate_reward(work)
    return tune(work, "ppo")


def train_dpo(work: Round) -> Path:
    """Everything up to the DPO policy, which needs no reward model."""
    train_sft(work)
    return tune(work, "dpo")


def train_best_of_n(work: Round) -> Path:
    """Everything up to the policy that is fine-tuned on the best of its own answers."""
    gate_reward(work)
    return tune(work, "best_of_n")


def tune(work: Round, method: Method) -> Path:
    """The policy of `method`, where SFT and reward model are done."""
    sft, reward = work.checkpoint("sft"), work.checkpoint("reward")
    actions: dict[Method, Callable[[], Path]] = {
        "ppo": lambda: stages.ppo(work, sft, reward),
        "dpo": lambda: rivals.dpo(work, sft),
        "best_of_n": lambda: rivals.best_of_n(work, sft, reward),
    }
    return _timed(work, method, actions[method])


def train_judge(work: Round) -> Path:
    """Everything up to the judge: a reward model on the half of the comparisons that no policy is tuned on."""
    sft = train_sft(work)
    own, others = stages.reward_halves(work)
    return _timed(work, "judge", lambda: stages.reward(work, sft, "judge", others, own))


def measure_round(work: Round) -> Path:
    """Everything up to `evaluation.json`."""
    if work.recipe.policy.methods == ("dpo",):
        train_reward(work)  # no policy is tuned against it: it chooses the best of n in the evaluation
    else:
        gate_reward(work)
    for method in work.recipe.policy.methods:
        tune(work, method)
    train_judge(work)
    base = stages.base(work)
    if not work.workers.leads:
        return work.folder  # measuring is for one process
    work.machine.use()
    return _timed(work, "evaluation", lambda: evaluate_round(work, base))


def run_round(recipe: Recipe, watcher: Watcher) -> Path:
    """The whole round; returns its report. What is done already is not done again."""
    return carry_out(recipe, watcher, whole_round)


def whole_round(work: Round) -> Path:
    """Everything up to the report."""
    from accordant.evals.report import write_report

    measure_round(work)
    return write_report(work.folder) if work.workers.leads else work.folder


def _timed(work: Round, stage: str, action: Any) -> Path:
    """Do a stage and add the minutes it took to `minutes.json`, over all sittings."""
    path = work.folder / MINUTES
    work.watcher.enter(stage)
    began = time.monotonic()
    try:
        result: Path = action()
    finally:
        if work.workers.leads:
            minutes = read_json(path) if path.exists() else {}
            minutes[stage] = minutes.get(stage, 0.0) + (time.monotonic() - began) / 60
            write_json(path, minutes)
    return result
