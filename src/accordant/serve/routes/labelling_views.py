"""The work of trainers as it leaves the server."""

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from accordant.labelling.agreement import Alpha
from accordant.labelling.quality import Annotator, Criterion, Quality
from accordant.labelling.ranking import Agreement, agreement, ranking_of
from accordant.records import Candidate, DemonstrationDraft, Messages, RankingDraft, Record
from accordant.serve.routes.feedback import ReviewView, review_of
from accordant.stats import wilson
from accordant.store.annotations import Work
from accordant.store.schema import WorkKind, WorkState


class Guidelines(Record):
    """Markdown."""

    comparisons: str
    demonstrations: str


class OwnTotal(Record):
    """How much of one kind, in one state."""

    kind: WorkKind
    state: WorkState
    works: int
    seconds: float = Field(description="Of work; pauses over a minute do not count.")


class OwnTotals(Record):
    """What a trainer has done."""

    totals: list[OwnTotal]


class WorkView(Record):
    """Somebody's work as they see it."""

    id: str
    state: WorkState = Field(description="`expired`: left alone for too long, and somebody else has it now.")
    revision: int = Field(description="To be sent with the next step.")
    undo_steps: int = Field(description="How many steps can be undone.")
    begun_at: datetime
    saved_at: datetime


class ComparisonView(WorkView):
    """Answers to rank. Which model wrote them is hidden; `value` names them by their places here, from 0."""

    messages: Messages = Field(description="The conversation; the answers are to its last message.")
    answers: list[str] = Field(description="In the order in which they are to be shown.")
    value: RankingDraft
    leased_until: datetime = Field(description="Nobody else gets it before; saving begins the lease anew.")

    @classmethod
    def of(cls, work: Work) -> Self:
        """From the store."""
        row, task, _ = work
        assert task is not None
        return cls(
            **_common(work),
            messages=task.messages,
            answers=[task.candidates[candidate]["content"] for candidate in row.shown_order],
            value=row.value,
            leased_until=row.leased_until,
        )


class DemonstrationView(WorkView):
    """A dialogue that a trainer writes."""

    value: DemonstrationDraft

    @classmethod
    def of(cls, work: Work) -> Self:
        """From the store."""
        return cls(**_common(work), value=work.annotation.value)


class DemonstrationList(Record):
    """A trainer's dialogues."""

    demonstrations: list[DemonstrationView]


class AgreementView(Record):
    """Of so many pairs of answers, how many two rankings put in the same order."""

    alike: int
    pairs: int

    @classmethod
    def of(cls, found: Agreement) -> Self:
        """From the count."""
        return cls(alike=found.alike, pairs=found.pairs)


class ShareView(AgreementView):
    """The same as a share of many pairs, with its interval of 95 per cent (Wilson); None without pairs."""

    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: Agreement) -> Self:
        """From the count."""
        low, high = wilson(*found) if found.pairs else (None, None)
        return cls(alike=found.alike, pairs=found.pairs, low=low, high=high)


class ReviewedWork(Record):
    """A trainer's work as reviewers see it.

    Of a comparison the conversation, its candidates with their models, and the ranking; else the dialogue.
    """

    id: str
    kind: WorkKind
    user: str = Field(description="Id of the trainer.")
    state: WorkState
    skip_reason: str
    seconds: float = Field(description="Of work; pauses over a minute do not count.")
    begun_at: datetime
    ended_at: datetime | None
    repeat: int = Field(description="How often this trainer had the same task before.")
    review: ReviewView
    task: str | None = Field(description="Id of the task; None for a demonstration.")
    messages: Messages | None
    candidates: list[Candidate] | None
    shown_order: list[int] = Field(description="Candidate at each place, as they were shown.")
    ranking: list[list[int]] | None = Field(description="Tiers of candidates; None where not all are ranked.")
    comparison: RankingDraft | None = Field(description="By places, as it was clicked.")
    gold: list[list[int]] | None = Field(description="The known ranking of the task, by candidates.")
    agrees: AgreementView | None = Field(description="Of the ranking with the known one.")
    demonstration: DemonstrationDraft | None

    @classmethod
    def of(cls, work: Work) -> Self:
        """From the store."""
        row, task, _ = work
        ranking = ranking_of(work) if task and row.state == "submitted" else None
        known = task.gold if task else None
        return cls(
            **{name: getattr(row, name) for name in ("id", "kind", "state", "skip_reason", "seconds", "repeat")},
            user=row.user_id,
            begun_at=row.begun_at,
            ended_at=row.ended_at,
            review=review_of(row),
            task=row.task_id,
            messages=task.messages if task else None,
            candidates=task.candidates if task else None,
            shown_order=row.shown_order,
            ranking=[list(tier) for tier in ranking] if ranking else None,
            comparison=row.value if task else None,
            gold=known,
            agrees=AgreementView.of(agreement(ranking, known)) if ranking and known else None,
            demonstration=None if task else row.value,
        )


class ReviewedWorkList(Record):
    """The last begun first; `next` is `before` of the next page, None on the last."""

    works: list[ReviewedWork]
    next: str | None


class AlphaView(Record):
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives; None where nothing can be said."""

    alpha: float | None
    units: int = Field(description="Things that at least two people judged.")
    values: int = Field(description="Judgements of those.")

    @classmethod
    def of(cls, found: Alpha) -> Self:
        """From the measure."""
        return cls(**found._asdict())


class AnnotatorView(Record):
    """What one person's rankings are like."""

    user: str
    submitted: int
    skipped: int
    rejected: int
    median_seconds: float | None
    gold: ShareView = Field(description="With the known rankings.")
    themselves: ShareView = Field(description="With what they said of the same task before.")
    others: ShareView = Field(description="With other people's rankings of the same task.")
    trust: float | None = Field(description="Lower end of the interval of the agreement with known rankings.")

    @classmethod
    def of(cls, found: Annotator) -> Self:
        """From the measure."""
        return cls(
            user=found.user_id,
            **{name: getattr(found, name) for name in ("submitted", "skipped", "rejected", "median_seconds", "trust")},
            **{name: ShareView.of(getattr(found, name)) for name in ("gold", "themselves", "others")},
        )


class QualityView(Record):
    """How well people agree on rankings and criteria, and each annotator."""

    ranking: AlphaView
    criteria: dict[Criterion, AlphaView]
    annotators: list[AnnotatorView]

    @classmethod
    def of(cls, found: Quality) -> Self:
        """From the measure."""
        return cls(
            ranking=AlphaView.of(found.ranking),
            criteria={name: AlphaView.of(alpha) for name, alpha in found.criteria.items()},
            annotators=[AnnotatorView.of(annotator) for annotator in found.annotators],
        )


def _common(work: Work) -> dict[str, Any]:
    row, _, steps = work
    return {
        "id": row.id,
        "state": row.state,
        "revision": row.revision,
        "undo_steps": steps,
        "begun_at": row.begun_at,
        "saved_at": row.saved_at,
    }
