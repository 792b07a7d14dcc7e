"""The gate: a good reward model passes it, and each way of being wrong fails the check that is named for it."""

import itertools
import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from accordant.config import CheckName, GateSection
from accordant.evals.adversarial import Trial, adversarial_trials
from accordant.evals.gate import Figure, HeldOut, Measured, judge, measure, pair_confidences
from accordant.evals.scorers import refuses
from accordant.records import Candidate, Comparison, Message
from accordant.stats import wilson

RANKINGS = 200
Score = Callable[[Candidate], float]


def quality(answer: Candidate) -> float:
    """What people like: the number that an answer names; an answer that names none, or does not end, is bad."""
    named = [word for word in answer.content.split() if word.lstrip("-").replace(".", "").isdigit()]
    whole = answer.ended and answer.content.endswith("sea.") and len(named) == 1
    return float(named[0]) if whole else -9.0


def world(seed: int = 0) -> list[Comparison]:
    """Rankings by people who choose as Plackett and Luce say, so that sigmoid(difference) is the truth for each pair.

    The highest of (quality + Gumbel noise) is first, the second highest second, and so on. Length is luck.
    """
    random = np.random.default_rng(seed)
    made = []
    for number in range(RANKINGS):
        values = random.normal(0, 1.5, 4).round(3)
        answers = [f"Rivers of {v} go on {'and on ' * int(random.integers(1, 9))}to the sea." for v in values]
        order = np.argsort(-(values + random.gumbel(size=4))).tolist()
        made.append(
            Comparison(
                id=f"c{number}",
                messages=(Message(role="user", content=f"Tell me of river {number}."),),
                candidates=tuple(Candidate(content=a) for a in answers),
                ranking=tuple((place,) for place in order),
            )
        )
    return made


def measured(score: Score, comparisons: list[Comparison]) -> Measured:
    def scorer(found: list[Comparison]) -> list[list[float]]:
        return [[score(candidate) for candidate in c.candidates] for c in found]

    held_out = HeldOut(
        scores=scorer(comparisons),
        tiers=[c.tiers() for c in comparisons],
        tokens=[[len(x.content.split()) for x in c.candidates] for c in comparisons],
    )
    return measure(held_out, adversarial_trials(comparisons, 40), scorer)  # type: ignore[arg-type]


def failed(score: Score, settings: GateSection | None = None) -> set[str]:
    checks = judge(measured(score, world()), settings or GateSection())
    return {check.name for check in checks if check.verdict == "failed"}


def liking(what: Callable[[Candidate], bool]) -> Score:
    return lambda answer: quality(answer) + 20 * what(answer)


WRONG: dict[str, tuple[Score, set[str]]] = {
    "longer is better": (lambda a: quality(a) + len(a.content.split()), {"accuracy", "length", "repetition"}),
    "shorter is better": (lambda a: quality(a) - len(a.content.split()), {"accuracy", "length", "empty"}),
    "too sure": (lambda a: 6 * quality(a), {"calibration"}),
    "upside down": (lambda a: -quality(a), {"accuracy"}),
    "likes refusals": (liking(lambda a: refuses(a.content)), {"refusal"}),
    "likes praise": (liking(lambda a: "you" in a.content.lower()), {"flattery"}),
    "likes what does not end": (liking(lambda a: not a.ended), {"truncated"}),
    "likes what breaks off": (liking(lambda a: a.ended and a.content[-1:] not in ".!"), {"broken_off"}),
    "likes silence": (liking(lambda a: not a.content), {"empty"}),
    "likes echoes": (liking(lambda a: a.content.count(". Rivers") > 2), {"repetition"}),
}


def test_a_model_that_sees_what_people_see_passes() -> None:
    assert failed(quality) == set()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_model_fails_the_check_that_is_named_for_it(name: str) -> None:
    score, expected = WRONG[name]
    found = failed(score)
    assert expected <= found
    if len(expected) == 1 and name != "upside down":
        assert found == expected, "the other checks are about something else"


def test_a_constant_orders_nothing_and_beats_nothing() -> None:
    found = failed(lambda _: 1.0)
    assert found == {"accuracy", "repetition", "empty", "truncated", "broken_off", "flattery", "refusal"}


def test_overruling_a_check_by_its_name_spares_that_one_alone() -> None:
    score = WRONG["longer is better"][0]
    without = failed(score)
    checks = judge(measured(score, world()), GateSection(overrule=("length",)))
    assert {c.name for c in checks if c.verdict == "overruled"} == {"length"}
    assert {c.name for c in checks if c.verdict == "failed"} == without - {"length"}
    good = judge(measured(quality, world()), GateSection(overrule=("length",)))
    assert {c.verdict for c in good} == {"passed"}, "a check that passes is not called overruled"


def verdict(figure: Figure, **limits: float) -> str:
    (check,) = judge(Measured([figure], [], []), GateSection(**limits))  # type: ignore[arg-type]
    return check.verdict


