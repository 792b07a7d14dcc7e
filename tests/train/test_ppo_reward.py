"""Rewards of answers and of tokens: where they land, how they add up, and what one that is no good leads to."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import ppo_loops
from tests.train.test_stages import asked, ppo_stage, scalar

from accordant.engine import Generation
from accordant.errors import BadReward, NotFinite
from accordant.progress import SILENT
from accordant.records import Message
from accordant.testing.tiny import tiny_renderer
from accordant.train.loop import run_stage
from accordant.train.ppo import (
    Answer,
    CombinedReward,
    Reward,
    RewardModelReward,
    function_reward,
    length_reward,
    objective,
)
from accordant.train.ppo.reward import score_answers
from accordant.train.ppo.rollout import build_rollout

NUMBERS = st.floats(-3, 3, allow_nan=False, width=32)
PROMPT = asked("where is the river?")


def answers_of(lengths: Sequence[int]) -> list[Generation]:
    return [Generation([1] * n, [-1.0] * n, "x" * n, "stop") for n in lengths]


def fixed(values: Sequence[float | Sequence[float]]) -> Reward:
    return lambda conversations, answers: values


@st.composite
def mixed(draw: st.DrawFn) -> tuple[list[int], list[float | list[float]], list[list[float]]]:
    """Lengths, a number or one per token for each answer, and KL."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    values = [draw(st.one_of(NUMBERS, st.lists(NUMBERS, min_size=n, max_size=n))) for n in lengths]
    return lengths, values, [draw(st.lists(NUMBERS, min_size=n, max_size=n)) for n in lengths]


@settings(max_examples=60)
@given(mixed(), st.floats(0, 2))
def test_rewards_of_answers_and_of_tokens_equal_loops(batch, coefficient) -> None:  # type: ignore[no-untyped-def]
    lengths, values, kl = batch
    answers = answers_of(lengths)
    scored = score_answers(fixed(values), [PROMPT] * len(answers), answers)
    rollout = build_rollout([[1]] * len(answers), answers, scored, 1, range(len(answers)), 100, "cpu")
    padded = torch.tensor([row + [7.0] * (max(lengths) - len(row)) for row in kl])
    found = objective.token_rewards(rollout.rewards, padded, rollout.mask, coefficient)
    for row, expected in zip(found.tolist(), ppo_loops.token_rewards(values, kl, lengths, coefficient), strict=True):
        assert row == pytest.approx(expected + [0.0] * (max(lengths) - len(expected)), abs=1e-5)


def test_several_rewards_are_added_with_their_weights_and_reported_without() -> None:
    answers = answers_of([2, 3])
    given_values = {"whole": [1.0, -2.0], "by_token": [[0.5, 0.25], [1.0, 0.0, -4.0]]}
    weights = {"whole": 2.0, "by_token": -0.5, "length": 0.1}
    rewards = {name: fixed(values) for name, values in given_values.items()} | {"length": length_reward}
    parts = [(name, weights[name], reward) for name, reward in rewards.items()]
    found = score_answers(CombinedReward(parts), [PROMPT] * 2, answers)
    whole = [np.array([0.0, 1.0]), np.array([0.0, 0.0, -2.0])]
    by_token = [np.array([0.5, 0.25]), np.array([1.0, 0.0, -4.0])]
    for own, one, other in zip(found, whole, by_token, strict=True):
        assert own.rewards == pytest.approx((2.0 * one - 0.5 * other + 0.1).tolist())
    assert found[0].parts == pytest.approx({"whole": 1.0, "by_token": 0.75, "length": 2.0})
    rollout = build_rollout([[1]] * 2, answers, found, 1, range(2), 100, "cpu")
    assert rollout.reward_means == pytest.approx({"whole": -0.5, "by_token": -1.125, "length": 2.5})


def test_each_part_is_a_metric(tmp_path: Path) -> None:
    stage = ppo_stage(tmp_path)
    stage.reward = CombinedReward([("river", 2.0, stage.reward), ("length", -0.01, length_reward)])
    metrics = stage.advance(0, SILENT)
    assert metrics["reward_length"] == pytest.approx(metrics["answer_tokens"])
    assert metrics["reward_river"] > 0


