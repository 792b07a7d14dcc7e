"""The rounds of the workspace as they are on disk, running or not: nothing is computed, loaded or changed here."""

import math
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from accordant.errors import AccordantError
from accordant.files import in_use, read_json, read_rows, runs_folder
from accordant.journal import JOURNAL, read_journal
from accordant.records import Messages, Record
from accordant.rounds.status import MINUTES, SAMPLES, STATUS, StageName, State, Status

TrainedStage = Literal["sft", "reward", "ppo", "dpo", "best_of_n", "judge"]
EVALUATION = "evaluation.json"
StageState = Literal["ahead", "running", "stopped", "done"]


class StageView(Record):
    """A stage of a round."""

    name: StageName
    state: StageState
    minutes: float | None = Field(description="Over all sittings so far; None where it was not begun or is not over.")


class ProgressView(Record):
    """How far the current stage is."""

    stage: str = Field(description="Name of the stage, or `base` while the base is brought in.")
    part: str = Field(description="What is counted, such as the training or a piece of the evaluation.")
    done: int
    total: int = Field(description="Steps; 0 where none are counted.")
    seconds_left: float | None = Field(description="For the rest of the part at its own pace, if that is known.")


class RunView(Record):
    """A round."""

    name: str
    state: State = Field(description="`stopped` also where the process was killed.")
    why: str = Field(description="Why it stopped or failed, in one line, where that is known.")
    began: datetime = Field(description="When the last sitting began.")
    updated: datetime = Field(description="When the round last wrote where it is.")
    stages: list[StageView]
    progress: ProgressView | None = Field(description="Of a running round.")


class GuardRow(Record):
    """What a guard said of a step (from 0) and what came of it."""

    stage: StageName
    step: int
    done: str = Field(description="`warned`, `stopped`, or a roll-back with where it went.")
    line: str


class Measure(Record):
    """A figure with its interval of 95 per cent; None: not known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


class GateRow(Record):
    """A check of the reward model before PPO."""

    name: str
    of: str = Field(description="What it was measured on.")
    measure: Measure
    limit: str
    verdict: Literal["passed", "failed", "overruled"]


class RunDetail(RunView):
    """A round with what was said of it so far."""

    guards: list[GuardRow]
    gate: list[GateRow] = Field(description="Empty before the gate, and where there is none.")
    evaluated: bool = Field(description="Whether there is an evaluation.")


class MetricRow(Record):
    """A row of the results: what was measured of each system."""

    name: str
    group: str
    unit: Literal["points", "share", "words"]
    better: Literal["higher", "lower", ""]
    measures: dict[str, Measure] = Field(description="By system.")


class Difference(Record):
    """A paired difference of mean held-out reward: of `left` over `right`."""

    left: str
    right: str
    measure: Measure


class SampledAnswer(Record):
    """The answer of a system to a prompt of the evaluation."""

    text: str
    reward: float | None = Field(description="By the judge.")
    ended: bool


class SampledPrompt(Record):
    """A prompt of the evaluation with the answers of all systems."""

    id: str
    tag: str
    messages: Messages
    answers: dict[str, SampledAnswer] = Field(description="By system.")


class EvaluationView(Record):
    """The evaluation of a round."""

    made: str
    prompts: int
    seed: int
    base: str
    systems: list[str] = Field(description="In the order in which they came to be: base, SFT, ...")
    metrics: list[MetricRow]
    differences: list[Difference]
    reward_models: dict[str, Measure] = Field(description="Accuracy on the other part of the comparisons, by stage.")
    by_tag: dict[str, dict[str, float | None]] = Field(description="Mean held-out reward by kind of prompt and system.")
    samples: list[SampledPrompt]


class MetricRows(Record):
    """Lines of a stage's metrics."""

    rows: list[dict[str, float | None]] = Field(description="One a step, as the stage wrote it; `step` counts from 0.")
    place: str = Field(description="Asked for as `after`, only what is new comes.")
    anew: bool = Field(description="These are the rows from the first on: what was read before is void.")


class Sample(Record):
    """An answer of a model in training, as it was in a step (from 0)."""

    stage: StageName
    step: int
    prompt: str
    answer: str


class SampleRows(Record):
    """Lines of a run's samples."""

    rows: list[Sample]
    place: str = Field(description="Asked for as `after`, only what is new comes.")
    anew: bool = Field(description="These are the rows from the first on: what was read before is void.")


class UnknownRun(AccordantError):
    """The workspace has no such run, or the run no such file."""


def list_runs() -> list[RunView]:
    """All rounds of the workspace, the last one that did something first."""
    return sorted(map(view_of, _folders()), key=lambda run: run.updated, reverse=True)


def find_run(name: str) -> Path:
    """The folder of a run. Only a name that is in the list of all is taken, so none leads elsewhere.

    Raises:
        UnknownRun: when there is none.
    """
    for folder in _folders():
        if folder.name == name:
            return folder
    raise UnknownRun("there is no such run")


def detail_of(folder: Path) -> RunDetail:
    """A round with what guards and gate said."""
    guards = [
        GuardRow(stage=stage, **{key: row[key] for key in ("step", "done", "line")})
        for stage in get_args(TrainedStage)
        for row in read_journal(folder / stage / JOURNAL)
    ]
    evaluated = (folder / EVALUATION).exists()
    return RunDetail(**view_of(folder).model_dump(), guards=guards, gate=_gate_of(folder), evaluated=evaluated)


