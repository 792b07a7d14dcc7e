"""The rounds of the workspace, for admins to watch: everything is read, nothing is changed."""

from pathlib import Path as Folder
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from starlette.responses import FileResponse

from accordant.records import Record
from accordant.rounds import runs
from accordant.rounds.runs import (
    EvaluationView,
    MetricRows,
    RunDetail,
    RunView,
    SampleRows,
    TrainedStage,
    UnknownRun,
)
from accordant.serve.deps import Admin

router = APIRouter(prefix="/api/runs", tags=["runs"])

After = Annotated[
    str, Query(pattern=r"^(\d{1,15}-[0-9a-f]{8})?$", description="`place` of the last answer; empty: from the first.")
]


def run_folder(name: str, _: Admin) -> Folder:
    """The folder of the run that the address names."""
    try:
        return runs.find_run(name)
    except UnknownRun as error:
        raise HTTPException(404, str(error)) from None


RunFolder = Annotated[Folder, Depends(run_folder)]


class RunList(Record):
    """Rounds, the last one that did something first."""

    runs: list[RunView]


@router.get("")
def list_runs(_: Admin) -> RunList:
    """All rounds of the workspace."""
    return RunList(runs=runs.list_runs())


@router.get("/{name}")
def show_run(folder: RunFolder) -> RunDetail:
    """One round: its stages, how far it is, what guards and gate said."""
    return runs.detail_of(folder)


@router.get("/{name}/metrics/{stage}")
def stage_metrics(folder: RunFolder, stage: TrainedStage, after: After = "") -> MetricRows:
    """What a stage measured in each step."""
    return runs.metrics_of(folder, stage, after)


@router.get("/{name}/samples")
def run_samples(folder: RunFolder, after: After = "") -> SampleRows:
    """Answers that stages sampled while they trained."""
    return runs.samples_of(folder, after)


@router.get("/{name}/evaluation")
def run_evaluation(folder: RunFolder) -> EvaluationView:
    """Figures with intervals, and answers to the same prompts side by side; 404 before there are any."""
    try:
        return runs.evaluation_of(folder)
    except UnknownRun as error:
        raise HTTPException(404, str(error)) from None


@router.get("/{name}/report", response_class=FileResponse)
def run_report(folder: RunFolder) -> FileResponse:
    """The report as one page without a network, to be kept; 404 before there is one."""
    path = folder / "report.html"
    if not path.exists():
        raise HTTPException(404, "this run has no report yet")
    return FileResponse(path, media_type="text/html", filename=f"{folder.name}.html")
