"""Uncertainty of shares, means and differences, and agreement between two judges."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
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
