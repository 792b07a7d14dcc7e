"""The work of trainers: answers to rank, demonstrations to write; saved at each step, undone, handed in, skipped."""

from datetime import timedelta
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import Field

from accordant.errors import AccordantError
from accordant.records import DemonstrationDraft, Note, RankingDraft, Record
from accordant.serve.deps import AlternativesDep, DatabaseDep, Trainer
from accordant.serve.events import SuggestionEvent
from accordant.serve.keep_alive import EventStream
from accordant.serve.routes.labelling_views import (
    ComparisonView,
    DemonstrationList,
    DemonstrationView,
    Guidelines,
    OwnTotal,
    OwnTotals,
)
from accordant.serve.service import Serving
from accordant.serve.suggesting import SuggestionsWanted, suggest
from accordant.store import annotations
from accordant.store.annotations import Work
from accordant.store.schema import WorkKind

router = APIRouter(prefix="/api/labelling", tags=["labelling"])

Revision = Annotated[int, Field(ge=0, lt=1 << 31, description="That of the state which this follows.")]


class RankingStep(Record):
    """A step of a ranking."""

    revision: Revision
    value: RankingDraft


class DemonstrationStep(Record):
    """A step of a demonstration."""

    revision: Revision
    value: DemonstrationDraft


class Step(Record):
    """A step that needs nothing besides."""

    revision: Revision


class Skip(Step):
    """Why somebody leaves a task to others, or throws a dialogue away."""

    reason: Note


@router.get("/guidelines")
def guidelines(_: Trainer) -> Guidelines:
    """How to rank and how to write, with examples, as Markdown."""
    return Guidelines(comparisons=_text("comparisons"), demonstrations=_text("demonstrations"))


@router.get("/totals")
def own_totals(who: Trainer, database: DatabaseDep) -> OwnTotals:
    """What the trainer has done so far."""
    with database.read() as session:
        return OwnTotals(totals=[OwnTotal(**total._asdict()) for total in annotations.totals(session, who.user_id)])


@router.post("/comparisons/next")
async def next_comparison(who: Trainer, alternatives: AlternativesDep, request: Request) -> ComparisonView:
    """What to rank now: what was begun, else something new; sampling its answers takes as long as they take.

    404: there is nothing to rank. 429: the model has too much to do.
    """
    return ComparisonView.of(await alternatives.next(who, request))


@router.get("/comparisons/{annotation_id}")
def open_comparison(annotation_id: str, who: Trainer, database: DatabaseDep) -> ComparisonView:
    """Own work as it was saved last."""
    with database.read() as session:
        return ComparisonView.of(annotations.held(session, who.user_id, annotation_id, "comparison"))


@router.put("/comparisons/{annotation_id}")
def save_comparison(
    annotation_id: str, asked: RankingStep, who: Trainer, database: DatabaseDep, alternatives: AlternativesDep
) -> ComparisonView:
    """Keep a step and begin the lease anew. 409: it was saved in another window, is over, or somebody else has it."""
    with database.write() as session:
        work = annotations.held(session, who.user_id, annotation_id, "comparison")
        value = _ranking(work, asked.value, complete=False)
        return ComparisonView.of(annotations.save(session, work, asked.revision, value, alternatives.lease))


@router.post("/comparisons/{annotation_id}/undo")
def undo_comparison(
    annotation_id: str, asked: Step, who: Trainer, database: DatabaseDep, alternatives: AlternativesDep
) -> ComparisonView:
    """Go one step back. 409 where there is none."""
    with database.write() as session:
        work = annotations.held(session, who.user_id, annotation_id, "comparison")
        return ComparisonView.of(annotations.undo(session, work, asked.revision, alternatives.lease))


@router.post("/comparisons/{annotation_id}/submit")
def submit_comparison(annotation_id: str, asked: RankingStep, who: Trainer, database: DatabaseDep) -> ComparisonView:
    """Hand a ranking in: every answer ranked, or all of them called bad."""
    with database.write() as session:
        work = annotations.held(session, who.user_id, annotation_id, "comparison")
        value = _ranking(work, asked.value, complete=True)
        return ComparisonView.of(annotations.submit(session, work, asked.revision, value))


@router.post("/comparisons/{annotation_id}/skip")
def skip_comparison(annotation_id: str, asked: Skip, who: Trainer, database: DatabaseDep) -> ComparisonView:
    """Leave it to others."""
    return ComparisonView.of(_skipped(annotation_id, asked, who.user_id, database, "comparison"))


