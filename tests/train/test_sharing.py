"""A step ends in the same weights however its work is cut: in micro-batches, among processes, beside any padding.

And processes that share it fall together, with one clear line.
"""

import copy
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.reference import small_language as language
from torch import Tensor

from accordant.config import BestOfNSection, DPOSection, PPOSection, RewardSection, SFTSection
from accordant.data.packing import micro_batches
from accordant.errors import AccordantError, BadReward
from accordant.model import ScalarModel
from accordant.progress import SILENT
from accordant.records import Message
from accordant.testing.tiny import random_model, tiny_config, tiny_model, tiny_renderer
from accordant.text import Example
from accordant.train.best_of_n import BestOfNStage
from accordant.train.dpo import DPOStage
from accordant.train.loop import Stage
from accordant.train.ppo import CombinedReward, PPOStage, function_reward, length_reward
from accordant.train.ppo.rollout import Rollout, Slice
from accordant.train.processes import together
from accordant.train.rankings import Ranking, render_answer
from accordant.train.reward import RewardStage, normalise, pair_accuracy
from accordant.train.sft import SFTStage, Weighted
from accordant.train.workers import ALONE, Workers

SAID = ["the river", "the sea, the sea, the sea", "rain", "slow water here", "a harbour", "cheese", "no", "the rain"]
STAGES = ["SFT", "reward model", "DPO", "best of n", "PPO", "PPO on one trunk"]


def user(text: str) -> Message:
    return Message(role="user", content=text)


def dialogues() -> list[Example]:
    renderer = tiny_renderer()
    return [renderer.dialogue((user(f"{i}?"), Message(role="assistant", content=said))) for i, said in enumerate(SAID)]


def rankings() -> list[Ranking]:
    answers = [[SAID[(i + k) % len(SAID)] for k in range(3)] for i in range(8)]
    renderer = tiny_renderer()
    return [
        Ranking(tuple(render_answer(renderer, (user(f"{i}?"),), answer) for answer in three), (0, 1, 1))
        for i, three in enumerate(answers)
    ]


def scalar_model() -> ScalarModel:
    return random_model(lambda: ScalarModel(tiny_config()), 4, embedding_std=0.6, std=0.2)


def worth(messages: Sequence[Message], answer: str) -> float:
    return answer.count("a") + len(messages[0].content) / 10


def make(name: str, micro_batch_tokens: int = 80, workers: Workers = ALONE) -> Stage:
    """One of `STAGES`, whose steps need several micro-batches of `micro_batch_tokens`."""
    if name == "SFT":
        sft = SFTSection(epochs=1, learning_rate=1e-4, batch_examples=4, weight_decay=0.1)
        sources = [Weighted(dialogues(), 1.0)]
        return SFTStage(tiny_model(), sources, dialogues()[:3], sft, 0, micro_batch_tokens, workers)
    if name == "reward model":
        reward = RewardSection(epochs=1, learning_rate=1e-4, batch_rankings=4)
        own = rankings()
        return RewardStage(scalar_model(), own, own[:3], reward, 0, micro_batch_tokens, workers=workers)
    if name == "DPO":
        dpo = DPOSection(epochs=1, learning_rate=1e-4, batch_rankings=4)
        own = rankings()
        return DPOStage(tiny_model(), own, own[:3], dpo, 0, micro_batch_tokens, workers)
    if name == "best of n":
        best = BestOfNSection(iterations=2, prompts=7, samples=3, batch_examples=4, max_answer_tokens=6)
        asked = [(user(f"{i}?"),) for i in range(5)]
        return BestOfNStage(
            tiny_model(), function_reward(worth), tiny_renderer(), asked, best, 3, micro_batch_tokens, workers
        )
    shared = name == "PPO on one trunk"
    ppo = PPOSection(
        iterations=2, episodes=24, answers_per_prompt=2, minibatches=2, learning_rate=1e-4, critic_learning_rate=1e-4,
        critic_warmup_iterations=int(shared), max_answer_tokens=language.MOST_TOKENS, normalise_reward=True,
        kl_target_per_sequence=1.0, ptx_coefficient=0.5, ptx_examples=4, weight_average=0.5,
        baseline="value_head" if shared else "critic", lora_rank=2 if shared else 0,
    )  # fmt: skip
    reward = CombinedReward([("worth", 1.0, function_reward(worth)), ("length", -0.1, length_reward)])
    prompts = [(user(text),) for text in ("a", "fed", "bb", "cafe", "d")]
    spoken = [Example.of_answer([1, 2], [letter, 3, 6]) for letter in range(6)]
    return PPOStage(
        language.policy(0), None if shared else language.policy(1), None if shared else language.critic(2),
        reward, language.renderer(), prompts, ppo, 3, micro_batch_tokens // 4, spoken, workers,
    )  # fmt: skip


Steps = tuple[list[dict[str, float]], dict[str, Tensor], list[list[int]]]
"""Metrics of a stage's steps, its tensors after them, and the ids of what it sampled."""


def two_steps(stage: Stage) -> Steps:
    metrics, answers = [], []
    for step in range(2):
        if isinstance(stage, PPOStage):
            scale = copy.copy(stage.reward_scale)
            answers += [answer.ids for answer in stage._sample(stage._draw(step), step).answers]
            stage.reward_scale = scale  # it is sampled again below, and counted then
        metrics.append(stage.advance(step, SILENT))
    return metrics, {name: tensor.clone() for name, tensor in stage.tensors().items()}, answers


