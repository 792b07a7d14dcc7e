import numpy as np
import pytest

from accordant.moderation.minors import names_a_minor
from accordant.moderation.moderator import probabilities
from accordant.records import CATEGORIES


@pytest.mark.parametrize(
    "text",
    ["a Child", "three KIDS", "she is 16 years old", "a fifteen-year-old", "14yo", "8 y/o", "a schoolgirl",
     "pre-teen", "under 18", "in the 7th grade", "a high schooler", "underage", "the little boy"],
)  # fmt: skip
def test_somebody_under_18_is_noticed(text: str) -> None:
    assert names_a_minor(f"It is about {text}, no more.")


@pytest.mark.parametrize("text", ["a man of 45 years", "a 25 year old", "118 years old", "a grown woman", "the kidney"])
def test_adults_are_not(text: str) -> None:
    assert not names_a_minor(text)


def test_without_a_head_the_rule_stands_in() -> None:
    logits = np.full(len(CATEGORIES), -3.0)
    logits[CATEGORIES.index("sexual")] = 2.0
    logits[CATEGORIES.index("sexual/minors")] = np.nan
    with_child, without = probabilities("a child", logits), probabilities("a man", logits)
    assert with_child["sexual/minors"] == with_child["sexual"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert without["sexual/minors"] == 0
    logits[CATEGORIES.index("sexual/minors")] = -1.0
    assert probabilities("a child", logits)["sexual/minors"] == pytest.approx(1 / (1 + np.exp(1)))
