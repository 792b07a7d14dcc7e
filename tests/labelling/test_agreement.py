"""Krippendorff's alpha: a published example, an independent computation from its definition, and invariances."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.labelling.agreement import Scale, krippendorff_alpha

PUBLISHED = """
A 1 2 3 3 2 1 4 1 2 . . .
B 1 2 3 3 2 2 4 1 2 5 . 3
C . 3 3 3 2 3 4 2 2 5 1 .
D 1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units."""


def published_units() -> list[list[int]]:
    rows = [line.split()[1:] for line in PUBLISHED.strip().splitlines()]
    return [[int(value) for value in column if value != "."] for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_the_published_example(scale: Scale, alpha: float) -> None:
    found = krippendorff_alpha(published_units(), scale)
    assert found.alpha == pytest.approx(alpha, abs=5e-4)
    assert (found.units, found.values) == (11, 40)


def distance(a: int, b: int, everything: list[int], scale: Scale) -> float:
    if scale == "nominal":
        return float(a != b)
    low, high = min(a, b), max(a, b)
    between = sum(low <= value <= high for value in everything)
    return (between - (everything.count(low) + everything.count(high)) / 2) ** 2


def by_definition(units: list[list[int]], scale: Scale) -> float | None:
    """Mean difference of two judgements of the same unit, over that of any two judgements."""
    paired = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in paired for value in unit]
    n = len(everything)
    observed = sum(
        distance(a, b, everything, scale) / (len(unit) - 1) for unit in paired for a, b in permutations(unit, 2)
    )
    expected = sum(distance(a, b, everything, scale) for a, b in permutations(everything, 2))
    return 1 - (observed / n) / (expected / (n * (n - 1))) if expected else None


units = st.lists(st.lists(st.integers(-2, 5), max_size=5), max_size=8)
scales = st.sampled_from(["nominal", "ordinal"])


@given(units, scales)
def test_it_is_what_its_definition_says(judged: list[list[int]], scale: Scale) -> None:
    found, expected = krippendorff_alpha(judged, scale).alpha, by_definition(judged, scale)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found == pytest.approx(expected, abs=1e-9)


@given(units, scales, st.permutations(range(8)))
def test_the_order_of_units_and_names_that_keep_their_order_change_nothing(
    judged: list[list[int]], scale: Scale, order: list[int]
) -> None:
    shuffled = [list(reversed([10 * value for value in judged[place]])) for place in order if place < len(judged)]
    found, other = krippendorff_alpha(judged, scale), krippendorff_alpha(shuffled, scale)
    assert found[1:] == other[1:]
    if found.alpha is not None:
        assert found.alpha == pytest.approx(other.alpha, abs=1e-9)


def test_perfect_agreement_is_one_and_chance_is_about_nothing() -> None:
    assert krippendorff_alpha([[1, 1], [2, 2, 2], [3]], "ordinal").alpha == 1.0
    drawn = np.random.default_rng(0).integers(0, 3, size=(4000, 2)).tolist()
    for scale in ("nominal", "ordinal"):
        assert krippendorff_alpha(drawn, scale).alpha == pytest.approx(0, abs=0.04)
    assert krippendorff_alpha([[1, 2]] * 5, "nominal").alpha < 0  # type: ignore[operator]


@pytest.mark.parametrize("judged", [[], [[1], [2]], [[4, 4], [4, 4]]])
def test_where_nothing_can_be_said_nothing_is(judged: list[list[int]]) -> None:
    assert krippendorff_alpha(judged, "nominal").alpha is None
