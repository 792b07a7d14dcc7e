"""On a GPU the same as on the CPU: forward and backward, generation, one step of each stage, and resuming.

`make test-gpu`. Everything here is skipped where torch finds no GPU.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accordant.config import PPOSection, RewardSection, SFTSection
from accordant.data.packing import pack
from accordant.engine import Ask, Engine, Sampling
from accordant.errors import Stopped
from accordant.machine import make_deterministic, measure
from accordant.model import BranchedAttention, PackedAttention, Transformer
from accordant.model.attention import Attention
from accordant.model.flash_attention import has_flash_attention
from accordant.model.hub import new_scalar_model
from accordant.progress import SILENT, Watcher
from accordant.records import Candidate, Comparison, Message
from accordant.testing.tiny import save_tiny_checkpoint, tiny_model, tiny_renderer
from accordant.text import Example
from accordant.train.log_probs import score_tokens
from accordant.train.loop import Stage, run_stage
from accordant.train.ppo import PPOStage, function_reward
from accordant.train.rankings import render_ranking
from accordant.train.reward import RewardStage
from accordant.train.sft import SFTStage, Weighted, add_gradient

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:.*deterministic"),
]

ANSWERS = ["the river", "the sea, the sea", "rain", "slow water here", "a harbour in the hills", "cheese"]
FLAT = torch.randint(3, 300, (90,), generator=torch.Generator().manual_seed(0))
LAYOUTS: dict[str, Callable[[str], Attention]] = {
    "packed": lambda device: PackedAttention([40, 1, 49], device),
    "branches": lambda device: BranchedAttention([30, 0], [[10, 5, 25], [12, 8]], device),
}


def asked(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def examples() -> list[Example]:
    said = ((f"where {n}?", answer) for n, answer in enumerate(ANSWERS))
    return [tiny_renderer().dialogue((*asked(q), Message(role="assistant", content=a))) for q, a in said]


def sft_stage(folder: Path, device: str, dtype: torch.dtype = torch.float32) -> SFTStage:
    settings = SFTSection(epochs=4, learning_rate=3e-3, batch_examples=3)
    return SFTStage(tiny_model().to(device, dtype), [Weighted(examples(), 1.0)], [], settings, 0, 256)


def reward_stage(folder: Path, device: str, dtype: torch.dtype = torch.float32) -> RewardStage:
    answers = tuple(Candidate(content=text) for text in ("the river", "cheese", "no"))
    questions = [
        Comparison(id=str(i), messages=asked(f"where {i}?"), candidates=answers, ranking=((0,), (1, 2)))
        for i in range(8)
    ]
    rankings = [render_ranking(tiny_renderer(), question) for question in questions]
    model = new_scalar_model(save_tiny_checkpoint(folder / "tiny"), dtype, device)
    return RewardStage(model, rankings, [], RewardSection(epochs=4, learning_rate=3e-3, batch_rankings=4), 0, 256)


def ppo_stage(folder: Path, device: str, dtype: torch.dtype = torch.float32) -> PPOStage:
    settings = PPOSection(
        iterations=4, episodes=8, minibatches=2, learning_rate=1e-3, critic_learning_rate=3e-3, max_answer_tokens=8,
        critic_warmup_iterations=0, missing_end_score=0.0, weight_average=0.9,
    )  # fmt: skip
    critic = new_scalar_model(save_tiny_checkpoint(folder / "tiny"), dtype, device)
    policy, reference = tiny_model().to(device, dtype), tiny_model().to(device, dtype)
    reward = function_reward(lambda messages, answer: answer.count("r") / max(1, len(answer)))
    prompts = [asked(f"where {i}?") for i in range(5)]
    return PPOStage(policy, reference, critic, reward, tiny_renderer(), prompts, settings, 3, 512)


STAGES: dict[str, Callable[..., Stage]] = {"sft": sft_stage, "reward": reward_stage, "ppo": ppo_stage}


def gradients(model: Transformer, attention: Attention) -> list[Tensor]:
    """Of the sum of squared logits."""
    logits = model(FLAT.to(model.device), attention)
    logits.float().square().mean().backward()
    return [logits.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_and_backward_are_those_of_the_cpu(layout: str) -> None:
    make = LAYOUTS[layout]
    expected = gradients(tiny_model(), make("cpu"))
    found = gradients(tiny_model().to("cuda"), make("cuda"))
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own.cpu(), wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_flash_attention_and_its_gradient_are_those_of_the_cpu(layout: str) -> None:
    """In bfloat16, of which both round each value to one part in 256."""
    make = LAYOUTS[layout]
    generator = torch.Generator().manual_seed(1)
    shapes = [(90, 4, 64), (90, 2, 64), (90, 2, 64)]
    plain = [torch.randn(*shape, generator=generator).bfloat16().requires_grad_() for shape in shapes]
    on_gpu = [tensor.detach().cuda().requires_grad_() for tensor in plain]
    if not has_flash_attention(on_gpu[0]):
        pytest.skip("this GPU has no such kernel")
    outputs = [make("cpu")(0, *plain), make("cuda")(0, *on_gpu)]
    for out in outputs:
        out.float().square().mean().backward()
    pairs = [outputs, *([tensor.grad, other.grad] for tensor, other in zip(plain, on_gpu, strict=True))]
    for wanted, own in pairs:
        assert wanted is not None
        torch.testing.assert_close(own.cpu().float(), wanted.float(), atol=0.03 * wanted.abs().max().item(), rtol=0.03)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_answers_are_those_of_the_cpu(temperature: float) -> None:
    """With slots that are freed and taken again; twice, so that what was recorded is used again."""
    prompts = [tiny_renderer().prompt(asked(f"where {i}?")) for i in range(7)]
    sampling = Sampling(temperature=temperature, max_tokens=12, seed=1)
    expected = Engine(tiny_model(), tiny_renderer(), rows=4).generate(prompts, sampling, samples=2)
    on_gpu = Engine(tiny_model().to("cuda"), tiny_renderer(), rows=4)
    for _ in range(2):
        found = on_gpu.generate(prompts, sampling, samples=2)
        for own, wanted in zip(found, expected, strict=True):
            assert [answer.ids for answer in own] == [answer.ids for answer in wanted]
            for answer, other in zip(own, wanted, strict=True):
                assert answer.log_probs == pytest.approx(other.log_probs, abs=1e-3)


def test_a_long_prompt_in_pieces_is_continued_as_on_the_cpu() -> None:
    prompt = FLAT.tolist()
    sampling = Sampling(temperature=0, max_tokens=8)
    [[expected]] = Engine(tiny_model(), tiny_renderer()).generate([prompt], sampling)
    engine = Engine(tiny_model().cuda(), tiny_renderer(), piece=16)
    request = engine.request(Ask(prompt, sampling))
    waiting = [[request]]
    for _ in engine.serve(lambda room: waiting.pop() if waiting else []):
        pass
    assert request.rows[0].answer.ids == expected.ids


def test_recorded_steps_follow_the_weights() -> None:
    model, renderer = tiny_model().to("cuda"), tiny_renderer()
    engine, prompts = Engine(model, renderer), [renderer.prompt(asked("where?"))]
    engine.generate(prompts, Sampling(temperature=0, max_tokens=8))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.roll(weight, 1))
    fresh = Engine(model, renderer).generate(prompts, Sampling(temperature=0, max_tokens=8))
    assert engine.generate(prompts, Sampling(temperature=0, max_tokens=8))[0][0].ids == fresh[0][0].ids


def test_what_is_sampled_is_scored_the_same() -> None:
    model, renderer = tiny_model().to("cuda"), tiny_renderer()
    prompts = [renderer.prompt(asked(f"where {i}?")) for i in range(4)]
    answers = [own[0] for own in Engine(model, renderer).generate(prompts, Sampling(temperature=0.7, max_tokens=12))]
    batch = pack([Example.of_answer(p, a.ids) for p, a in zip(prompts, answers, strict=True)], "cuda")
    with torch.no_grad():
        scored = score_tokens(model, batch, temperature=0.7)
    assert scored.log_probs.tolist() == pytest.approx([x for a in answers for x in a.log_probs], abs=1e-4)


def test_the_gradient_of_sft_is_that_of_the_cpu() -> None:
    models = [tiny_model(), tiny_model().to("cuda")]
    losses = [add_gradient(model, [pack(examples(), model.device)]) for model in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for wanted, own in zip(*(model.parameters() for model in models), strict=True):
        assert own.grad is not None
        torch.testing.assert_close(own.grad.cpu(), wanted.grad, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", STAGES)
def test_one_step_measures_what_it_measures_on_the_cpu(name: str, tmp_path: Path) -> None:
    """For PPO this holds answers, scores and ratios; the stage itself refuses a first ratio that is not 1."""
    expected = STAGES[name](tmp_path, "cpu").advance(0, SILENT)
    found = STAGES[name](tmp_path, "cuda").advance(0, SILENT)
    assert found == pytest.approx(expected, abs=1e-3, rel=1e-2)
    if name == "ppo":
        assert found["sampling_gap"] < 1e-4


class StopAfter(Watcher):
    """Presses Ctrl-C after two steps."""

    def step(self, done: int, metrics: object) -> None:
        if done == 2:
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", STAGES)
def test_a_stopped_run_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    make_deterministic()
    whole, begun, resumed = (STAGES[name](tmp_path, "cuda", torch.bfloat16) for _ in range(3))
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    run_stage(whole, tmp_path / "whole", SILENT)
    with pytest.raises(Stopped):
        run_stage(begun, tmp_path / "cut", StopAfter())
    run_stage(resumed, tmp_path / "cut", SILENT)
    expected = whole.tensors()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in resumed.tensors().items())


def test_the_machine_is_the_gpu() -> None:
    found = measure(seconds=0.02)
    assert found.device == torch.cuda.get_device_name()
    assert found.bfloat16_gflops > found.float32_gflops > 100
