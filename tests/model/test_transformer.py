import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from accordant.model import BranchedAttention, ModelConfig, PackedAttention, ScalarModel, Transformer
from accordant.model.config import RopeScaling
from accordant.model.hub import load_transformer, save_scalar_model, save_transformer
from accordant.model.norm import RMSNorm
from accordant.model.short_attention import short_attention
from accordant.model.sight import Sight
from accordant.testing import tiny_config, tiny_model

SHAPE = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "llama tied": ("Llama", {"tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama with all heads": ("Llama", {"num_key_value_heads": 4, "head_dim": 16}),
    "llama 3 positions": ("Llama", {"rope_parameters": LLAMA3, "head_dim": 16}),
    "llama with another base": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 16}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3 with biases": ("Qwen3", {"head_dim": 8, "attention_bias": True}),
    "olmo2": ("Olmo2", {"pad_token_id": 1, "eos_token_id": 2}),
}
SEQUENCES = [random.Random(0).choices(range(96), k=length) for length in (40, 1, 17)]
LONG = random.Random(1).choices(range(96), k=300)
"""Long enough for the other of the two ways to attend."""


def reference(family: str, settings: dict[str, Any]) -> Any:
    """A random model of `transformers` whose norms and biases differ from those of a new one."""
    import transformers

    config = getattr(transformers, f"{family}Config")(**SHAPE | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.3)
            elif "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 1.5)
            else:
                torch.nn.init.normal_(weight, std=0.3)
    return model


def packed(model: Transformer, sequences: list[list[int]]) -> list[Tensor]:
    """Logits of each of several sequences that go through the model together."""
    flat = torch.tensor([token for sequence in sequences for token in sequence])
    with torch.inference_mode():
        return list(model(flat, PackedAttention([len(s) for s in sequences])).split([len(s) for s in sequences]))


def theirs(model: Any, sequence: list[int]) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(torch.tensor([sequence])).logits[0]
    return logits


@pytest.mark.parametrize("name", VARIANTS)
def test_logits_are_those_of_transformers_both_ways(tmp_path: Path, name: str) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    source = reference(*VARIANTS[name])
    source.save_pretrained(tmp_path / "theirs")
    model = load_transformer(tmp_path / "theirs", torch.float32)
    expected = [theirs(source, sequence) for sequence in SEQUENCES]
    assert expected[0].std() > 0.5, "logits of a size that a wrong formula would change"
    for ours, logits in zip(packed(model, SEQUENCES), expected, strict=True):
        torch.testing.assert_close(ours, logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(packed(model, [LONG])[0], theirs(source, LONG), atol=1e-4, rtol=0)

    (tmp_path / "ours").mkdir()
    save_transformer(model, tmp_path / "ours")
    before, after = (load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    weights = source.state_dict()
    assert all(torch.equal(weight, weights[key]) for key, weight in opened.state_dict().items())
    for sequence, logits in zip(SEQUENCES, expected, strict=True):
        torch.testing.assert_close(theirs(opened, sequence), logits, atol=2e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2"])
def test_a_model_made_here_opens_in_transformers(tmp_path: Path, architecture: str) -> None:
    from transformers import AutoModelForCausalLM

    hub = {"architectures": [f"{architecture}ForCausalLM"], "tie_word_embeddings": False, "head_dim": 16} | SHAPE
    shape = vars(ModelConfig.from_hub(hub)) | {"raw": {}, "rope_base": 500.0, "norm_epsilon": 1e-3}
    shape["rope_scaling"] = RopeScaling(8.0, 1.0, 4.0, 32)
    if architecture == "Llama":
        shape |= {"attention_bias": True, "output_bias": True, "mlp_bias": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Transformer(ModelConfig(**shape))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    save_transformer(model, tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert getattr(opened.config, "sliding_window", None) is None
    for ours, sequence in zip(packed(model, SEQUENCES), SEQUENCES, strict=True):
        torch.testing.assert_close(ours, theirs(opened, sequence), atol=1e-4, rtol=0)
    again = load_transformer(tmp_path, torch.float32)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(packed(model, SEQUENCES), packed(again, SEQUENCES), strict=True))


def test_bfloat16_goes_and_comes_bit_by_bit(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    save_transformer(tiny_model().to(torch.bfloat16), tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert opened.dtype == torch.bfloat16
    loaded = load_transformer(tmp_path, torch.bfloat16)
    expected = tiny_model().to(torch.bfloat16).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in loaded.state_dict().items())
    assert all(torch.equal(weight, expected[name]) for name, weight in opened.state_dict().items())


def test_a_reward_is_the_score_of_their_classifier_normalised(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = ScalarModel(tiny_config())
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    model.mean, model.deviation = 0.7, 2.5
    save_scalar_model(model, tmp_path)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32)
    assert opened.config.num_labels == 1
    for sequence in SEQUENCES:
        with torch.inference_mode():
            values = model(torch.tensor(sequence), PackedAttention([len(sequence)]))
            score = opened(torch.tensor([sequence])).logits.item()
        assert float(values[-1]) == pytest.approx((score - 0.7) / 2.5, abs=1e-4)
        assert values.shape == (len(sequence),)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_sequence_gets_the_same_alone_and_in_company(kv_heads: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Transformer(ModelConfig(**vars(tiny_config()) | {"kv_heads": kv_heads}))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.2)
    alone = [packed(model, [sequence])[0] for sequence in SEQUENCES]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 0, 2], [0, 0]):
        together = packed(model, [SEQUENCES[place] for place in order])
        for place, logits in zip(order, together, strict=True):
            torch.testing.assert_close(logits, alone[place], atol=1e-5, rtol=0)
    for place, logits in enumerate(packed(model, [*SEQUENCES, LONG])[:-1]):
        torch.testing.assert_close(logits, alone[place], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-9), (torch.float32, 3e-5)])
def test_no_token_sees_what_comes_after_it(dtype: torch.dtype, apart: float) -> None:
    """float32 logits of this model are up to 1.5e-5 from float64's, and two attentions differ in their rounding."""
    model = tiny_model().to(dtype)
    whole = packed(model, [LONG])[0]
    for length in (1, 7, 39, 299):
        torch.testing.assert_close(packed(model, [LONG[:length]])[0], whole[:length], atol=apart, rtol=0)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (4, 1)])
