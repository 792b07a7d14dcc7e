"""SFT, reward model and PPO on a tiny model: they learn, do not depend on the batching, and resume bit for bit."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from accordant.config import BestOfNSection, DPOSection, PPOSection, RewardSection, SFTSection
from accordant.data.packing import pack
from accordant.engine import Engine, Sampling
from accordant.errors import AccordantError, Stopped
from accordant.model import ScalarModel
from accordant.model.hub import load_scalar_model, new_scalar_model, save_scalar_model
from accordant.progress import SILENT, Watcher
from accordant.records import Candidate, Comparison, Message
from accordant.testing.tiny import save_tiny_checkpoint, tiny_model, tiny_renderer
from accordant.text import Example
from accordant.train.best_of_n import BestOfNStage
from accordant.train.dpo import DPOStage
from accordant.train.log_probs import LinearLogProbs, score_tokens
from accordant.train.loop import Stage, read_metrics, run_stage
from accordant.train.optimizer import Optimizer
from accordant.train.ppo import PPOStage, function_reward
from accordant.train.rankings import render_ranking
from accordant.train.reward import RewardStage, normalise, pair_accuracy, score_sequences
from accordant.train.sft import SFTStage, Weighted, add_gradient, epoch_order
from accordant.train.state import State, load_state, save_state

ANSWERS = ["the river", "the sea, the sea", "rain", "slow water here", "a harbour in the hills", "cheese"]


def asked(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def examples() -> list[Example]:
    renderer = tiny_renderer()
    return [
        renderer.dialogue((*asked(f"where {number}?"), Message(role="assistant", content=answer)))
        for number, answer in enumerate(ANSWERS)
    ]


def comparisons() -> list[Comparison]:
    return [
        Comparison(
            id=str(i),
            messages=asked(f"where {i}?"),
            candidates=(Candidate(content="the river"), Candidate(content="cheese"), Candidate(content="no")),
            ranking=((0,), (1, 2)),
        )
        for i in range(8)
    ]


def scalar(tmp_path: Path, seed: int = 0) -> ScalarModel:
    return new_scalar_model(save_tiny_checkpoint(tmp_path / f"tiny-{seed}", seed), torch.float32)


def sft_stage(tmp_path: Path, micro_batch_tokens: int = 256) -> SFTStage:
    settings = SFTSection(epochs=4, learning_rate=3e-3, batch_examples=3)
    return SFTStage(tiny_model(), [Weighted(examples(), 1.0)], examples()[:1], settings, 0, micro_batch_tokens)


def reward_stage(tmp_path: Path, micro_batch_tokens: int = 256) -> RewardStage:
    rankings = [render_ranking(tiny_renderer(), c) for c in comparisons()]
    settings = RewardSection(epochs=4, learning_rate=3e-3, batch_rankings=4)
    return RewardStage(scalar(tmp_path), rankings[:6], rankings[6:], settings, 0, micro_batch_tokens)


def likes_river(messages: Sequence[Message], answer: str) -> float:
    return answer.count("r") / max(1, len(answer))


def ppo_stage(tmp_path: Path, micro_batch_tokens: int = 512, **changes: object) -> PPOStage:
    values: dict[str, object] = {
        "iterations": 8,
        "episodes": 8,
        "minibatches": 2,
        "learning_rate": 1e-3,
        "critic_learning_rate": 3e-3,
        "max_answer_tokens": 8,
        "critic_warmup_iterations": 0,
        "missing_end_score": 0.0,
        "weight_average": 0.9,
    }
    settings = PPOSection.model_validate(values | changes)
    prompts = [asked(f"where {i}?") for i in range(5)]
    return PPOStage(
        tiny_model(), None if settings.lora_rank else tiny_model(),
        scalar(tmp_path) if settings.baseline == "critic" else None,
        function_reward(likes_river), tiny_renderer(), prompts, settings, 3, micro_batch_tokens, examples(),
    )  # fmt: skip


def adapting_ppo_stage(tmp_path: Path) -> PPOStage:
    return ppo_stage(tmp_path, kl_target_per_sequence=2.0, kl_horizon_sequences=64, normalise_reward=True)


def group_ppo_stage(tmp_path: Path) -> PPOStage:
    return ppo_stage(tmp_path, baseline="group_mean", answers_per_prompt=4)


def sharing_ppo_stage(tmp_path: Path) -> PPOStage:
    return ppo_stage(tmp_path, lora_rank=2, baseline="value_head", critic_warmup_iterations=1, missing_end_score=1.0)


def dpo_stage(tmp_path: Path, micro_batch_tokens: int = 256) -> DPOStage:
    rankings = [render_ranking(tiny_renderer(), c) for c in comparisons()]
    settings = DPOSection(epochs=4, learning_rate=3e-3, batch_rankings=4)
    return DPOStage(tiny_model(), rankings[:6], rankings[6:], settings, 0, micro_batch_tokens)


def best_of_n_stage(tmp_path: Path) -> BestOfNStage:
    settings = BestOfNSection(iterations=5, prompts=4, samples=3, batch_examples=3, max_answer_tokens=8)
    prompts = [asked(f"where {i}?") for i in range(5)]
    return BestOfNStage(tiny_model(), function_reward(likes_river), tiny_renderer(), prompts, settings, 3, 512)


STAGES: dict[str, Callable[[Path], Stage]] = {
    "sft": sft_stage,
    "reward": reward_stage,
    "ppo": ppo_stage,
    "adapting ppo": adapting_ppo_stage,
    "group ppo": group_ppo_stage,
    "sharing ppo": sharing_ppo_stage,
    "dpo": dpo_stage,
    "best of n": best_of_n_stage,
}


class StopAfter(Watcher):
    """Presses Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, done: int, metrics: object) -> None:
        self.left -= 1
        if self.left == 0:
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("make", STAGES.values(), ids=STAGES)
def test_a_stopped_run_goes_on_bit_for_bit(make: Callable[[Path], Stage], tmp_path: Path) -> None:
    whole, begun, resumed = make(tmp_path), make(tmp_path), make(tmp_path)
    (tmp_path / "whole").mkdir()
    run_stage(whole, tmp_path / "whole", SILENT)
    (tmp_path / "cut").mkdir()
    with pytest.raises(Stopped, match="run again"):
        run_stage(begun, tmp_path / "cut", StopAfter(3))
    run_stage(resumed, tmp_path / "cut", SILENT)
    assert set(whole.tensors()) == set(resumed.tensors())
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name
    one, two = (read_metrics(tmp_path / f / "metrics.jsonl") for f in ("whole", "cut"))
    assert [r["step"] for r in two] == list(range(whole.total))
    for a, b in zip(one, two, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


def test_a_damaged_state_is_skipped_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for steps in (2, 1):
        with pytest.raises(Stopped):
            run_stage(sft_stage(tmp_path), tmp_path / "run", StopAfter(steps))
    newest = sorted((tmp_path / "run" / "state").glob("step-*"))[-1]
    raw = bytearray((newest / "tensors-00.safetensors").read_bytes())
    raw[-1] ^= 1
    (newest / "tensors-00.safetensors").write_bytes(raw)
    notes: list[str] = []

    class Notes(Watcher):
        def note(self, line: str) -> None:
            notes.append(line)

    run_stage(sft_stage(tmp_path), tmp_path / "run", Notes())
    assert any("damaged" in line and newest.name in line for line in notes)
    assert any("after step 2" in line for line in notes)


def test_a_state_is_written_in_parts_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accordant.train.state._LARGEST_FILE", 100)
    tensors = {str(n): torch.randn(n) for n in (5, 10, 40, 3, 3)} | {"scalar": torch.tensor(2.0)}
    save_state(tmp_path, State(7, tensors))
    sizes = [sum(t.nbytes for t in load_file(path).values()) for path in sorted(tmp_path.glob("*/*.safetensors"))]
    assert len(sizes) > 1
    assert all(size <= 100 for size in sizes if size != 160)
    found = load_state(tmp_path, SILENT)
    assert found is not None
    assert found.step == 7
    assert set(found.tensors) == set(tensors)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())