@router.get("/demonstrations")
def list_demonstrations(who: Trainer, database: DatabaseDep) -> DemonstrationList:
    """Own dialogues, open or handed in, the last saved first."""
    with database.read() as session:
        found = annotations.own_demonstrations(session, who.user_id)
    return DemonstrationList(demonstrations=[DemonstrationView.of(work) for work in found])


@router.post("/demonstrations", status_code=201)
def begin_demonstration(who: Trainer, database: DatabaseDep) -> DemonstrationView:
    """Begin a dialogue."""
    with database.write() as session:
        made = annotations.begin_demonstration(session, who.user_id, _plain(DemonstrationDraft()))
        return DemonstrationView.of(Work(made, None, 0))


@router.get("/demonstrations/{annotation_id}")
def open_demonstration(annotation_id: str, who: Trainer, database: DatabaseDep) -> DemonstrationView:
    """An own dialogue as it was saved last."""
    with database.read() as session:
        return DemonstrationView.of(annotations.held(session, who.user_id, annotation_id, "demonstration"))


@router.put("/demonstrations/{annotation_id}")
def save_demonstration(
    annotation_id: str, asked: DemonstrationStep, who: Trainer, database: DatabaseDep
) -> DemonstrationView:
    """Keep a step. 409: it was saved in another window in between, or is over."""
    with database.write() as session:
        work = annotations.held(session, who.user_id, annotation_id, "demonstration")
        return DemonstrationView.of(annotations.save(session, work, asked.revision, _plain(asked.value), timedelta()))


@router.post("/demonstrations/{annotation_id}/undo")
def undo_demonstration(annotation_id: str, asked: Step, who: Trainer, database: DatabaseDep) -> DemonstrationView:
    """Go one step back. 409 where there is none."""
    with database.write() as session:
        work = annotations.held(session, who.user_id, annotation_id, "demonstration")
        return DemonstrationView.of(annotations.undo(session, work, asked.revision, timedelta()))


@router.post("/demonstrations/{annotation_id}/submit")
def submit_demonstration(
    annotation_id: str, asked: DemonstrationStep, who: Trainer, database: DatabaseDep
) -> DemonstrationView:
    """Hand a dialogue in: user and assistant in turn, no turn empty, the assistant's last."""
    try:
        asked.value.finished()
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    with database.write() as session:
        work = annotations.held(session, who.user_id, annotation_id, "demonstration")
        return DemonstrationView.of(annotations.submit(session, work, asked.revision, _plain(asked.value)))


@router.post("/demonstrations/{annotation_id}/skip")
def throw_demonstration_away(annotation_id: str, asked: Skip, who: Trainer, database: DatabaseDep) -> DemonstrationView:
    """Throw a dialogue away."""
    return DemonstrationView.of(_skipped(annotation_id, asked, who.user_id, database, "demonstration"))


@router.post(
    "/demonstrations/{annotation_id}/suggestions",
    status_code=200,
    response_class=EventStream,
    responses={200: {"model": SuggestionEvent, "description": "Server-Sent Events; each `data` line is one of these."}},
)
async def suggest_answers(
    annotation_id: str, asked: SuggestionsWanted, who: Trainer, database: DatabaseDep, service: Serving
) -> EventStream:
    """Let the model write on from where the trainer is: Server-Sent Events.

    `waiting` and `delta` (of `choice`), then `done` for each choice, and last, once they are stored, a `suggested` with
    the id of each; `error` instead when it broke off. Who leaves ends it.
    """
    return await suggest(annotation_id, asked, who, database, service)


def _text(name: str) -> str:
    return files("accordant.labelling").joinpath("guidelines", f"{name}.md").read_text(encoding="utf-8")


def _plain(value: Record) -> dict[str, Any]:
    return value.model_dump(mode="json")


def _ranking(work: Work, value: RankingDraft, complete: bool) -> dict[str, Any]:
    assert work.task is not None
    try:
        value.check(len(work.task.candidates), complete)
    except ValueError as error:
        raise AccordantError(str(error)) from None
    return _plain(value)


def _skipped(annotation_id: str, asked: Skip, user_id: str, database: DatabaseDep, kind: WorkKind) -> Work:
    with database.write() as session:
        work = annotations.held(session, user_id, annotation_id, kind)
        return annotations.skip(session, work, asked.revision, asked.reason)
