"""Uncertainty of shares, means and differences, and agreement between two judges."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

Z95 = 1.959963984540054
"""Two-sided 95 per cent point of the normal distribution."""

_RESAMPLES = 2000


class Interval(NamedTuple):
    """A 95 per cent confidence interval."""

    low: float
    high: float


def wilson(hits: float, n: int, z: float = Z95) -> Interval:
    """Wilson score interval of a share (Wilson 1927); (0, 1) when nothing was seen.

    It stays inside [0, 1] and is sensible for few trials and for shares of 0 and 1, where hits / n +- z * error is not.

    Raises:
        ValueError: when `hits` is not between 0 and `n`.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits out of {n} are not possible")
    if n == 0:
        return Interval(0.0, 1.0)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(0.0 if hits == 0 else centre - half, 1.0 if hits == n else centre + half)


def mean_interval(values: Sequence[float], z: float = Z95) -> Interval:
    """Normal interval of a mean, with the unbiased deviation; the mean alone says nothing for fewer than two values.

    Raises:
        ValueError: without values.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    if len(values) < 2:
        return Interval(-math.inf, math.inf)
    array = np.asarray(values, dtype=np.float64)
    half = z * float(array.std(ddof=1)) / math.sqrt(len(values))
    return Interval(float(array.mean()) - half, float(array.mean()) + half)


class Difference(NamedTuple):
    """Mean of a - b over items, and its interval."""

    mean: float
    interval: Interval


def paired_difference(a: Sequence[float], b: Sequence[float], seed: int = 0, resamples: int = _RESAMPLES) -> Difference:
    """Mean of a[i] - b[i] with a percentile bootstrap over items (Efron 1979).

    Both checkpoints answer the same prompts: resampling pairs keeps that an easy prompt is easy for both, and so
    needs far fewer prompts than two separate intervals to tell two checkpoints apart.

    Raises:
        ValueError: when there is no pair, or one side is longer.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs as many values on both sides, at least one: {len(a)}, {len(b)}")
    gaps = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return Difference(float(gaps.mean()), bootstrap_interval([gaps.tolist()], seed, resamples))


def bootstrap_interval(groups: Sequence[Sequence[float]], seed: int = 0, resamples: int = _RESAMPLES) -> Interval:
    """Percentile bootstrap of the unweighted mean of the groups' means; each group is resampled by itself.

    For one group it is the interval of its mean; for two, that of a balanced score.
    """
    random = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for group in groups:
        array = np.asarray(group, dtype=np.float64)
        for i in range(resamples):
            means[i] += random.choice(array, len(array)).mean() / len(groups)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def bootstrap_of_groups(
    groups: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], float],
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Interval:
    """Percentile bootstrap of a statistic of rows that come in groups; whole groups are resampled.

    Rows of a group (the pairs of one ranking) stand and fall together; resampled one by one they would pass for more
    than they are (Davison & Hinkley 1997, section 3.8).

    Args:
        groups: arrays of shape (rows of the group, columns).
        statistic: of all rows together, (rows, columns).
        seed: decides the resampling.
        resamples: how often.
    """
    random = np.random.default_rng(seed)
    found = [
        statistic(np.concatenate([groups[i] for i in random.integers(len(groups), size=len(groups))]))
        for _ in range(resamples)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(low), float(high))


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, equal values sharing the mean of their ranks (Spearman 1904).

    Where all values of one side are equal it is 0 / 0: 0.0 here, as one side says nothing about the other.

    Raises:
        ValueError: when there is no pair, or one side is longer.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"a correlation needs as many values on both sides, at least one: {len(a)}, {len(b)}")
    x, y = (_mean_ranks(side) - (len(a) + 1) / 2 for side in (a, b))
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread else 0.0


def _mean_ranks(values: Sequence[float]) -> np.ndarray:
    """1-based ranks, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks: np.ndarray = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks


class Bin(NamedTuple):
    """Predictions of like probability: their mean, the share that came true, and how many they are."""

    predicted: float
    observed: float
    size: int


def calibration_bins(predicted: np.ndarray, observed: np.ndarray, bins: int = 10) -> list[Bin]:
    """Predictions in order of probability, cut into `bins` parts of equal count (give or take one).

    Equal counts, because bins of equal width are nearly empty where a model is seldom that sure (Nguyen & O'Connor
    2015).

    Args:
        predicted: (n,) probabilities.
        observed: (n,) what came: 1, 0, or a half for a tie.
        bins: how many; fewer when there are fewer predictions.
    """
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [Bin(float(predicted[part].mean()), float(observed[part].mean()), len(part)) for part in parts]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: |predicted - observed|, mean over predictions (Naeini et al. 2015)."""
    return sum(b.size * abs(b.predicted - b.observed) for b in bins) / sum(b.size for b in bins)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the precision-recall curve as the sum of precision times gain in recall over falling thresholds.

    Items of equal score pass a threshold together. It does not interpolate between thresholds, which flatters
    (Davis & Goadrich 2006).

    Args:
        scores: (n,), the higher the surer.
        labels: (n,) of 1 and 0.

    Raises:
        ValueError: without a positive label.
    """
    if not labels.any():
        raise ValueError("average precision needs at least one positive label")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last_of_equals = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision = hits[last_of_equals] / (last_of_equals + 1)
    gained = np.diff(hits[last_of_equals], prepend=0) / hits[-1]
    return float(precision @ gained)


def plain_agreement(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Share of items to which two judges give the same label.

    Raises:
        ValueError: when there is no item, or one side is longer.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"agreement needs as many labels on both sides, at least one: {len(a)}, {len(b)}")
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Agreement beyond chance, (observed - expected) / (1 - expected) (Cohen 1960).

    When both judges give one and the same label to everything, chance explains all and kappa is 0 / 0: 0.0 here.

    Raises:
        ValueError: as `plain_agreement`.
    """
    observed = plain_agreement(a, b)
    left, right = Counter(a), Counter(b)
    expected = sum(left[label] * right[label] for label in left) / len(a) ** 2
    return 0.0 if expected == 1 else (observed - expected) / (1 - expected)