def test_sft_loss_is_the_mean_negative_log_prob_of_trained_tokens() -> None:
    model, own = tiny_model(), examples()
    total, count = 0.0, 0
    with torch.no_grad():
        for example in own:
            batch = pack([example])
            log_probs = torch.log_softmax(model(batch.ids, batch.attention), -1)
            for place in range(1, len(example.ids)):
                if example.trained[place]:
                    total -= log_probs[place - 1, example.ids[place]].item()
                    count += 1
    assert add_gradient(model, [pack(own)]) == pytest.approx(total / count, rel=1e-5)


def test_linear_log_probs_equal_log_softmax_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.randn(11, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (7,), generator=generator)
    log_probs, entropy = LinearLogProbs.apply(hidden, head, targets, 0.7, True)
    all_log_probs = torch.log_softmax(hidden @ head.T / 0.7, -1)
    assert torch.allclose(log_probs, all_log_probs.gather(-1, targets[:, None]).squeeze(-1))
    assert torch.allclose(entropy, -(all_log_probs.exp() * all_log_probs).sum(-1))
    assert not entropy.requires_grad
    assert torch.autograd.gradcheck(lambda h, w: LinearLogProbs.apply(h, w, targets, 0.7, False)[0], (hidden, head))


def test_linear_log_probs_over_several_chunks() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(1100, 4, generator=generator), torch.randn(6, 4, generator=generator)
    targets = torch.randint(0, 6, (1100,), generator=generator)
    plain, chunked = (tuple(t.clone().requires_grad_() for t in (hidden, head)) for _ in range(2))
    weights = torch.randn(1100, generator=generator)
    (torch.log_softmax(plain[0] @ plain[1].T, -1).gather(-1, targets[:, None]).squeeze(-1) * weights).sum().backward()
    (LinearLogProbs.apply(*chunked, targets, 1.0, False)[0] * weights).sum().backward()
    for a, b in zip(plain, chunked, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-4)


