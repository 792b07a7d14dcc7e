"""What reviewers see of the work of trainers: lists, decisions, known rankings, and how well people agree."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from accordant.errors import AccordantError
from accordant.labelling.quality import quality
from accordant.records import RankingDraft, Record
from accordant.serve.deps import DatabaseDep, Reviewer
from accordant.serve.routes.feedback import ReviewDecision
from accordant.serve.routes.labelling_views import QualityView, ReviewedWork, ReviewedWorkList
from accordant.store import annotations, feedback, tasks, users
from accordant.store.schema import Review, WorkKind, WorkState

router = APIRouter(prefix="/api/labelling", tags=["reviewing"])


class Gold(Record):
    """The ranking that is known to be right: tiers of candidates, the best first; None: it is not known any more."""

    ranking: list[list[int]] | None = Field(max_length=9)


@router.get("/annotations")
def list_annotations(
    _: Reviewer,
    database: DatabaseDep,
    kind: WorkKind | None = None,
    state: WorkState | None = None,
    review: Review | None = None,
    user: Annotated[str | None, Query(max_length=100)] = None,
    task: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(max_length=100)] = None,
) -> ReviewedWorkList:
    """Work of all trainers, except on conversations whose owners do not consent any more."""
    with database.read() as session:
        found = annotations.listed(session, kind, state, review, user, task, limit + 1, before)
    page = [ReviewedWork.of(work) for work in found[:limit]]
    return ReviewedWorkList(works=page, next=page[-1].id if len(found) > limit else None)


@router.put("/annotations/{annotation_id}/review")
def review_annotation(annotation_id: str, asked: ReviewDecision, who: Reviewer, database: DatabaseDep) -> ReviewedWork:
    """Accept or reject somebody's work; what is rejected is not trained on."""
    with database.write() as session:
        work = annotations.one(session, annotation_id)
        feedback.reviewed(session, who.user_id, work.annotation, asked.review, asked.reason)
        return ReviewedWork.of(work)


@router.put("/tasks/{task_id}/gold", status_code=204)
def set_gold(task_id: str, asked: Gold, who: Reviewer, database: DatabaseDep) -> None:
    """Say which ranking of a task is right: from then on annotators are measured by it, and it is not trained on."""
    with database.write() as session:
        task = tasks.set_gold(session, who.user_id, task_id, asked.ranking)
        if asked.ranking is not None:
            try:
                RankingDraft(tiers=tuple(map(tuple, asked.ranking))).check(len(task.candidates), complete=True)
            except ValueError as error:
                raise AccordantError(str(error)) from None


@router.get("/people")
def people(_: Reviewer, database: DatabaseDep) -> dict[str, str]:
    """What those are called whose work is reviewed, and who reviewed it, by id; of an address the part before the @."""
    with database.read() as session:
        return users.shown_names(users.who_judged(session))


@router.get("/quality")
def labelling_quality(_: Reviewer, database: DatabaseDep) -> QualityView:
    """Agreement between people, and each one's speed, trust and rejections."""
    with database.read() as session:
        works = annotations.all_rankings(session)
    return QualityView.of(quality(works))