def assert_same(found: Steps, expected: Steps) -> None:
    assert found[2] == expected[2], "the same answers"
    for own, wanted in zip(found[0], expected[0], strict=True):
        assert own == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert set(found[1]) == set(expected[1])
    for name, tensor in expected[1].items():
        torch.testing.assert_close(found[1][name], tensor, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", STAGES)
def test_steps_do_not_depend_on_micro_batches(name: str) -> None:
    whole = two_steps(make(name, 10_000))
    for most in (80, 1):
        assert_same(two_steps(make(name, most)), whole)


@pytest.mark.parametrize("junk", [7.0, float("nan"), float("inf"), -float("inf")])
def test_what_stands_on_the_padding_of_an_iteration_changes_nothing(junk: float, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    metrics, tensors, answers = two_steps(make("PPO"))
    assert len({len(ids) for ids in answers}) > 1, "some answers must be padded"
    spread = Rollout.spread

    def with_junk(self: Rollout, flat: Sequence[Tensor], slices: Sequence[Slice] | None = None) -> Tensor:
        real = self.mask if slices is None else self.within(slices)
        return torch.where(real, spread(self, flat, slices), junk)

    monkeypatch.setattr(Rollout, "spread", with_junk)
    noisy = two_steps(make("PPO"))
    assert noisy[0] == metrics
    assert all(torch.equal(tensor, noisy[1][name]) for name, tensor in tensors.items())


def measured(workers: Workers) -> list[float]:
    """What is computed of a reward model after training."""
    model = scalar_model()
    normalise(model, [e.ids for e in dialogues()], [s for r in rankings() for s in r.sequences], 60, workers)
    accuracy, pairs, scores = pair_accuracy(model, rankings(), 90, workers)
    return [model.mean, model.deviation, accuracy, pairs, *(score for own in scores for score in own)]


def follow(folder: Path, workers: Workers) -> None:
    torch.set_num_threads(1)
    found = {name: two_steps(make(name, workers=workers)) for name in STAGES}
    torch.save((found, measured(workers)), folder / f"rank-{workers.rank}.pt")
    collectives(workers)


def collectives(workers: Workers) -> None:
    """Every way to bring results together, on numbers that tell the processes apart."""
    assert workers.share(range(5)) == [[0, 2, 4], [1, 3]][workers.rank]
    products = workers.split(lambda a, b: [x * y for x, y in zip(a, b, strict=True)], range(5), range(5, 10))
    assert products == [0, 6, 14, 24, 36]

    def refuse(rows: list[int]) -> list[int]:
        if 3 in rows:
            raise BadReward("the fourth row is no good")
        return rows

    with pytest.raises(BadReward, match="fourth row"):  # by both, though one has seen it
        workers.split(refuse, range(5))
    assert workers.map(lambda x: (workers.rank, x), [7]) == [(0, 7)], "who has no share gets the results, too"
    assert workers.sum([1.0, float(workers.rank)]) == [2.0, 1.0]
    assert workers.largest([workers.rank, -3.0]) == 1.0
    assert workers.largest([] if workers.rank else [4.0]) == 4.0
    worst = workers.largest([float("nan") if workers.rank else 5.0])
    assert worst != worst, "no number is worse than any"
    assert workers.first(lambda: f"said by {workers.rank}") == "said by 0"
    tensor = torch.full((3,), float(workers.rank + 1))
    workers.sum_tensors([tensor])
    assert tensor.tolist() == [3.0] * 3


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        with together(2, partial(follow, tmp_path)) as workers:
            follow(tmp_path, workers)
    finally:
        torch.set_num_threads(before)
    (first, first_measured), (second, second_measured) = (torch.load(tmp_path / f"rank-{r}.pt") for r in range(2))
    assert first_measured == second_measured
    assert first_measured == pytest.approx(measured(ALONE), abs=1e-5)
    for name in STAGES:
        assert first[name][0] == second[name][0], "metrics are equal to the last bit, so that all decide alike"
        assert all(torch.equal(tensor, second[name][1][key]) for key, tensor in first[name][1].items()), name
        assert_same(first[name], two_steps(make(name)))
    assert len({tuple(ids) for ids in first["PPO"][2]}) > 12, "answers differ enough to tell rows apart"


def test_an_even_part_is_cut_for_each_process() -> None:
    assert len(micro_batches([5, 5, 5, 5], 100)) == 1
    assert micro_batches([5, 5, 5, 5], 100, parts=2) == [[0, 1], [2, 3]]
    assert micro_batches([5, 5, 5, 5], 9, parts=2) == [[0], [1], [2], [3]]


def fail(workers: Workers) -> None:
    workers.sum([1.0])
    if workers.rank:
        raise AccordantError("the second process found a fault")
    workers.sum([1.0])


def be_killed(workers: Workers) -> None:
    workers.sum([1.0])
    if workers.rank:
        os.kill(os.getpid(), signal.SIGKILL)
    workers.sum([1.0])


@pytest.mark.parametrize(
    ("work", "line"),
    [(fail, "process 2 of 2: the second process found a fault"), (be_killed, "process 2 of 2 ended with code -9")],
    ids=["failed", "killed"],
)
def test_the_fall_of_one_is_one_line_and_ends_all(work, line) -> None:  # type: ignore[no-untyped-def]
    began = time.monotonic()
    with pytest.raises(AccordantError, match=line), together(2, work) as workers:
        work(workers)
    assert time.monotonic() - began < 60


def test_alone_nothing_is_started() -> None:
    with together(1, fail) as workers:
        assert workers is ALONE