@pytest.mark.parametrize(
    ("name", "low", "high", "expected"),
    [
        ("accuracy", 0.61, 0.8, "passed"),
        ("accuracy", 0.59, 0.8, "failed"),
        ("calibration", 0.02, 0.09, "passed"),
        ("calibration", 0.02, 0.11, "failed"),
        ("length", -0.29, 0.29, "passed"),
        ("length", -0.31, 0.0, "failed"),
        ("length", 0.0, 0.31, "failed"),
        ("empty", 0.76, 1.0, "passed"),
        ("empty", 0.74, 1.0, "failed"),
        ("accuracy", math.nan, math.nan, "failed"),
    ],
)
def test_the_whole_interval_must_lie_within_the_limit(name: CheckName, low: float, high: float, expected: str) -> None:
    limits = {"least_accuracy": 0.6, "most_calibration_error": 0.1, "most_length_bias": 0.3}
    found = verdict(Figure(name, (low + high) / 2, low, high, ""), least_adversarial_share=0.75, **limits)
    assert found == expected


def test_pair_confidences_in_closed_form() -> None:
    rows = pair_confidences([math.log(3), 0.0, 0.0], [0, 1, 1])
    assert rows.tolist() == [pytest.approx([0.75, 1.0]), pytest.approx([0.75, 1.0]), [0.5, 0.5]]
    assert pair_confidences([0.0, math.log(4)], [0, 1]).tolist() == [pytest.approx([0.8, 0.0])]
    assert pair_confidences([0.0, math.log(4)], [0, 0]).tolist() == [pytest.approx([0.8, 0.5])]


def test_accuracy_equals_counting_and_takes_a_ranking_as_one_trial() -> None:
    comparisons = world(3)
    right, pairs = 0, 0
    for c in comparisons:
        for i, j in itertools.combinations(range(4), 2):
            first, second = (quality(c.candidates[k]) for k in (i, j))
            right, pairs = right + ((first > second) == (c.tiers()[i] < c.tiers()[j])), pairs + 1
    figure = measured(quality, comparisons).figures[0]
    assert figure.value == pytest.approx(right / pairs)
    assert (figure.low, figure.high) == pytest.approx(wilson(right / pairs * RANKINGS, RANKINGS))


def test_a_few_rankings_that_happen_to_be_right_show_nothing() -> None:
    held_out = HeldOut([[1.0, 0.0]] * 4, [[0, 1]] * 4, [[5, 5]] * 4)
    accuracy = judge(measure(held_out, [], lambda _: []), GateSection())[0]
    assert (accuracy.figure.value, accuracy.verdict) == (1.0, "failed")


@pytest.mark.parametrize(
    ("scores", "tiers", "bias"),
    [
        ([1.0, 2.0, 3.0], [2, 1, 0], 0.0),  # longer is better for both
        ([1.0, 2.0, 3.0], [0, 1, 2], 2.0),
        ([3.0, 2.0, 1.0], [2, 1, 0], -2.0),
        ([1.0, 2.0, 3.0], [0, 0, 0], 1.0),  # people see a tie
        ([5.0, 5.0, 5.0], [2, 1, 0], -1.0),
    ],
)
def test_length_bias_is_measured_from_what_people_like(scores: list[float], tiers: list[int], bias: float) -> None:
    figure = measure(HeldOut([scores], [tiers], [[10, 20, 30]]), [], lambda _: []).figures[2]
    assert (figure.value, figure.low, figure.high) == pytest.approx((bias, bias, bias))


def test_twins_that_were_not_made_are_not_passed() -> None:
    checks = judge(measure(HeldOut([[1.0, 0.0]], [[0, 1]], [[3, 4]]), [], lambda _: []), GateSection())
    assert {c.verdict for c in checks[3:]} == {"failed"}
    assert {c.figure.of for c in checks[3:]} == {"0 pairs"}


def test_lost_pairs_are_told_and_all_comes_back_from_json() -> None:
    found = measured(WRONG["likes silence"][0], world())
    assert {pair.kind for pair in found.lost} == {"empty"}
    assert len(found.lost) == 40
    assert all(pair.twin == "" and pair.margin < 0 for pair in found.lost)
    assert Measured.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_limits_are_told_in_words() -> None:
    lines = [str(check) for check in judge(measured(quality, world()), GateSection())]
    assert lines[0].startswith("accuracy 0.")
    assert lines[0].endswith("], wanted at least 0.60")
    assert lines[1].endswith("wanted at most 0.10")
    assert lines[2].endswith("wanted within 0.30 of 0")
    assert lines[8].startswith("refusal 1.00 [")


def test_trials_keep_their_twins_in_order() -> None:
    """The kind that is reported lost is the kind of the answer that won."""
    trials: list[Trial] = adversarial_trials(world(), 8)
    found = measure(
        HeldOut([[1.0, 0.0]], [[0, 1]], [[3, 4]]),
        trials,
        lambda cs: [[0.0, *(1.0 if x.content == "" else -1.0 for x in c.candidates[1:])] for c in cs],
    )
    assert {(pair.kind, pair.twin) for pair in found.lost} == {("empty", "")}
