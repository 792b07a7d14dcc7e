import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.stats import (
    Z95,
    average_precision,
    bootstrap_interval,
    bootstrap_of_groups,
    calibration_bins,
    calibration_error,
    cohen_kappa,
    mean_interval,
    paired_difference,
    plain_agreement,
    spearman,
    wilson,
)


@given(st.integers(1, 300), st.data())
def test_wilson_ends_solve_the_score_equation(n: int, data: st.DataObject) -> None:
    """The ends are the shares p with |observed - p| = z * sqrt(p (1 - p) / n): the definition, not the formula."""
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    for end in (low, high):
        assert abs(hits / n - end) == pytest.approx(Z95 * math.sqrt(end * (1 - end) / n), abs=1e-9)


def test_wilson_of_nothing_and_of_the_impossible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="5 hits out of 4"):
        wilson(5, 4)


def test_wilson_covers_the_true_share() -> None:
    random = np.random.default_rng(0)
    held = [low <= 0.9 <= high for low, high in (wilson(int(h), 20) for h in random.binomial(20, 0.9, 2000))]
    assert 0.92 < sum(held) / len(held) < 0.99


def test_mean_interval_in_closed_form() -> None:
    low, high = mean_interval([1.0, 3.0])
    assert (low, high) == pytest.approx((2 - Z95, 2 + Z95))  # deviation sqrt(2), error 1
    assert mean_interval([4.0]) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_paired_difference_sees_what_separate_intervals_do_not() -> None:
    random = np.random.default_rng(1)
    difficulty = random.normal(0, 10, 200)
    a, b = difficulty + 0.5 + random.normal(0, 0.1, 200), difficulty
    found = paired_difference(a.tolist(), b.tolist(), seed=3)
    assert found.mean == pytest.approx(float((a - b).mean()))
    assert 0.45 < found.interval.low < found.mean < found.interval.high < 0.55
    assert found == paired_difference(a.tolist(), b.tolist(), seed=3)
    with pytest.raises(ValueError, match="as many values"):
        paired_difference([1.0], [])


def test_bootstrap_agrees_with_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(2).normal(5, 2, 1000).tolist()
    assert bootstrap_interval([values]) == pytest.approx(mean_interval(values), abs=0.02)


def test_bootstrap_of_two_groups_weighs_them_alike() -> None:
    assert bootstrap_interval([[1.0] * 90, [0.0] * 10]) == (0.5, 0.5)


def kappa_by_counting(a: list[int], b: list[int]) -> float:
    """Chance agreement counted over all pairs of one label of `a` with one of `b`."""
    n = len(a)
    chance = sum(x == y for x in a for y in b) / n**2
    return (sum(x == y for x, y in zip(a, b, strict=True)) / n - chance) / (1 - chance)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40))