def view_of(folder: Path) -> RunView:
    """Where a round is."""
    status, running = _status_of(folder), in_use(folder)
    minutes: dict[str, float] = {}
    with suppress(AccordantError):  # one damaged file is no reason to show no runs
        minutes = _read(folder / MINUTES) or {}
    stages = [
        StageView(name=stage, state=_state_of(folder, stage, status, running), minutes=minutes.get(stage))
        for stage in (status.stages if status else _stages_on_disk(folder))
    ]
    if status is None:
        times = [path.stat().st_mtime for path in (folder, *folder.glob("*.json"), *folder.glob("*/*.jsonl"))]
        began, updated = (datetime.fromtimestamp(time, UTC) for time in (min(times), max(times)))
        state: State = "running" if running else "finished" if (folder / EVALUATION).exists() else "stopped"
        return RunView(
            name=folder.name, state=state, why="", began=began, updated=updated, stages=stages, progress=None
        )
    state = "running" if running else "stopped" if status.state == "running" else status.state
    progress = ProgressView(
        stage=status.stage,
        part=status.part,
        done=status.done,
        total=status.total,
        seconds_left=status.seconds_left(),
    )
    return RunView(
        name=folder.name,
        state=state,
        why=status.why,
        began=status.began,
        updated=status.updated,
        stages=stages,
        progress=progress if running else None,
    )


def metrics_of(folder: Path, stage: TrainedStage, after: str = "") -> MetricRows:
    """What a stage measured in each step; only what was written after a place, where one is given."""
    rows, place, anew = read_rows(folder / stage / "metrics.jsonl", after)
    return MetricRows(rows=[_numbers(row) for row in rows], place=place, anew=anew)


def samples_of(folder: Path, after: str = "") -> SampleRows:
    """The answers that stages sampled while they trained; only what was written after a place, where one is given."""
    rows, place, anew = read_rows(folder / SAMPLES, after)
    return SampleRows(rows=[Sample(**_sayable(row)) for row in rows], place=place, anew=anew)


def evaluation_of(folder: Path) -> EvaluationView:
    """The figures of a finished round with their intervals, and the answers of its systems to the same prompts.

    Raises:
        UnknownRun: when the round has not got so far.
        AccordantError: when the file is damaged.
    """
    from accordant.evals.metrics import METRICS  # whoever only lists runs does not need what evaluates

    path = folder / EVALUATION
    if not path.exists():
        raise UnknownRun("this run is not evaluated yet")
    found = _sayable(read_json(path))
    try:
        systems: dict[str, dict[str, Any]] = found["systems"]
        measured = {
            metric: {name: _measure(values[metric.key]) for name, values in systems.items() if values.get(metric.key)}
            for metric in METRICS
        }
        return EvaluationView(
            made=found.get("made") or "",
            prompts=found["prompts"],
            seed=found["seed"],
            base=found["base"],
            systems=list(systems),
            metrics=[
                MetricRow(
                    name=metric.key, group=metric.group, unit=metric.unit, better=metric.better, measures=measures
                )
                for metric, measures in measured.items()
                if measures
            ],
            differences=[
                Difference(left=left, right=right, measure=_measure(difference))
                for name, difference in found["differences"].items()
                for left, _, right in [name.partition(" - ")]
            ],
            reward_models={
                stage: Measure(value=one["accuracy"], low=one.get("low"), high=one.get("high"), n=one.get("pairs"))
                for stage, one in (found.get("reward_models") or {}).items()
            },
            by_tag=found.get("by_tag") or {},
            samples=found.get("samples") or [],
        )
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise AccordantError(f"{path} is incomplete ({error!r}); run the evaluation again") from None


def _folders() -> list[Path]:
    folder = runs_folder()
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if path.is_dir() and not path.name.startswith(".")]


def _status_of(folder: Path) -> Status | None:
    """None where there is none, or none that can be read."""
    try:
        return Status.model_validate_json((folder / STATUS).read_bytes())
    except (OSError, ValidationError):
        return None


def _stages_on_disk(folder: Path) -> list[StageName]:
    """What a round has that keeps no status."""
    return [stage for stage in get_args(StageName) if (folder / stage).is_dir() or _result_of(folder, stage).exists()]


def _result_of(folder: Path, stage: StageName) -> Path:
    """What a stage leaves when it is done."""
    results = {"gate": folder / "reward" / "gate.json", "evaluation": folder / EVALUATION}
    return results.get(stage, folder / stage / "checkpoint")


def _state_of(folder: Path, stage: StageName, status: Status | None, running: bool) -> StageState:
    if status and status.stage == stage and status.state != "finished":
        return "running" if running else "stopped"
    if _result_of(folder, stage).exists():
        return "done"
    return "stopped" if status is None and not running else "ahead"


def _gate_of(folder: Path) -> list[GateRow]:
    gate = _sayable(_read(folder / "reward" / "gate.json"))
    return [
        GateRow(name=figure["name"], of=figure["of"], measure=_measure(figure), **gate["verdicts"][figure["name"]])
        for figure in (gate["measured"]["figures"] if gate else ())
    ]


def _read(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _measure(found: dict[str, Any]) -> Measure:
    return Measure(**{name: found.get(name) for name in Measure.model_fields})


def _numbers(row: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of a row; JSON has no word for those that are not finite."""
    found = {name: value for name, value in row.items() if isinstance(value, int | float)}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _sayable(value: Any) -> Any:
    """As JSON and UTF-8 can hold it: a model can write half of a surrogate pair, and a figure can be infinite."""
    if isinstance(value, dict):
        return {key: _sayable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sayable(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
