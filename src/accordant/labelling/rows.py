"""From the work of trainers to training rows, or to the reason why it becomes none."""

from collections.abc import Iterator
from typing import NamedTuple

from accordant.labelling.ranking import ranking_of
from accordant.labelling.suggestions import taken_over
from accordant.records import Comparison, Demonstration, DemonstrationDraft, LabelledText
from accordant.store.judgements import Ranked


class Row(NamedTuple):
    """A training row, and the judgements that it is made of."""

    source: str
    record: Demonstration | Comparison | LabelledText
    judgements: tuple[str, ...]


class LeftOut(NamedTuple):
    """A judgement that no row is made of, and why."""

    source: str
    reason: str
    judgement: str


NO_CONSENT = "no consent"
REJECTED = "rejected by a reviewer"
NO_ORDER = "no answer is better than another"


def rows_of_work(ranked: Ranked) -> Iterator[Row | LeftOut]:
    """The row of a ranking or a demonstration."""
    row = ranked.work.annotation
    source = "ranking" if row.kind == "comparison" else "demonstration"
    if reason := _why_not(ranked):
        yield LeftOut(source, reason, row.id)
    elif row.kind == "comparison":
        yield _comparison(ranked)
    else:
        draft = DemonstrationDraft.model_validate(row.value)
        taken = taken_over(draft, ranked.suggestions)
        written = Demonstration(id=row.id, messages=draft.finished(), author=row.user_id, suggestions=taken)
        yield Row(source, written, (row.id,))


def _why_not(ranked: Ranked) -> str | None:
    row, task, _ = ranked.work
    if row.state == "skipped":
        return "skipped"
    if row.state != "submitted":
        return "not handed in"
    if not ranked.consent:
        return NO_CONSENT
    if row.review == "rejected":
        return REJECTED
    if task and task.gold is not None:
        return "its ranking is known: it measures who ranks"
    if row.repeat:
        return "a repeat: it measures who ranks"
    return None


def _comparison(ranked: Ranked) -> Row | LeftOut:
    row, task, _ = ranked.work
    assert task is not None
    ranking = ranking_of(ranked.work)
    if ranking is None:
        return LeftOut("ranking", "all answers are bad, and they are not ranked", row.id)
    if len(ranking) == 1:
        return LeftOut("ranking", NO_ORDER, row.id)
    record = Comparison(
        id=row.id,
        messages=task.messages,
        candidates=task.candidates,
        ranking=ranking,
        annotator=row.user_id,
        shown_order=tuple(row.shown_order),
    )
    return Row("ranking", record, (row.id,))