def test_kappa_against_counting(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    if len(set(a) | set(b)) > 1:
        assert cohen_kappa(a, b) == pytest.approx(kappa_by_counting(a, b))
        assert cohen_kappa(a, b) == pytest.approx(cohen_kappa(b, a))


def test_kappa_of_known_tables() -> None:
    a, b = ["yes"] * 25 + ["no"] * 25, ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert plain_agreement(a, b) == 0.7
    assert cohen_kappa(a, b) == pytest.approx(0.4)  # chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    assert cohen_kappa(a, a) == 1.0
    assert cohen_kappa(["x"] * 3, ["x"] * 3) == 0.0
    with pytest.raises(ValueError, match="as many labels"):
        plain_agreement([1], [])


def test_rows_of_a_group_do_not_count_as_so_many() -> None:
    values = np.random.default_rng(4).normal(0, 1, 100)
    groups = [np.full((9, 1), value) for value in values]
    found = bootstrap_of_groups(groups, lambda rows: float(rows.mean()))
    assert found == pytest.approx(mean_interval(values.tolist()), abs=0.03)
    assert found == bootstrap_of_groups(groups, lambda rows: float(rows.mean()))
    as_rows = mean_interval(np.concatenate(groups)[:, 0].tolist())
    assert found.high - found.low > 2.5 * (as_rows.high - as_rows.low)


def spearman_by_counting(a: list[int], b: list[int]) -> float:
    """A value's rank: 1, plus one for each smaller one, plus a half for each other equal one; then Pearson."""

    def ranks(values: list[int]) -> list[float]:
        return [1 + sum(v < x for v in values) + (sum(v == x for v in values) - 1) / 2 for x in values]

    x, y = ranks(a), ranks(b)
    mean = (len(a) + 1) / 2
    covariance = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    squares = sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y)
    return covariance / math.sqrt(squares) if squares else 0.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_spearman_against_counting(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    assert spearman(a, b) == pytest.approx(spearman_by_counting(a, b), abs=1e-12)


def test_spearman_sees_order_only() -> None:
    a = [0.3, -1.0, 2.5, 7.0]
    assert spearman(a, [math.exp(x) for x in a]) == pytest.approx(1)
    assert spearman(a, [-(x**3) for x in a]) == pytest.approx(-1)
    assert spearman(a, [5.0] * 4) == 0
    with pytest.raises(ValueError, match="as many values"):
        spearman([1.0], [])


def calibration_error_by_loops(predicted: list[float], observed: list[float], bins: int) -> float:
    order = sorted(range(len(predicted)), key=lambda i: predicted[i])
    total, start = 0.0, 0
    for number in range(bins):
        size = len(order) // bins + (number < len(order) % bins)
        own = order[start : start + size]
        start += size
        if own:
            gap = sum(predicted[i] for i in own) / size - sum(observed[i] for i in own) / size
            total += size / len(order) * abs(gap)
    return total


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True), st.integers(1, 12), st.data())
def test_calibration_error_against_loops(predicted: list[float], bins: int, data: st.DataObject) -> None:
    size = len(predicted)
    observed = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=size, max_size=size))
    found = calibration_bins(np.array(predicted), np.array(observed), bins)
    assert sum(b.size for b in found) == size
    assert max(b.size for b in found) - min(b.size for b in found) <= 1
    assert calibration_error(found) == pytest.approx(calibration_error_by_loops(predicted, observed, bins), abs=1e-12)


def test_calibration_error_of_right_and_of_boastful_confidence() -> None:
    random = np.random.default_rng(5)
    truth = random.uniform(0.5, 1, 20_000)
    came = (random.uniform(size=20_000) < truth).astype(float)
    assert calibration_error(calibration_bins(truth, came)) < 0.01
    boast = (1 + truth) / 2  # on average 1/8 too sure
    assert calibration_error(calibration_bins(boast, came)) == pytest.approx(1 / 8, abs=0.01)


def average_precision_by_loop(scores: list[float], labels: list[int]) -> float:
    """Every distinct score as a threshold, counted afresh."""
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        passed = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        recall = sum(passed) / sum(labels)
        area += (recall - recall_before) * sum(passed) / len(passed)
        recall_before = recall
    return area


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=30))
def test_average_precision_equals_the_loop(rows: list[tuple[int, int]]) -> None:
    scores, labels = [float(score) for score, _ in rows], [label for _, label in rows]
    if not any(labels):
        with pytest.raises(ValueError, match="at least one positive"):
            average_precision(np.array(scores), np.array(labels))
        return
    found = average_precision(np.array(scores), np.array(labels))
    assert found == pytest.approx(average_precision_by_loop(scores, labels))


def test_average_precision_of_known_rankings() -> None:
    labels = np.array([1, 1, 0, 0])
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0]), labels) == 1
    assert average_precision(np.array([1.0, 2.0, 3.0, 4.0]), labels) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision(np.zeros(4), labels) == 0.5, "scores that know nothing have the base rate"
