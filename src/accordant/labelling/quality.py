"""How good the labels are: agreement between people, and each one's speed, trust and rejections."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple

from accordant.labelling.agreement import Alpha, krippendorff_alpha
from accordant.labelling.ranking import Agreement, Tiers, agreement, ranking_of, tier_of_each
from accordant.records import RankingDraft
from accordant.stats import wilson
from accordant.store.annotations import Work

Criterion = Literal["helpful", "truthful", "harmless"]
CRITERIA: tuple[Criterion, ...] = ("helpful", "truthful", "harmless")

NONE = Agreement(0, 0)


@dataclass
class Annotator:
    """What one person's rankings are like.

    Attributes:
        submitted: rankings handed in.
        skipped: tasks left to others.
        rejected: rankings that a reviewer rejected.
        seconds: of work for each ranking handed in.
        gold: agreement with the known rankings.
        themselves: with what they said of the same task before.
        others: with other people's rankings of the same task.
    """

    user_id: str
    submitted: int = 0
    skipped: int = 0
    rejected: int = 0
    seconds: list[float] = field(default_factory=list)
    gold: Agreement = NONE
    themselves: Agreement = NONE
    others: Agreement = NONE

    @property
    def median_seconds(self) -> float | None:
        """Of a ranking."""
        return median(self.seconds) if self.seconds else None

    @property
    def trust(self) -> float | None:
        """Lower end of the Wilson interval of the agreement with known rankings; None without any."""
        return wilson(self.gold.alike, self.gold.pairs).low if self.gold.pairs else None


class Quality(NamedTuple):
    """Of all rankings that were not rejected: how people agree on them, and on each criterion; and who made them.

    `ranking` is ordinal, over the tiers of each answer; the criteria are nominal. A person counts once for each task.
    """

    ranking: Alpha
    criteria: dict[Criterion, Alpha]
    annotators: list[Annotator]


def quality(works: Iterable[Work]) -> Quality:
    """Measure all work on comparisons.

    Args:
        works: `store.annotations.all_rankings`.
    """
    people: dict[str, Annotator] = {}
    by_task: dict[str, list[tuple[Work, Tiers]]] = defaultdict(list)
    marked: dict[str, list[Work]] = defaultdict(list)
    for work in works:
        row, task = work.annotation, work.task
        assert task is not None
        who = people.setdefault(row.user_id, Annotator(row.user_id))
        who.skipped += row.state == "skipped"
        if row.state != "submitted":
            continue
        who.submitted += 1
        who.rejected += row.review == "rejected"
        who.seconds.append(row.seconds)
        ranking = ranking_of(work)
        if ranking and task.gold is not None:
            who.gold += agreement(ranking, task.gold)
        if row.review == "rejected":
            continue
        if row.repeat == 0:
            marked[task.id].append(work)
        if ranking:
            by_task[task.id].append((work, ranking))
    for judged in by_task.values():
        _compare(judged, people)
    first = {task: [r for work, r in judged if work.annotation.repeat == 0] for task, judged in by_task.items()}
    ranked = [values for rankings in first.values() for values in zip(*map(tier_of_each, rankings), strict=True)]
    criteria = {name: krippendorff_alpha(_marks(marked.values(), name), "nominal") for name in CRITERIA}
    return Quality(krippendorff_alpha(ranked, "ordinal"), criteria, sorted(people.values(), key=lambda a: a.user_id))


def _compare(judged: Sequence[tuple[Work, Tiers]], people: dict[str, Annotator]) -> None:
    """Count the agreement of each first ranking with everybody else's first one, and of repeats with one's own."""
    for work, ranking in judged:
        who = work.annotation.user_id
        for other, reference in judged:
            if other.annotation.user_id == who:
                if other.annotation.repeat < work.annotation.repeat:
                    people[who].themselves += agreement(ranking, reference)
            elif not other.annotation.repeat and not work.annotation.repeat:
                people[who].others += agreement(ranking, reference)


def _marks(tasks: Iterable[Sequence[Work]], name: Criterion) -> Iterable[list[int]]:
    """What people said of each answer by one criterion."""
    for works in tasks:
        said: dict[int, list[int]] = defaultdict(list)
        for work in works:
            for place, marks in enumerate(RankingDraft.model_validate(work.annotation.value).marks):
                if (value := getattr(marks, name)) is not None:
                    said[work.annotation.shown_order[place]].append(int(value))
        yield from said.values()
