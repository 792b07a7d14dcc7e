"""What is planned of memory is what tensors really hold, counted on tiny models."""

import dataclasses
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from accordant.data.packing import Branches, pack, pack_branches
from accordant.engine.cache import KeyValueCache
from accordant.model import ModelConfig, ScalarModel, Transformer
from accordant.model.lora import add_adapters
from accordant.rounds.memory import Shape
from accordant.testing.tiny import tiny_config, tiny_model
from accordant.text import Example
from accordant.train.log_probs import score_tokens
from accordant.train.optimizer import Optimizer

BIASED = dataclasses.replace(tiny_config(), attention_bias=True, output_bias=True, mlp_bias=True, tied_embeddings=False)
SHAPES = {
    "plain": tiny_config(),
    "biases and a head of its own": BIASED,
    "norms of heads": dataclasses.replace(tiny_config(), qk_norm="head"),
    "norms of all": dataclasses.replace(tiny_config(), qk_norm="all", norm_after=True),
}


def held(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages under some tensors, each counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def examples(lengths: Iterable[int]) -> list[Example]:
    return [Example.of_answer([1, 2], [3 + i % 9 for i in range(length - 2)]) for length in lengths]


def kept(work: Callable[[], Tensor], apart: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps of `work` for its way back, without those of `apart`."""
    saved: list[Tensor] = []

    def pack_hook(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack_hook, lambda tensor: tensor):
        result = work()
    known = {tensor.untyped_storage().data_ptr() for tensor in apart}
    assert result.requires_grad
    return held(tensor for tensor in saved if tensor.untyped_storage().data_ptr() not in known)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_weights_are_counted(config: ModelConfig) -> None:
    with torch.device("meta"):
        models = Transformer(config), ScalarModel(config)
    shape = Shape(config, 2)
    assert shape.parameters == sum(p.numel() for p in models[0].parameters())
    assert shape.scalar_parameters == sum(p.numel() for p in models[1].parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [0, 3])
def test_the_state_of_training_is_counted(dtype: torch.dtype, rank: int) -> None:
    model = tiny_model().to(dtype)
    shape = Shape(model.config, dtype.itemsize)
    if rank:
        add_adapters(model, rank, 1.0, 0)
    trained = shape.adapters(rank) if rank else shape.parameters
    optimizer = Optimizer(model.parameters())
    score_tokens(model, pack(examples([9, 7]))).log_probs.sum().backward()
    score_tokens(model, pack(examples([6]))).log_probs.sum().backward()
    gathered = [gradient for gradient in optimizer.gradients if gradient is not None]
    assert held(gathered) == shape.gradients(trained)
    optimizer.step(1e-4)
    weights = held(model.parameters())
    assert weights == shape.weights(shape.parameters + (trained if rank else 0))
    named = optimizer.tensors()
    masters = [tensor for name, tensor in named.items() if name.endswith(("weight", "lower"))]
    assert held([*masters, *model.parameters()]) == weights + shape.masters(trained)
    assert held(tensor for name, tensor in named.items() if "exp_avg" in name) == shape.moments(trained)


def test_the_cache_is_counted() -> None:
    cache = KeyValueCache(tiny_config(), 5, 17, torch.bfloat16, torch.device("cpu"))
    assert held([cache.keys, cache.values]) == Shape(tiny_config(), 2).cache(5, 17)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "lengths", [[40, 40], [31, 17, 9, 30], [100, 70, 20], [300, 200]], ids=["equal", "ragged", "apart", "long"]
)
@pytest.mark.parametrize("rank", [0, 4])
def test_what_a_pass_keeps_is_counted(lengths: list[int], dtype: torch.dtype, rank: int) -> None:
    model = tiny_model().to(dtype)
    if rank:
        add_adapters(model, rank, 1.0, 0)
    batch = pack(examples(lengths))
    found = kept(lambda: score_tokens(model, batch).log_probs.sum(), model.parameters())
    assert found == pytest.approx(Shape(model.config, dtype.itemsize).activations(lengths, rank), rel=0.05)


@pytest.mark.parametrize("own", [([9, 14], [20, 3], [8, 8]), ([200, 90], [150, 60])], ids=["short", "long"])
def test_a_ranking_is_counted_as_one_sequence(own: tuple[list[int], ...]) -> None:
    model = ScalarModel(tiny_config())
    groups = [Branches(list(range(12)), [[3] * length for length in lengths]) for lengths in own]
    batch = pack_branches(groups)
    found = kept(lambda: model.raw(batch.ids, batch.attention)[batch.last].sum(), model.parameters())
    tokens = [own.tokens for own in groups]
    assert found == pytest.approx(Shape(model.config, 4).activations(tokens, branched=True), rel=0.05)