@pytest.mark.parametrize("kind", ["whole", "by token"])
def test_normalising_and_cutting_act_on_the_sum(kind: str, tmp_path: Path) -> None:
    """A number for the answer and the same total spread over its tokens are worth the same afterwards."""
    stage = ppo_stage(tmp_path, normalise_reward=True, largest_reward=0.7, missing_end_score=-9.0)
    totals = [1.0, 2.0, 3.0, 4.0, 0.0]
    answers = answers_of([2, 3, 1, 4, 2])
    answers[4].finish = "length"
    spread = [[total / len(a.ids)] * len(a.ids) for total, a in zip(totals, answers, strict=True)]
    spread[4] = [0.75, -0.75]
    stage.reward = fixed(totals if kind == "whole" else spread)
    rows = [own.rewards for own in stage._score([PROMPT] * 5, answers)]
    deviation = 2.5**0.5
    expected = [max(-0.7, min(0.7, (total - 2) / deviation)) for total in totals[:4]]
    assert [sum(row) for row in rows] == pytest.approx([*expected, -9.0])
    earned = [[v / deviation for v in row[:-1]] if kind == "by token" else [0.0] * (len(row) - 1) for row in spread]
    for row, before_the_last in zip(rows, earned, strict=True):
        assert row[:-1] == pytest.approx(before_the_last), "only the last token may bear what its answer's end decides"


def test_normalising_scales_each_token_and_takes_the_mean_off_the_last(tmp_path: Path) -> None:
    stage = ppo_stage(tmp_path, normalise_reward=True)
    stage.reward = fixed([[1.0, 0.0], [3.0, 0.0]])
    rows = [own.rewards for own in stage._score([PROMPT] * 2, answers_of([2, 2]))]
    deviation = 2**0.5
    assert rows[0] == pytest.approx([1 / deviation, -2 / deviation])
    assert rows[1] == pytest.approx([3 / deviation, -2 / deviation])


def raises(messages: Sequence[Message], answer: Answer) -> float:
    raise ValueError("two\nlines")


BAD: list[tuple[Callable[[Sequence[Message], Answer], object], str]] = [
    (lambda messages, answer: "good", "neither a number"),
    (lambda messages, answer: None, "neither a number"),
    (lambda messages, answer: ["1.0"] * 3, "neither a number"),
    (lambda messages, answer: [1.0, 2.0], "gave 2 values for an answer of 3 tokens"),
    (lambda messages, answer: np.zeros(4), "gave 4 values for an answer of 3 tokens"),
    (lambda messages, answer: 1 / 0, "raised ZeroDivisionError: division by zero"),
    (raises, "raised ValueError: two lines"),
]


@pytest.mark.parametrize(("score", "fault"), BAD)
def test_a_bad_value_is_one_line_with_function_prompt_and_answer(score, fault: str) -> None:  # type: ignore[no-untyped-def]
    answer = Generation([1, 2, 3], [-1.0] * 3, "the\nsea", "stop")
    with pytest.raises(BadReward) as caught:
        score_answers(function_reward(score), [PROMPT], [answer])
    line = str(caught.value)
    assert fault in line
    assert f"reward {__name__}:{score.__qualname__} " in line
    assert "prompt 'where is the river?', answer 'the\\nsea'" in line
    assert "\n" not in line


@pytest.mark.parametrize("value", [math.nan, [0.0, math.inf, 0.0]])
@pytest.mark.parametrize("combined", [False, True])
def test_a_value_that_is_not_finite_is_named_with_prompt_and_answer(
    value: float | list[float], combined: bool, tmp_path: Path
) -> None:
    answers = [Generation([1, 2, 3], [-1.0] * 3, "the sea", "stop"), Generation([1, 2, 3], [-1.0] * 3, "rain", "stop")]
    by_answer = function_reward(lambda messages, answer: value if answer == "rain" else 1.0)
    stage = ppo_stage(tmp_path)
    stage.reward = CombinedReward([("weather", 1.0, by_answer)]) if combined else by_answer
    name = "weather" if combined else f"{__name__}:.*"
    with pytest.raises(NotFinite, match=rf"{name} gave (nan|inf); prompt 'where is the river\?', answer 'rain'"):
        stage._score([PROMPT] * 2, answers)


@pytest.mark.parametrize("values", [[1.0], 1.0, None])
def test_a_reward_gives_a_value_for_each_answer(values: object) -> None:
    with pytest.raises(BadReward, match="for 2 answers; a list of one each is needed"):
        score_answers(lambda conversations, answers: values, [PROMPT] * 2, answers_of([1, 1]))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("value", [2, np.float32(2), torch.tensor(2.0), [np.float32(0), 2], torch.tensor([0.0, 2.0])])
