"""Attention of one new token per row: against sums in float64, in guarded memory, and bit for bit against a pass."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.kernels.memory import Memory, bits
from torch import Tensor

from accordant.kernels import decode
from accordant.kernels.compiled import has_loop
from accordant.kernels.decode import decode_attention, suits_decoding
from accordant.model.short_attention import short_attention
from accordant.model.sight import Sight

Array = NDArray[np.float64]
ROUNDING = 2.0**-8
CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not has_loop("decode.decode_attention", torch.bfloat16), reason="a processor without AVX512-BF16"
)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """Where all tensors of a test lie."""
    held = Memory()
    monkeypatch.setattr(decode, "torch", held)
    monkeypatch.setattr(Tensor, "new_empty", lambda like, *shape: held.empty(*shape, dtype=like.dtype))
    yield held
    held.check()


def cached(rows: int, heads: int, shared: int, size: int, capacity: int) -> list[Tensor]:
    """query, key, value, and keys (rows, shared, size, capacity), values (rows, shared, capacity, size)."""
    shapes = [(rows, heads, size), (rows, shared, size), (rows, shared, size)]
    shapes += [(rows, shared, size, capacity), (rows, shared, capacity, size)]  # type: ignore[list-item]
    every = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed, shape in enumerate(shapes)]
    return [tensor.bfloat16() for tensor in every]


def paired(numbers: Tensor) -> Tensor:
    """(rows, shared, n, m) to (rows, shared, n / 2, m, 2)."""
    return numbers.unflatten(2, (-1, 2)).transpose(3, 4).contiguous()


def wide(x: Tensor) -> Array:
    return x.double().numpy()


def attended_exactly(query: Array, keys: Array, values: Array, slots: list[int]) -> tuple[Array, Array, Array]:
    """The mixed values, the mix of their sizes, and how far rounding a query and its scores may move a score."""
    out, sizes, moved = np.zeros_like(query), np.zeros_like(query), np.zeros((*query.shape[:2], 1))
    rows, heads, size = query.shape
    for row, head in np.ndindex(rows, heads):
        own = head // (heads // keys.shape[1])
        products = query[row, head][:, None] * keys[row, own, :, : slots[row] + 1] / math.sqrt(size)
        scores = products.sum(0)
        powers = np.array([math.exp(score - scores.max()) for score in scores])
        weights = powers / math.fsum(powers)
        out[row, head] = weights @ values[row, own, : slots[row] + 1]
        sizes[row, head] = weights @ np.abs(values[row, own, : slots[row] + 1])
        moved[row, head] = ROUNDING * (np.abs(products).sum(0) + np.abs(scores)).max()
    return out, sizes, moved


@pytest.mark.parametrize(
    ("heads", "shared", "size", "capacity", "slots"),
    [
        (1, 1, 32, 32, [0]),
        (4, 2, 32, 64, [0, 39, 16, 63]),
        (9, 3, 64, 96, [15, 95, 31, 32]),
        (14, 1, 32, 160, [130, 33, 1]),
        (16, 1, 96, 288, [287, 63, 64]),
        (3, 3, 128, 64, [31, 32, 63, 7, 8]),
    ],
)
@pytest.mark.parametrize("part", [False, True], ids=["alone", "in larger rows"])
def test_decode_attention(
    memory: Memory, heads: int, shared: int, size: int, capacity: int, slots: list[int], part: bool
) -> None:
    rows = len(slots)
    query, key, value, keys, values = cached(rows, heads, shared, size, capacity)
    for row, slot in enumerate(slots):
        keys[row, :, :, slot:] = torch.nan  # what nothing was written to, and what an earlier use has left there
        values[row, :, slot:] = 1e4
    expected_keys, expected_values = keys.clone(), values.clone()
    for row, slot in enumerate(slots):
        expected_keys[row, :, :, slot], expected_values[row, :, slot] = key[row], value[row]
    if part:
        larger = memory.keep(torch.cat((query.flatten(1), key.flatten(1), value.flatten(1)), 1))
        held = [t.view(rows, -1, size) for t in larger.split([heads * size, shared * size, shared * size], 1)]
    else:
        held = [memory.keep(tensor) for tensor in (query, key, value)]
    held_keys, held_values = memory.hold(paired(keys)), memory.hold(paired(values))
    found = decode_attention(*held, held_keys, held_values, memory.keep(torch.tensor(slots)))
    exact, sizes, moved = attended_exactly(wide(query), wide(expected_keys), wide(expected_values), slots)
    # A score that is off by d moves a mix by (e^2d - 1) of it; then weights and the result are rounded.
    bound = 1e-5 * sizes + ROUNDING * sizes * (2 + np.expm1(2 * moved) / ROUNDING)
    assert np.all(np.abs(wide(found) - exact) <= bound)
    assert torch.equal(bits(held_keys), bits(paired(expected_keys)))
    assert torch.equal(bits(held_values), bits(paired(expected_values)))


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e3])
def test_extreme_scores(memory: Memory, scale: float) -> None:
    """All scores equal: the mean of the values; one score far above all: its value."""
    query, key, value, keys, values = cached(1, 2, 1, 32, 32)
    query[:], key[:], keys[:] = 1, scale, scale
    keys[..., 5] += scale
    held = memory.hold(paired(keys)), memory.hold(paired(values))
    found = wide(decode_attention(query, key, value, *held, torch.tensor([18])))[0]
    values[0, :, 18] = value[0]
    seen = wide(values)[0, 0, :19]
    exact = seen[5] if scale == 1e3 else seen.mean(0)
    assert np.all(np.abs(found - exact) <= 3 * ROUNDING * np.abs(seen).max(0))


@pytest.mark.parametrize("no_number", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["query", "key", "value", "old value"])
def test_no_nan_is_hidden(memory: Memory, where: str, no_number: float) -> None:
    query, key, value, keys, values = cached(3, 4, 2, 32, 32)
    tensor = {"query": query, "key": key, "value": value, "old value": values[:, :, 3]}[where]
    tensor[1, :, 9] = no_number
    held = memory.hold(paired(keys)), memory.hold(paired(values))
    found = decode_attention(query, key, value, *held, torch.tensor([4, 17, 20]))
    if where == "query" or (where == "key" and math.isnan(no_number)):
        assert not found[1].isfinite().any()
    elif where == "key":  # a score of minus infinity has no weight, and one of infinity makes all of them NaN
        kept = found[1].isfinite().all(-1)
        assert torch.equal(kept, query[1, :, 9] < 0)
    else:
        assert not found[1, :, 9].isfinite().any()
    assert found[[0, 2]].isfinite().all()


@pytest.mark.parametrize(("heads", "shared", "size"), [(9, 3, 64), (4, 4, 32), (8, 1, 128), (6, 2, 96)])
@pytest.mark.parametrize("length", [1, 31, 32, 33, 63, 64, 65, 89, 127, 128, 200, 256])
def test_a_step_is_the_last_line_of_a_pass(heads: int, shared: int, size: int, length: int) -> None:
    """Bit for bit, beside any rows and in a cache of any capacity; else sampling would draw from another policy."""
    sequence = [torch.randn(3, n, length, size, generator=torch.Generator().manual_seed(n)).bfloat16()
                for n in (heads, shared, shared)]  # fmt: skip
    query, key, value = sequence
    expected = short_attention(query, key, value, Sight.up_to(torch.arange(length)[None], length))[:, :, -1]
    last = query[:, :, -1].contiguous(), key[:, :, -1].contiguous(), value[:, :, -1].contiguous()
    for capacity in (-(-length // 32) * 32, 288):
        keys, values = torch.full((3, shared, size, capacity), torch.nan), torch.zeros(3, shared, capacity, size)
        keys[..., : length - 1], values[:, :, : length - 1] = key[:, :, :-1].transpose(2, 3), value[:, :, :-1]
        room = paired(keys.bfloat16()), paired(values.bfloat16())
        slots = torch.tensor([length - 1] * 3)
        found = decode_attention(*last, *(part.clone() for part in room), slots)
        assert torch.equal(found, expected)
        alone = decode_attention(*(part[1:2] for part in last), *(part[1:2].clone() for part in room), slots[:1])
        assert torch.equal(alone, expected[1:2])


def test_what_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert suits_decoding(torch.bfloat16, CPU, 64)
    assert not suits_decoding(torch.float32, CPU, 64)
    assert not suits_decoding(torch.bfloat16, CPU, 48)
    assert not suits_decoding(torch.bfloat16, torch.device("meta"), 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert not suits_decoding(torch.bfloat16, CPU, 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(decode, "has_loop", lambda place, dtype: False)
    assert not suits_decoding(torch.bfloat16, CPU, 64)
