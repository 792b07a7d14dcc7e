"""A model gives the same with the loops and with torch's operators, which other machines and dtypes use."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from accordant import kernels
from accordant.engine.cache import DecodeAttention, KeyValueCache, PrefillAttention
from accordant.model import ModelConfig, PackedAttention, Transformer
from accordant.model.linear import pack_linear_layers
from accordant.testing import tiny_config

PROMPTS = [[5 + 7 * place % 90 for place in range(length)] for length in (5, 1, 50, 17)]
FLAT = torch.tensor([token for prompt in PROMPTS for token in prompt])
LENGTHS = [len(prompt) for prompt in PROMPTS]
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "all heads": {"kv_heads": 4, "head_size": 16},
    "qwen3": {"qk_norm": "head"},
    "olmo2": {"qk_norm": "all", "norm_after": True, "kv_heads": 1},
    "biases": {"attention_bias": True, "mlp_bias": True, "head_size": 24},
    "small heads": {"head_size": 12},
}
LOOPS = ["rms_norm", "rms_norm_backward", "swiglu", "swiglu_backward", "rotate", "softmax", "softmax_backward_"]


def model_of(shape: dict[str, Any]) -> Transformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Transformer(ModelConfig(**vars(tiny_config()) | shape))
        for name, weight in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 1.5)
            else:
                torch.nn.init.normal_(weight, std=0.15)
    return model


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SHAPES[request.param]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each loop was called; one thread, so that all are."""
    counts: dict[str, int] = {}

    def counted(name: str, loop: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return loop(*arguments, **named)

        return call

    for name in LOOPS:
        monkeypatch.setattr(kernels, name, counted(name, getattr(kernels, name)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    return counts


def close(found: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the largest number."""
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def logits(model: Transformer) -> Tensor:
    with torch.inference_mode():
        return model(FLAT, PackedAttention(LENGTHS))  # type: ignore[no-any-return]


def gradients(model: Transformer) -> dict[str, Tensor]:
    model.zero_grad()
    out = model(FLAT, PackedAttention(LENGTHS))
    targets = (FLAT * 3 + 1) % out.shape[-1]
    torch.nn.functional.cross_entropy(out, targets).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@torch.inference_mode()
def decoded(model: Transformer, rows: list[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Logits of 20 steps for the prompts in `rows`; the longest passes 64 slots, where the cache grows."""
    cache = KeyValueCache(model.config, len(rows), 0, dtype, torch.device("cpu"))
    lengths = [LENGTHS[row] for row in rows]
    cache.reserve(max(lengths))
    model(torch.tensor([token for row in rows for token in PROMPTS[row]]), PrefillAttention(cache, lengths))
    steps = [model(torch.tensor([7 + row + 3 * step for row in rows]), DecodeAttention(cache)) for step in range(20)]
    return torch.stack(steps)


def test_logits_are_the_same(shape: dict[str, Any], used: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(shape)
    found = logits(model)
    assert set(used) == {"rms_norm", "swiglu", "rotate", "softmax"}
    exact = logits(model.double())
    monkeypatch.setattr(kernels, "suits", lambda *tensors, **named: False)
    plain = logits(model.float())
    close(found, plain)
    close(found, exact)


def test_gradients_are_the_same(shape: dict[str, Any], used: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(shape)
    found = gradients(model)
    assert set(used) == set(LOOPS)
    calls = dict(used)
    exact = gradients(model.double())
    monkeypatch.setattr(kernels, "suits", lambda *tensors, **named: False)
    plain = gradients(model.float())
    assert used == calls, "float64 stays in torch"
    assert set(found) == set(plain) == {name for name, _ in model.named_parameters()}
    for name, gradient in found.items():
        close(gradient, plain[name])
        close(gradient, exact[name])


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [2]], ids=["four rows", "one row"])
def test_decoding_is_the_same(
    shape: dict[str, Any], rows: list[int], used: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(shape)
    pack_linear_layers(model)
    found = decoded(model, rows)
    assert set(used) == {"rms_norm", "swiglu", "rotate", "softmax"}
    monkeypatch.setattr(kernels, "suits", lambda *tensors, **named: False)
    close(found, decoded(model, rows))
    monkeypatch.undo()
    close(found, decoded(model_of(shape).double(), rows, torch.float64))


def test_decoding_in_a_cache_of_any_capacity(used: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache is made with what its rows will take, which is no multiple of anything."""
    model = model_of({})
    found = []
    for answer in (None, False):
        if answer is False:
            monkeypatch.setattr(kernels, "suits", lambda *tensors, **named: False)
        with torch.inference_mode():
            cache = KeyValueCache(model.config, 1, 61, torch.float32, torch.device("cpu"))
            model(FLAT[:50], PrefillAttention(cache, [50]))
            steps = [model(torch.tensor([7 + step]), DecodeAttention(cache)) for step in range(11)]
        found.append(torch.stack(steps))
    close(*found)
