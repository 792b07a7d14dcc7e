"""Rankings compared, and how much of a text is a model's."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.labelling.ranking import agreement, tier_of_each
from accordant.labelling.suggestions import edited_share, taken_over
from accordant.records import DemonstrationDraft, DraftMessage, Taken
from accordant.store.ids import now
from accordant.store.schema import Suggestion


@st.composite
def rankings(draw: st.DrawFn, answers: int = 5) -> list[list[int]]:
    tiers = draw(st.lists(st.integers(0, answers - 1), min_size=answers, max_size=answers))
    return [[a for a in range(answers) if tiers[a] == tier] for tier in sorted(set(tiers))]


@given(rankings(), rankings())
def test_two_rankings_agree_on_the_pairs_that_they_order_alike(one: list[list[int]], other: list[list[int]]) -> None:
    def better(ranking: list[list[int]]) -> set[tuple[int, int]]:
        return {(a, b) for high, low in combinations(ranking, 2) for a in high for b in low}

    assert agreement(one, other) == (len(better(one) & better(other)), len(better(other)))
    assert agreement(one, one).alike == agreement(one, one).pairs


def test_tiers() -> None:
    assert tier_of_each([[2], [0, 3], [1]]) == [1, 2, 0, 1]


@pytest.mark.parametrize(
    ("text", "suggestion", "share"),
    [
        ("abcd", "abcd", 0.0),
        ("abcd", "", 1.0),
        ("", "x", 0.0),
        ("abXd", "abcd", 0.25),
        ("abcd and more", "abcd", 9 / 13),
    ],
)
def test_what_is_edited_is_what_is_not_from_the_suggestion(text: str, suggestion: str, share: float) -> None:
    assert edited_share(text, suggestion) == pytest.approx(share)


def test_only_suggestions_that_left_a_trace_count() -> None:
    def known(name: str, content: str) -> Suggestion:
        sampling = {"temperature": 0.5, "top_p": 1.0, "seed": 3}
        return Suggestion(id=name, annotation_id="a", model="m", sampling=sampling, content=content, created_at=now())

    draft = DemonstrationDraft(
        messages=(DraftMessage(role="user", content="q"), DraftMessage(role="assistant", content="It rains. Often.")),
        taken=tuple(
            Taken(message=message, suggestion=name)
            for message, name in [(1, "kept"), (1, "kept"), (1, "gone"), (1, "foreign"), (7, "kept")]
        ),
    )
    [found] = taken_over(draft, {"kept": known("kept", "It rains."), "gone": known("gone", "###")})
    assert (found.suggestion, found.message, found.model, found.sampling.seed) == ("kept", 1, "m", 3)
    assert found.edited == pytest.approx(7 / 16)
