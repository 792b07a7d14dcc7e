"""Policy, verdicts and the OpenAI shape."""

import pytest
from pydantic import ValidationError

from accordant.moderation import Policy, Thresholds, openai_shape
from accordant.records import CATEGORIES

NOTHING = dict.fromkeys(CATEGORIES, 0.0)


def test_a_score_leads_to_the_action_of_its_threshold() -> None:
    thresholds = Thresholds(warn=0.3, block=0.6)
    assert [thresholds.action(score) for score in (0.0, 0.29, 0.3, 0.59, 0.6, 1.0)] == [
        "allow", "allow", "warn", "warn", "block", "block",
    ]  # fmt: skip


def test_off_is_never() -> None:
    assert Thresholds(warn="off", block="off").action(1.0) == "allow"
    assert Thresholds(warn="off").action(0.59) == "allow"
    assert Thresholds(block=None).action(1.0) == "warn"


@pytest.mark.parametrize("fields", [{"warn": 0.9, "block": 0.5}, {"warn": 1.5}, {"warm": 0.5}])
def test_thresholds_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Thresholds(**fields)


def test_a_verdict_names_what_it_flags_the_surest_first() -> None:
    verdict = Policy().verdict(NOTHING | {"hate": 0.6, "violence": 0.9, "harassment": 0.34}, "model")
    assert verdict.categories == ("violence", "hate")
    assert verdict.action == "block"
    assert verdict.flagged
    assert [category for category, flag in verdict.flags.items() if flag] == ["hate", "violence"]
    assert Policy().verdict(NOTHING, "user").action == "allow"


def test_each_side_has_thresholds_of_its_own() -> None:
    policy = Policy(user={"hate": Thresholds(warn=0.1, block=0.2)})
    scores = NOTHING | {"hate": 0.3}
    assert policy.verdict(scores, "user").action == "block"
    assert policy.verdict(scores, "model").action == "allow"


def test_who_speaks_of_harming_himself_is_not_turned_away() -> None:
    scores = NOTHING | {"self-harm": 0.99}
    assert Policy().verdict(scores, "user").action == "warn"
    assert Policy().verdict(scores, "model").action == "block"


def test_sexual_content_about_minors_has_the_lowest_threshold() -> None:
    for side in ("user", "model"):
        assert Policy().verdict(NOTHING | {"sexual/minors": 0.31}, side).action == "block"


def test_a_policy_comes_from_toml_as_it_stands_there() -> None:
    policy = Policy.model_validate({"model": {"violence/graphic": {"warn": "off", "block": 0.9}}})
    assert policy.thresholds("model", "violence/graphic") == Thresholds(warn=None, block=0.9)
    with pytest.raises(ValidationError):
        Policy.model_validate({"model": {"violance": {"block": 0.9}}})


def test_the_openai_shape_has_every_category_for_every_input() -> None:
    verdicts = [Policy().verdict(NOTHING | {"hate": 0.9}, "user"), Policy().verdict(NOTHING, "user")]
    body = openai_shape(verdicts, "accordant-moderation", "modr_1")
    assert (body["id"], body["model"]) == ("modr_1", "accordant-moderation")
    bad, good = body["results"]
    assert bad["flagged"] is True
    assert good["flagged"] is False
    for result in (bad, good):
        for part in ("categories", "category_scores", "category_applied_input_types"):
            assert tuple(result[part]) == CATEGORIES
    assert bad["categories"]["hate"] is True
    assert bad["category_scores"]["hate"] == 0.9
