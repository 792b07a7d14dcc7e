"""A recorded run, done again from its own record and compared with it bit for bit.

Every finished stage carries the recipe, the digests of its data and the machine it was made with. The run is repeated
beside the old one, in `RUN-reproduced`, with the same threads and precision: those decide the last bits of a sum.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from accordant import __version__
from accordant.config import METHOD_NAMES, Recipe, explain
from accordant.errors import AccordantError
from accordant.files import read_json, sha256, write_json
from accordant.machine import processor
from accordant.model.hub import WEIGHTS, read_weights
from accordant.progress import Watcher
from accordant.rounds import run, stages
from accordant.rounds.rewards import outside_sources
from accordant.rounds.stages import Round
from accordant.train.loop import read_metrics

REDO: dict[str, Callable[[Round], Path]] = {
    "sft": run.train_sft,
    "reward": run.train_reward,
    "ppo": run.train_ppo,
    "dpo": run.train_dpo,
    "best_of_n": run.train_best_of_n,
    "judge": run.train_judge,
    "evaluation": run.measure_round,
}
"""Each stage that is compared, in the order of a round, and the function that makes it with all it needs."""
_NEEDED = {
    "sft": {"sft"},
    "reward": {"sft", "reward"},
    "ppo": {"sft", "reward", "ppo"},
    "dpo": {"sft", "dpo"},
    "best_of_n": {"sft", "reward", "best_of_n"},
    "judge": {"sft", "judge"},
    "evaluation": set(REDO),
}
_FIGURES = ("systems", "differences", "reward_models", "scorer", "by_tag", "samples")
"""What `evaluation.json` says about the models; the rest is about the time and the place."""
_RESULT = "reproduction.json"

Row = Mapping[str, float]


@dataclass(frozen=True)
class Gap:
    """The first step whose metrics are not equal, and there the metric that differs most, in its own units."""

    step: int
    metric: str
    difference: float


@dataclass(frozen=True)
class StageComparison:
    """How a stage came out the second time.

    files: those of the result that are not equal byte for byte; weight_difference: the largest, absolute, infinite
    where shapes or names differ; steps: lines of metrics that were compared.
    """

    stage: str
    files: tuple[str, ...]
    weight_difference: float
    steps: int
    gap: Gap | None

    @property
    def equal(self) -> bool:
        """Whether every byte of the result and every metric of every step is the same."""
        return not self.files and self.gap is None

    def to_json(self) -> dict[str, Any]:
        """All of it; what JSON has no number for is null."""
        found = asdict(self) | {"equal": self.equal, "weight_difference": _finite(self.weight_difference)}
        if self.gap:
            found["gap"]["difference"] = _finite(self.gap.difference)
        return found


def reproduce(folder: Path, watcher: Watcher, stage: str | None = None) -> list[StageComparison]:
    """Run what is recorded in the run's `folder` again, into `FOLDER-reproduced`, and compare stage by stage.

    A reproduction that was stopped goes on; one that was finished is done anew. Other software or another processor is
    noted: whether it gives the same bits is what the comparison finds out.

    Args:
        folder: the run as recorded; it is only read.
        watcher: is told of progress and of what may explain a difference.
        stage: go only as far as this one of `REDO`; all recorded stages by default.

    Raises:
        AccordantError: before any work, when there is no record, or data, base or device are not those of it.
    """
    recorded = _records(folder, stage)
    recipe, first, again = _recipe_of(recorded, folder), recorded["sft"], reproduction_folder(folder)
    _check_data(first)
    _check_rewards(recipe, recorded)
    _note_differences(first, watcher)
    _note_changed_weights(folder, recorded, watcher)
    write_json(again / "machine.json", first["machine"])
    run.carry_out(recipe, watcher, partial(_redo, list(recorded), first), again)
    comparisons = [_compare(name, folder, again) for name in recorded]
    write_json(again / _RESULT, {"stages": [found.to_json() for found in comparisons]})
    return comparisons


def _redo(names: Sequence[str], record: Mapping[str, Any], work: Round) -> Path:
    _check_device_and_base(work, record)
    work.workers.first(lambda: _forget_finished(work.folder))
    for name in names:
        REDO[name](work)
    return work.folder


def reproduction_folder(folder: Path) -> Path:
    """Where a run is done again: beside it."""
    return folder.with_name(f"{folder.name}-reproduced")


def _compare(stage: str, one: Path, two: Path) -> StageComparison:
    return compare_evaluations(one, two) if stage == "evaluation" else compare_stage(stage, one / stage, two / stage)


def compare_stage(stage: str, one: Path, two: Path) -> StageComparison:
    """Compare two folders of a stage: every file of the checkpoint but the lineage, and every step's metrics."""
    names = {p.relative_to(f).as_posix() for f in (one, two) for p in [*f.glob("checkpoint/*"), f / "accuracy.json"]}
    differing = sorted(
        name for name in names - {"checkpoint/run.json"} if _digest_of(one / name) != _digest_of(two / name)
    )
    weights = f"checkpoint/{WEIGHTS}"
    difference = _weight_difference(one / "checkpoint", two / "checkpoint") if weights in differing else 0.0
    rows = [read_metrics(folder / "metrics.jsonl") for folder in (one, two)]
    return StageComparison(stage, tuple(differing), difference, len(rows[0]), first_gap(*rows))


def compare_evaluations(one: Path, two: Path) -> StageComparison:
    """Compare the figures and sample answers in two runs' `evaluation.json`."""
    figures = [{name: read_json(f / "evaluation.json").get(name) for name in _FIGURES} for f in (one, two)]
    files = () if figures[0] == figures[1] else ("evaluation.json",)
    return StageComparison("evaluation", files, 0.0, 1, first_gap(*([_numbers(f)] for f in figures)))


