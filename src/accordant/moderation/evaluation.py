"""Figures of moderation on labelled rows: ranking, calibration, what the thresholds do, false alarms, time."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from accordant.moderation.moderator import Moderator
from accordant.moderation.policy import Policy, Side
from accordant.records import CATEGORIES
from accordant.stats import (
    Interval,
    average_precision,
    bootstrap_of_groups,
    calibration_bins,
    calibration_error,
    wilson,
)

_RESAMPLES = 1000
_FEWEST_POSITIVES = 5
"""With fewer, an interval of the area would be made of a handful of rows: it is then (0, 1)."""
_TIMED = 200


@dataclass(frozen=True)
class Ranking:
    """How well scores rank texts: area under the precision-recall curve, against its value by chance, the base rate."""

    texts: int
    positives: int
    auprc: float
    interval: Interval

    @property
    def chance(self) -> float:
        """The area of scores that know nothing."""
        return self.positives / self.texts


@dataclass(frozen=True)
class AtThreshold:
    """What a threshold does to texts with a known label."""

    threshold: float
    flagged: int
    precision: float | None
    recall: float


@dataclass(frozen=True)
class Measured:
    """One category, or all of them together (`flagged`: the highest score, against any label)."""

    ranking: Ranking | None
    calibration_error: float | None = None
    at: dict[str, AtThreshold] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `auprc` and `interval` are absent where no text is positive."""
        ranked = {**asdict(self.ranking), "chance": self.ranking.chance} if self.ranking else {}
        return {
            **ranked,
            "calibration_error": self.calibration_error,
            "at": {name: asdict(found) for name, found in self.at.items()},
        }


def rank(scores: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int = 0) -> Ranking | None:
    """Area and bootstrap interval over groups of duplicates; None without a positive label.

    Args:
        scores: (texts,).
        labels: (texts,) of 1, 0 and NaN, which is left out.
        groups: of each text.
        seed: decides the resampling.
    """
    known = ~np.isnan(labels)
    positives = int((labels == 1).sum())
    if positives == 0:
        return None
    of_group: dict[str, list[int]] = {}
    for place in np.flatnonzero(known).tolist():
        of_group.setdefault(groups[place], []).append(place)
    table = np.stack((scores, labels), axis=1)

    def area(rows: np.ndarray) -> float:
        return average_precision(rows[:, 0], rows[:, 1]) if rows[:, 1].any() else 0.0

    interval = Interval(0.0, 1.0)
    if positives >= _FEWEST_POSITIVES:
        interval = bootstrap_of_groups([table[places] for places in of_group.values()], area, seed, _RESAMPLES)
    return Ranking(int(known.sum()), positives, area(table[known]), interval)


def any_label(labels: np.ndarray) -> np.ndarray:
    """(texts,): 1 where a category is present, 0 where all are known to be absent, NaN otherwise."""
    absent = (labels == 0).all(axis=1)
    return np.where((labels == 1).any(axis=1), 1.0, np.where(absent, 0.0, np.nan))


def measure(
    scores: np.ndarray, labels: np.ndarray, groups: Sequence[str], policy: Policy, side: Side = "model"
) -> dict[str, Measured]:
    """Figures by category, and for all together under `flagged`, and once more with missing labels taken for "no".

    Args:
        scores: probabilities (texts, categories).
        labels: (texts, categories) of 1, 0 and NaN.
        groups: of each text.
        policy: whose thresholds are looked at.
        side: and of which side.
    """
    found: dict[str, Measured] = {}
    for place, category in enumerate(CATEGORIES):
        one, truth = scores[:, place], labels[:, place]
        thresholds = policy.thresholds(side, category)
        limits = {"warn": thresholds.warn, "block": thresholds.block}
        known = ~np.isnan(truth)
        bins = calibration_bins(one[known], truth[known])
        found[category] = Measured(
            rank(one, truth, groups),
            calibration_error(bins) if bins else None,
            {name: _at(limit, one[known], truth[known]) for name, limit in limits.items() if limit is not None},
        )
    highest = scores.max(axis=1)
    found["flagged"] = Measured(rank(highest, any_label(labels), groups))
    found["flagged, unknown as no"] = Measured(rank(highest, (labels == 1).any(axis=1).astype(float), groups))
    return found


def _at(threshold: float, scores: np.ndarray, labels: np.ndarray) -> AtThreshold:
    flagged = scores >= threshold
    hits = float(labels[flagged].sum())
    return AtThreshold(
        threshold,
        int(flagged.sum()),
        hits / flagged.sum() if flagged.any() else None,
        hits / labels.sum() if labels.any() else 0.0,
    )


def false_alarms(moderator: Moderator, texts: Sequence[str], side: Side = "user") -> dict[str, Any]:
    """Shares of harmless texts that would be warned about (or blocked) and blocked, with Wilson intervals."""
    verdicts = [moderator.policy.verdict(scores, side) for scores in moderator.scores(texts)]
    found: dict[str, Any] = {"texts": len(texts)}
    for name, hits in {
        "warned": sum(verdict.flagged for verdict in verdicts),
        "blocked": sum(verdict.action == "block" for verdict in verdicts),
    }.items():
        found[name] = {"share": hits / max(1, len(texts)), "interval": wilson(hits, len(texts))}
    return found


def milliseconds(moderator: Moderator, texts: Sequence[str]) -> dict[str, float]:
    """CPU time of judging texts one by one, which other work on the machine hardly changes: what one free core takes.

    Median, mean and 95th percentile over at most 200 texts, spread evenly.
    """
    step = max(1, len(texts) // _TIMED)
    timed = texts[::step][:_TIMED]
    moderator.judge(timed[0])
    took = []
    for text in timed:
        start = time.process_time()
        moderator.judge(text)
        took.append((time.process_time() - start) * 1e3)
    return {"median": statistics.median(took), "mean": statistics.fmean(took), "p95": float(np.quantile(took, 0.95))}