def test_both_ways_to_attend_are_one(heads: int, kv_heads: int) -> None:
    from torch.nn.functional import scaled_dot_product_attention

    generator = torch.Generator().manual_seed(6)
    shapes = [(3, heads, 20, 8), (3, kv_heads, 20, 8), (3, kv_heads, 20, 8)]
    one, other = (
        [part.clone().requires_grad_() for part in parts]
        for parts in [[torch.randn(shape, generator=generator) for shape in shapes]] * 2
    )
    ours = short_attention(*one, Sight.up_to(torch.arange(20)[None], 20))
    expected = scaled_dot_product_attention(*other, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    weights = torch.randn(ours.shape, generator=generator)
    (ours * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, wanted in zip(one, other, strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, atol=1e-5, rtol=1e-5)


def test_hand_written_gradients_are_the_numeric_ones() -> None:
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    bounds = torch.tensor([(0, 0, token + 1) for token in range(5)]).repeat(2, 1, 1)
    bounds[1, 3] = torch.tensor((1, 2, 4))
    query, key, value = drawn(2, 4, 5, 3), drawn(2, 2, 5, 3), drawn(2, 2, 5, 3)
    assert torch.autograd.gradcheck(lambda q, k, v: short_attention(q, k, v, Sight(bounds, 5)), (query, key, value))
    norm = RMSNorm(6, 1e-5).double()
    norm.weight = torch.nn.Parameter(drawn(6))
    x = drawn(4, 6)
    assert torch.autograd.gradcheck(lambda x, _: norm(x), (x, norm.weight))
    mean_square = (x.detach().numpy() ** 2).mean(-1, keepdims=True)
    expected = x.detach().numpy() / (mean_square + 1e-5) ** 0.5 * norm.weight.detach().numpy()
    torch.testing.assert_close(norm(x).detach(), torch.from_numpy(expected))


STEM, BRANCHES = [3, 1, 4, 1, 5], [[9, 2], [6], [5, 3, 5, 8], [9, 7]]


@pytest.mark.parametrize("stem", [[], STEM, LONG[:290]], ids=["none", "short", "past the kernel's border"])
def test_branches_are_the_sequences_they_stand_for(stem: list[int]) -> None:
    def gradient(logits: list[Tensor]) -> tuple[Tensor, Tensor]:
        ends = torch.stack([part[-1] for part in logits])
        torch.log_softmax(ends, -1)[:, 5].sum().backward()
        return ends, torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])

    model = tiny_model()
    alone = [torch.tensor(stem + branch) for branch in BRANCHES]
    wanted = gradient([model(ids, PackedAttention([len(ids)])) for ids in alone])
    model.zero_grad()
    other = [[7, 7, 2], [2]]
    lengths = [[len(branch) for branch in group] for group in (BRANCHES, other)]
    attention = BranchedAttention([len(stem), 0], lengths)
    flat = torch.tensor([*stem, *(token for group in (BRANCHES, other) for branch in group for token in branch)])
    pieces = list(model(flat, attention)[len(stem) :].split([*lengths[0], *lengths[1]]))
    found = gradient(pieces[: len(BRANCHES)])
    torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], wanted[1], atol=1e-5, rtol=1e-5)


def test_gradients_of_packed_sequences_are_those_of_each() -> None:
    def gradient(batches: list[list[list[int]]]) -> Tensor:
        model = tiny_model()
        for batch in batches:
            flat = torch.tensor([token for sequence in batch for token in sequence])
            logits = model(flat, PackedAttention([len(sequence) for sequence in batch]))
            torch.log_softmax(logits, -1)[:, 5].sum().div(100).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])

    ragged = [*SEQUENCES, LONG[:200], LONG[:120]]  # in rectangles of their own, next to short ones that share one
    assert len(PackedAttention([len(sequence) for sequence in ragged])._parts) == 3
    together, apart = gradient([ragged]), gradient([[sequence] for sequence in ragged])
    assert float(apart.abs().max()) > 1e-2
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


def test_rectangles_waste_little_on_ragged_sequences() -> None:
    """A rectangle costs rows times the square of the longest; in one rectangle these would cost six times their own."""
    lengths = [400, 210, 190, 120, 100, 90, 70, 60, 50, 40, 30]
    parts = PackedAttention(lengths)._parts
    assert [length for part in parts for length in part.lengths] == lengths
    cost = sum(len(part.lengths) * max(part.lengths) ** 2 for part in parts)
    own = sum(length**2 for length in lengths)
    assert cost < 1.3 * own < 6 * own < len(lengths) * max(lengths) ** 2
    assert PackedAttention([5, 60, 4, 50])._parts[0].lengths == [5, 60, 4, 50]