def first_gap(one: Sequence[Row], two: Sequence[Row]) -> Gap | None:
    """Where two curves part, apart from the seconds; a metric or step that only one has is infinitely far away."""
    for number, (a, b) in enumerate(zip_longest(one, two, fillvalue=_NO_ROW)):
        names = sorted((a.keys() | b.keys()) - {"seconds"})
        differences = {name: _difference(a.get(name), b.get(name)) for name in names}
        worst = max(differences, key=lambda name: differences[name], default="")
        if worst and differences[worst] > 0:
            return Gap(int(a.get("step", b.get("step", number))), worst, differences[worst])
    return None


_NO_ROW: Row = {}


def _records(folder: Path, stage: str | None) -> dict[str, dict[str, Any]]:
    """The records of the finished stages up to `stage`, in the order of a round."""
    if stage is not None and stage not in REDO:
        raise AccordantError(f"stage {stage!r}: must be one of {', '.join(REDO)}")
    wanted = _NEEDED[stage or "evaluation"]
    paths = {name: folder / name / "checkpoint" / "run.json" for name in REDO} | {
        "evaluation": folder / "evaluation.json"
    }
    records = {name: read_json(path) for name, path in paths.items() if name in wanted and path.exists()}
    for name in ("sft", stage or "sft"):
        if name not in records:
            raise AccordantError(f"{folder} has no finished stage {name}, so there is nothing to compare with")
    return records


def _recipe_of(recorded: Mapping[str, Mapping[str, Any]], folder: Path) -> Recipe:
    """The recipe of the newest record, with each stage's settings from its own."""
    newest = list(recorded.values())[-1]
    if "recipe" not in newest:
        raise AccordantError(f"{folder} was made by a version that did not record its recipe; run the recipe again")
    own = {name: recorded[name]["settings"] for name in ("sft", "reward", *METHOD_NAMES) if name in recorded}
    try:
        recipe = Recipe.model_validate(newest["recipe"] | own)
    except ValidationError as error:
        raise AccordantError(f"{folder} records a recipe that this version cannot run: {explain(error)}") from None
    name = reproduction_folder(Path(recipe.run.name)).name
    return recipe.model_copy(update={"run": recipe.run.model_copy(update={"name": name})})


def _check_data(record: Mapping[str, Any]) -> None:
    for path, digest in record["data_sha256"].items():
        if not Path(path).exists():
            raise AccordantError(f"data file {path} is gone; put it back where the run found it")
        if (found := sha256(Path(path))) != digest:
            raise AccordantError(
                f"data file {path} is not the one that the run learned from (SHA-256 {found[:12]}, recorded is "
                f"{digest[:12]}); bring that one back"
            )


def _check_rewards(recipe: Recipe, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    trained = [recorded[stage]["parents"] for stage in ("ppo", "best_of_n") if stage in recorded]
    for name, digest in outside_sources(recipe.ppo.rewards).items() if trained else ():
        if any(parents.get(name) != digest for parents in trained):
            raise AccordantError(f"{name} is not the reward that the run was made with; bring that one back")


def _check_device_and_base(work: Round, record: Mapping[str, Any]) -> None:
    if record["device"] != work.device:
        raise AccordantError(f"the run was made on {record['device']}, this is {work.device}: other bits are certain")
    stages.base(work)
    if work.fingerprints["base"] != record["parents"]["base"]:
        raise AccordantError(f"base {work.recipe.run.base} has other weights than the run began with; bring those back")


def _note_differences(record: Mapping[str, Any], watcher: Watcher) -> None:
    here = {
        "accordant": (record["accordant"], __version__),
        "source": (record["revision"], stages.revision()),
        "torch": (record["machine"]["torch"], torch.__version__),
        "processor": (record["machine"]["processor"], processor()),
    }
    for name, (then, now) in here.items():
        if then != now:
            watcher.note(f"{name} was {then}, now {now}: the last bits may differ")


def _note_changed_weights(folder: Path, recorded: Mapping[str, Mapping[str, Any]], watcher: Watcher) -> None:
    for name in recorded.keys() - {"evaluation"}:
        path = folder / name / "checkpoint" / WEIGHTS
        if _digest_of(path) != recorded[name]["weights_sha256"]:
            watcher.note(f"{path} is no longer what was written: its digest is not that of its run.json")


def _forget_finished(folder: Path) -> None:
    """Clear the results of a reproduction that came to its end; one that was stopped goes on."""
    if (folder / _RESULT).exists():
        for name in REDO:
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "evaluation.json").unlink(missing_ok=True)
        (folder / _RESULT).unlink()


def _digest_of(path: Path) -> str | None:
    return sha256(path) if path.exists() else None


def _weight_difference(one: Path, two: Path) -> float:
    try:
        a, b = read_weights(one), read_weights(two)
    except AccordantError:
        return math.inf
    if {n: w.shape for n, w in a.items()} != {n: w.shape for n, w in b.items()}:
        return math.inf
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)


def _difference(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return math.inf
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return math.inf if math.isnan(a - b) else abs(a - b)


def _numbers(value: Any, name: str = "") -> dict[str, float]:
    """All numbers of a JSON value by their dotted place."""
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list):
        parts = {str(number): part for number, part in enumerate(value)}.items()
    else:
        return {name: float(value)} if isinstance(value, int | float) else {}
    return {n: v for key, part in parts for n, v in _numbers(part, f"{name}.{key}" if name else key).items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