def test_numbers_of_numpy_and_torch_are_numbers(value: object) -> None:
    answers = answers_of([2])
    found = score_answers(function_reward(lambda messages, answer: value), [PROMPT], answers)  # type: ignore[arg-type, return-value]
    assert [own.rewards for own in found] == [[0.0, 2.0]]


def test_a_function_that_fails_loses_nothing_of_the_run(tmp_path: Path) -> None:
    whole, failing, resumed = (ppo_stage(tmp_path, iterations=4, normalise_reward=True) for _ in range(3))
    (tmp_path / "whole").mkdir()
    run_stage(whole, tmp_path / "whole", SILENT)
    score, calls = failing.reward, iter(range(4))

    def fails_the_third_time(conversations, answers):  # type: ignore[no-untyped-def]
        if next(calls) == 2:
            return ["good"] * len(answers)
        return score(conversations, answers)

    failing.reward = fails_the_third_time
    (tmp_path / "cut").mkdir()
    with pytest.raises(BadReward, match="fails_the_third_time gave 'good'"):
        run_stage(failing, tmp_path / "cut", SILENT)
    assert sorted(path.name for path in (tmp_path / "cut" / "state").iterdir()) == ["step-000002"]
    run_stage(resumed, tmp_path / "cut", SILENT)
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name
    assert whole.adapted() == resumed.adapted()
    assert whole.adapted()["scores"] == 4 * whole.settings.episodes


def test_a_function_sees_the_text_and_a_piece_for_each_token(tmp_path: Path) -> None:
    stage, seen = ppo_stage(tmp_path), []

    def by_token(messages: Sequence[Message], answer: Answer) -> list[float]:
        seen.append((answer, answer.tokens))
        return [float(len(piece)) for piece in answer.tokens]

    stage.reward = function_reward(by_token)
    rollout = stage._sample(stage._draw(0), 0)
    for (text, tokens), generation in zip(seen, rollout.answers, strict=True):
        assert text == "".join(tokens) == generation.text
        assert len(tokens) == len(generation.ids)
    ended = [answer.ended for answer in rollout.answers]
    expected = [float(len(text)) if end else 0.0 for (text, _), end in zip(seen, ended, strict=True)]
    assert rollout.scores.tolist() == pytest.approx(expected)


def test_a_reward_model_with_another_tokenizer_reads_the_text(tmp_path: Path) -> None:
    """Where the tokenizers are the same, both ways are; ids that no text has are then read as text."""
    model, renderer = scalar(tmp_path), tiny_renderer()
    ids = renderer.answer("the river")
    answers = [Generation(ids, [0.0] * len(ids), "the river", "stop")]
    by_ids, by_text = (RewardModelReward(model, renderer, 100, reads)([PROMPT], answers) for reads in (True, False))
    assert by_ids == by_text
    answers[0].ids = answers[0].ids[::-1]
    by_ids, by_still = (RewardModelReward(model, renderer, 100, reads)([PROMPT], answers) for reads in (True, False))
    assert by_ids != by_text == by_still


def test_a_prompt_is_computed_once_for_all_its_answers(tmp_path: Path) -> None:
    """As answers to one prompt stand together in PPO; the scores are those of each answer alone."""
    renderer, model = tiny_renderer(), scalar(tmp_path)
    reward = RewardModelReward(model, renderer, 1000)
    asked_in_turn = [PROMPT] * 3 + [asked("who asks?")] * 2
    texts = ["the river", "rain", "the sea", "cheese", "cheese"]
    answers = [Generation(renderer.answer(text), finish="stop") for text in texts]
    alone = [reward([one], [answer])[0] for one, answer in zip(asked_in_turn, answers, strict=True)]
    computed = []
    model.register_forward_pre_hook(lambda _, inputs: computed.append(len(inputs[0])))
    assert reward(asked_in_turn, answers) == pytest.approx(alone, abs=1e-5)
    prompts = [len(renderer.prompt(one)) for one in (PROMPT, asked_in_turn[-1])]
    assert sum(computed) <= sum(prompts) + sum(len(answer.ids) for answer in answers)
    assert len({round(score, 4) for score in alone}) == 4
