"""Rankings: from the places that an annotator saw to the answers that stood there, and how far two rankings agree."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from accordant.records import RankingDraft
from accordant.store.annotations import Work

Tiers = tuple[tuple[int, ...], ...]
"""Candidates of a task, the best tier first."""


class Agreement(NamedTuple):
    """Of so many pairs of answers, how many were put in the same order."""

    alike: int
    pairs: int

    def __add__(self, other: object) -> "Agreement":
        """Both counts together."""
        assert isinstance(other, Agreement)
        return Agreement(self.alike + other.alike, self.pairs + other.pairs)


def ranking_of(work: Work) -> Tiers | None:
    """The candidates as somebody ranked them; None when they ranked none, or not all."""
    assert work.task is not None
    value = RankingDraft.model_validate(work.annotation.value)
    if sum(map(len, value.tiers)) < len(work.task.candidates):
        return None
    order = work.annotation.shown_order
    return tuple(tuple(sorted(order[place] for place in tier)) for tier in value.tiers)


def tier_of_each(ranking: Sequence[Sequence[int]]) -> list[int]:
    """Tier of each candidate, 0 the best."""
    places = {candidate: tier for tier, members in enumerate(ranking) for candidate in members}
    return [places[candidate] for candidate in range(len(places))]


def agreement(ranking: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]) -> Agreement:
    """How many of the pairs that the reference does not tie are in the same order (a tie is not)."""
    tiers, right = tier_of_each(ranking), tier_of_each(reference)
    pairs = [(a, b) for a, b in combinations(range(len(right)), 2) if right[a] != right[b]]
    alike = sum((tiers[a] - tiers[b]) * (right[a] - right[b]) > 0 for a, b in pairs)
    return Agreement(alike, len(pairs))