def test_mixing_weights_set_how_often_a_source_is_seen() -> None:
    sources = [Weighted(examples()[:4], 2.5), Weighted(examples()[4:], 0.5)]
    order = epoch_order(sources, seed=1, epoch=0)
    assert sum(s == 0 for s, _ in order) == 10
    assert sum(s == 1 for s, _ in order) == 1
    assert epoch_order(sources, 1, 0) == order
    assert epoch_order(sources, 1, 1) != order


def test_sft_learns(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run_stage(sft_stage(tmp_path), tmp_path / "run", SILENT)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]


def test_reward_model_learns_the_ranking_and_is_saved_with_its_normalisation(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    stage = reward_stage(tmp_path)
    run_stage(stage, tmp_path / "run", SILENT)
    accuracy, pairs, _ = pair_accuracy(stage.model, stage.held_out, 256)
    assert (accuracy, pairs) == (1.0, 4)
    good = [r.sequences[0] for r in stage.rankings]
    everything = [s for r in stage.rankings for s in r.sequences]
    normalise(stage.model, good, everything, 256)
    assert sum(score_sequences(stage.model, good, 256)) == pytest.approx(0, abs=1e-3)
    scores = torch.tensor(score_sequences(stage.model, everything, 256))
    assert scores.std().item() == pytest.approx(1, abs=1e-3)
    save_scalar_model(stage.model, tmp_path / "saved")
    again = load_scalar_model(tmp_path / "saved", torch.float32)
    assert score_sequences(again, everything, 256) == pytest.approx(scores.tolist(), abs=1e-5)


def test_scores_do_not_depend_on_company(tmp_path: Path) -> None:
    model = scalar(tmp_path)
    with torch.no_grad():
        model.score.weight.normal_(generator=torch.Generator().manual_seed(0))
    sequences = [e.ids for e in examples()]
    alone = [score_sequences(model, [s], 1)[0] for s in sequences]
    assert score_sequences(model, sequences, 10_000) == pytest.approx(alone, abs=1e-5)


def test_the_critic_warms_up_alone(tmp_path: Path) -> None:
    losses = []
    for epochs in (1, 30):
        stage = ppo_stage(tmp_path, critic_warmup_iterations=1, critic_warmup_epochs=epochs)
        policy = [weight.detach().clone() for weight in stage.policy.parameters()]
        stage.advance(0, SILENT)
        assert all(torch.equal(a, b) for a, b in zip(policy, stage.policy.parameters(), strict=True))
        assert stage.critic is not None
        models = (stage.policy, stage.critic.model)
        before = [[weight.detach().clone() for weight in model.parameters()] for model in models]
        losses.append(stage.advance(1, SILENT)["value_loss"])
        for old, model in zip(before, models, strict=True):
            assert any(not torch.equal(a, b) for a, b in zip(old, model.parameters(), strict=True))
    assert losses[1] < losses[0] / 2


def test_policy_and_critic_never_hold_gradients_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ppo_stage(tmp_path, minibatches=2)
    assert stage.critic is not None
    optimizers = [stage.optimizer, stage.critic.optimizer]
    holding: list[list[bool]] = []
    step = Optimizer.step

    def watched(own: Optimizer, rate: float) -> float:
        holding.append([any(g is not None for g in each.gradients) for each in optimizers])
        return step(own, rate)

    monkeypatch.setattr(Optimizer, "step", watched)
    stage.advance(0, SILENT)
    assert holding == [[True, False]] * 2 + [[False, True]] * 2
    assert not any(g is not None for each in optimizers for g in each.gradients)


@pytest.mark.parametrize("group", [1, 4], ids=["critic", "group mean"])
def test_ppo_raises_what_is_rewarded(group: int, tmp_path: Path) -> None:
    """A model that says six things equally often comes to say the rewarded one."""
    renderer, prompts = tiny_renderer(), [asked(f"where {i}?") for i in range(5)]
    said = [renderer.dialogue((*p, Message(role="assistant", content=a))) for p in prompts for a in ANSWERS]
    taught = tiny_model()
    teaching = SFTSection(epochs=25, learning_rate=1e-2, batch_examples=30)
    (tmp_path / "sft").mkdir()
    run_stage(SFTStage(taught, [Weighted(said, 1.0)], [], teaching, 0, 4096), tmp_path / "sft", SILENT)
    policy, reference = tiny_model(), tiny_model()
    policy.load_state_dict(taught.state_dict())
    reference.load_state_dict(taught.state_dict())
    settings = PPOSection(
        iterations=25, episodes=32, minibatches=2, learning_rate=3e-3, critic_learning_rate=1e-2,
        max_answer_tokens=16, critic_warmup_iterations=1, kl_coefficient_per_token=0.01,
        answers_per_prompt=group, baseline="critic" if group == 1 else "group_mean",
    )  # fmt: skip
    cheese = function_reward(lambda messages, answer: float(answer == "cheese"))
    critic = scalar(tmp_path) if group == 1 else None
    stage = PPOStage(policy, reference, critic, cheese, renderer, prompts, settings, 0, 4096)
    (tmp_path / "ppo").mkdir()
    run_stage(stage, tmp_path / "ppo", SILENT)
    rewards = [row["reward"] for row in read_metrics(tmp_path / "ppo" / "metrics.jsonl")]
    assert rewards[0] < 0.4
    assert sum(rewards[-3:]) / 3 > 0.8


def test_sampled_equals_scored_and_the_first_ratio_is_one(tmp_path: Path) -> None:
    metrics = ppo_stage(tmp_path).advance(0, SILENT)
    assert metrics["sampling_gap"] < 1e-5
    assert metrics["kl_per_sequence"] == pytest.approx(0, abs=1e-4)
    tampered = ppo_stage(tmp_path)
    sample = tampered._sample

    def then_change_the_policy(*arguments):  # type: ignore[no-untyped-def]
        rollout = sample(*arguments)
        scored = rollout.score

        def scored_before_a_change(*given, **named):  # type: ignore[no-untyped-def]
            result = scored(*given, **named)
            with torch.no_grad():
                tampered.policy.lm_head.weight.mul_(1.01)
            return result

        rollout.score = scored_before_a_change
        return rollout

    tampered._sample = then_change_the_policy  # type: ignore[method-assign]
    with pytest.raises(AccordantError, match="largest_ratio_gap"):
        tampered.advance(0, SILENT)


def test_engine_log_probs_equal_training_log_probs() -> None:
    model, renderer = tiny_model(), tiny_renderer()
    prompts = [renderer.prompt(asked(f"where {i}?")) for i in range(4)]
    answers = [a[0] for a in Engine(model, renderer).generate(prompts, Sampling(temperature=0.7, max_tokens=12))]
    batch = pack([Example.of_answer(p, a.ids) for p, a in zip(prompts, answers, strict=True)])
    with torch.no_grad():
        scored = score_tokens(model, batch, temperature=0.7)
    assert scored.log_probs.tolist() == pytest.approx([x for a in answers for x in a.log_probs], abs=1e-5)


def test_an_answer_that_does_not_end_gets_the_fixed_score(tmp_path: Path) -> None:
    stage = ppo_stage(tmp_path, missing_end_score=-5.0, max_answer_tokens=1)
    rollout = stage._sample(stage._draw(0), 0)
    for answer, score in zip(rollout.answers, rollout.scores.tolist(), strict=True):
        assert (score == -5.0) is (not answer.ended)


def test_a_reward_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    stage = ppo_stage(tmp_path)
    stage.reward = function_reward(lambda messages, answer: float("nan"))
    with pytest.raises(AccordantError, match="not finite"):
        stage.advance(0, SILENT)


def test_prompts_are_all_used_before_any_comes_again(tmp_path: Path) -> None:
    stage = ppo_stage(tmp_path, episodes=10)
    drawn = [m[-1].content for m in stage._draw(0)]
    assert sorted(drawn) == sorted([f"where {i}?" for i in range(5)] * 2)
    assert sorted(drawn[:5]) == sorted(set(drawn))


def test_ptx_needs_examples_and_joins_the_gradient(tmp_path: Path) -> None:
    with_ptx = ppo_stage(tmp_path, ptx_coefficient=1.0, ptx_examples=2)
    assert with_ptx.advance(0, SILENT)["ptx_loss"] > 0
    with pytest.raises(AccordantError, match="ptx_coefficient"):
        PPOStage(
            tiny_model(), tiny_model(), scalar(tmp_path), function_reward(likes_river), tiny_renderer(),
            [asked("x")], PPOSection(ptx_coefficient=1.0), 0, 256,
        )  # fmt: skip


def test_ptx_adds_its_coefficient_times_the_gradient_of_the_mean_loss(tmp_path: Path) -> None:
    stage = ppo_stage(tmp_path, ptx_coefficient=2.5, ptx_examples=len(ANSWERS))
    loss = stage._pretraining_gradient(0, 0, 0)
    plain = ppo_stage(tmp_path)
    expected = sum(-score_tokens(plain.policy, pack([e])).log_probs.sum() for e in examples())
    expected = expected / sum(sum(e.trained) for e in examples())
    (2.5 * expected).backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for found, wanted in zip(stage.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.allclose(found.grad, wanted.grad, atol=1e-5)


def test_the_averaged_weights_are_kept(tmp_path: Path) -> None:
    """Three updates, averaged by hand with a decay of 0.75."""
    stage = ppo_stage(tmp_path, weight_average=0.75, minibatches=1)
    average = [w.detach().clone() for w in stage.policy.parameters()]
    for step in range(3):
        stage.advance(step, SILENT)
        average = [0.75 * old + 0.25 * w.detach() for old, w in zip(average, stage.policy.parameters(), strict=True)]
    assert any(not torch.allclose(a, w, atol=1e-5) for a, w in zip(average, stage.policy.parameters(), strict=True))
    stage.finish()
    assert all(torch.allclose(a, w, atol=1e-6) for a, w in zip(average, stage.policy.parameters(), strict=True))


def test_rates_rise_from_the_first_update_and_fall_to_the_last_share(tmp_path: Path) -> None:
    stage = ppo_stage(
        tmp_path, iterations=5, critic_warmup_iterations=1, warmup_iterations=2, last_rate_share=0.5, minibatches=1,
        learning_rate=1e-3, critic_learning_rate=4e-3,
    )  # fmt: skip
    assert stage.critic is not None
    policy, critic = [], []
    for optimizer, rates in ((stage.optimizer, policy), (stage.critic.optimizer, critic)):
        step = optimizer.step
        optimizer.step = lambda rate, step=step, rates=rates: rates.append(rate) or step(rate)  # type: ignore[method-assign, misc]
    for number in range(5):
        stage.advance(number, SILENT)
    assert policy == pytest.approx([0.5e-3, 1e-3, 1e-3, 0.75e-3])
    assert critic[4:] == pytest.approx([4e-3 * (0.5 + 0.5 * left) for left in (0.8, 0.6, 0.4, 0.2)])


def test_bfloat16_trains_on_float32_masters() -> None:
    model = tiny_model().to(torch.bfloat16)
    stage = SFTStage(model, [Weighted(examples(), 1.0)], [], SFTSection(learning_rate=1e-5, epochs=2), 0, 256)
    before = [m.value() for m in stage.optimizer.masters]
    stage.advance(0, SILENT)
    stage.advance(1, SILENT)
    moved = [(a - b.value()).abs().max().item() for a, b in zip(before, stage.optimizer.masters, strict=True)]
    assert all(m > 0 for m in moved), "an update smaller than bfloat16's step must not be lost"
    for parameter, master in zip(stage.optimizer.parameters, stage.optimizer.masters, strict=True):
        assert torch.equal(parameter, master.value().to(torch.bfloat16))
