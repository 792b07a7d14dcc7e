"""Figures of moderation: masks, counts at thresholds, false alarms."""

import numpy as np
import pytest

from accordant.moderation.evaluation import any_label, false_alarms, measure, milliseconds, rank
from accordant.moderation.policy import Policy, Thresholds
from accordant.records import CATEGORIES
from accordant.testing.moderation import WordModerator

NAN = np.nan


def test_any_label_is_unknown_unless_something_is_present_or_all_is_absent() -> None:
    labels = np.array([[0, 1, NAN], [0, 0, 0], [0, NAN, 0], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(any_label(labels), [1, 0, NAN, NAN])


def test_rank_leaves_out_what_is_unknown() -> None:
    scores, labels = np.array([0.9, 0.8, 0.7, 0.1]), np.array([1, NAN, 0, 1])
    found = rank(scores, labels, ["a", "b", "c", "d"])
    assert found is not None
    assert (found.texts, found.positives) == (3, 2)
    assert found.auprc == pytest.approx((1 + 2 / 3) / 2)
    assert found.interval == (0, 1), "two positives say nothing of an interval"
    assert rank(scores, np.array([0, 0, NAN, 0]), ["a", "b", "c", "d"]) is None


def test_the_interval_holds_the_area_and_narrows_with_rows() -> None:
    random = np.random.default_rng(0)
    widths = []
    for rows in (60, 600):
        labels = (random.random(rows) < 0.3).astype(float)
        found = rank(labels + random.normal(size=rows), labels, [str(i) for i in range(rows)])
        assert found is not None
        assert found.interval.low < found.auprc < found.interval.high
        widths.append(found.interval.high - found.interval.low)
    assert widths[1] < widths[0] / 2


def test_duplicates_do_not_narrow_the_interval() -> None:
    random = np.random.default_rng(0)
    labels = (random.random(80) < 0.3).astype(float)
    scores = labels + random.normal(size=80)
    one = rank(scores, labels, [str(i) for i in range(80)])
    ten = rank(np.tile(scores, 10), np.tile(labels, 10), [str(i) for i in range(80)] * 10)
    assert one is not None
    assert ten is not None
    assert ten.interval.high - ten.interval.low == pytest.approx(one.interval.high - one.interval.low, rel=0.1)


def test_precision_and_recall_are_those_at_the_thresholds_of_the_policy() -> None:
    place = CATEGORIES.index("hate")
    scores, labels = np.zeros((5, len(CATEGORIES))), np.full((5, len(CATEGORIES)), NAN)
    scores[:, place], labels[:, place] = [0.9, 0.7, 0.5, 0.3, 0.9], [1, 0, 1, 1, NAN]
    policy = Policy(model={"hate": Thresholds(warn=0.5, block=0.85)})
    found = measure(scores, labels, list("abcde"), policy)
    warn, block = found["hate"].at["warn"], found["hate"].at["block"]
    assert (warn.flagged, warn.precision, warn.recall) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (block.flagged, block.precision, block.recall) == (1, 1, pytest.approx(1 / 3))
    assert found["violence"].ranking is None
    assert "auprc" not in found["violence"].to_json()
    assert found["flagged"].ranking is not None
    assert (found["flagged"].ranking.positives, found["flagged"].ranking.texts) == (3, 3)
    unknown_as_no = found["flagged, unknown as no"].ranking
    assert unknown_as_no is not None
    assert (unknown_as_no.positives, unknown_as_no.texts) == (3, 5)


def test_false_alarms_are_shares_of_harmless_texts() -> None:
    moderator = WordModerator(blocked=["kill"], warned=["shoot"])
    texts = ["kill a process", "shoot a film", "steal a look", "shoot a photo"]
    found = false_alarms(moderator, texts)  # type: ignore[arg-type]
    assert found["texts"] == 4
    assert found["warned"]["share"] == 0.75
    assert found["blocked"]["share"] == 0.25
    low, high = found["blocked"]["interval"]
    assert 0 < low < 0.25 < high < 1


def test_time_is_measured_for_each_message() -> None:
    found = milliseconds(WordModerator(blocked=[]), ["a"] * 500)  # type: ignore[arg-type]
    assert 0 < found["median"] <= found["p95"]
