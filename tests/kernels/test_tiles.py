"""Products by tiles: against sums in float64, in guarded memory, and bit for bit against oneDNN's."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.kernels.memory import Memory, bits
from torch import Tensor
from torch.nn import functional as F

from accordant.kernels import tiles
from accordant.kernels.compiled import has_loop
from accordant.kernels.tiles import Tiles, suits_tiles

has_instruction = pytest.mark.skipif(
    not has_loop("tiles.tiled_product", torch.bfloat16), reason="a processor without AVX512-BF16"
)
ROWS = [1, 2, 3, 5, 8, 11, 12, 13, 31, 64, 100]
SHAPES = [(32, 2), (32, 64), (96, 66), (64, 512), (160, 576), (576, 1536), (96, 2050), (32, 4864)]
"""(outputs, inputs): sums of one part and of several, of whole parts and of others."""


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


@has_instruction
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("rows", ROWS)
def test_tiles(rows: int, outputs: int, inputs: int, biased: bool, one_thread: None, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    memory = Memory()
    x, weight = memory.keep(normal(rows, inputs, seed=0)), normal(outputs, inputs, seed=1)
    bias = normal(outputs, seed=2) if biased else None
    product = Tiles(weight, bias)
    product._tiles, product._bias = memory.keep(product._tiles), memory.keep(product._bias)
    monkeypatch.setattr(Tensor, "new_empty", lambda like, *shape: memory.empty(*shape, dtype=like.dtype))
    found = product(x)
    monkeypatch.undo()
    memory.check()
    wide_x, wide_weight = x.double().numpy(), weight.double().numpy()
    added = np.zeros(outputs) if bias is None else bias.double().numpy()
    exact = wide_x @ wide_weight.T + added
    terms = np.abs(wide_x) @ np.abs(wide_weight).T + np.abs(added)
    assert found.shape == exact.shape
    assert np.all(np.abs(found.double().numpy() - exact) <= 2.0**-8 * np.abs(exact) + 1e-6 * terms)
    for row in {0, rows // 2, rows - 1}:
        assert torch.equal(bits(product(x[row])), bits(found[row])), "a row is what it is alone"


@has_instruction
@pytest.mark.parametrize(("outputs", "inputs"), [(960, 576), (3072, 576), (576, 1536), (1152, 896), (256, 4096)])
@pytest.mark.parametrize("biased", [False, True])
def test_products_are_those_of_a_pass_bit_for_bit(outputs: int, inputs: int, biased: bool, one_thread: None) -> None:
    """With the sums cut otherwise, one number in 30,000 would round otherwise; and more where they nearly cancel."""
    x, weight = normal(256, inputs, seed=0), normal(outputs, inputs, seed=1)
    x[128:, inputs // 2 :] = -x[128:, : inputs // 2]
    weight[: outputs // 2, inputs // 2 :] = weight[: outputs // 2, : inputs // 2]
    weight[: outputs // 2, 0] += 0.1
    bias = normal(outputs, seed=2) if biased else None
    expected, product = F.linear(x, weight, bias), Tiles(weight, bias)
    assert torch.equal(product(x), expected)
    for rows in ROWS:
        assert torch.equal(product(x[-rows:]), expected[-rows:])


@has_instruction
def test_where_sums_end() -> None:
    """Seen in oneDNN 3.12: up to 512 inputs at once, beyond 1,024 so many. Whatever they are, they cover all pairs."""
    for inputs in (2, 64, 576, 768, 1536, 3072):
        ends = tiles._ends_of_sums(inputs).tolist()
        assert ends == sorted(set(ends))
        assert ends[0] > 0
        assert ends[-1] == inputs // 2


@has_instruction
@pytest.mark.parametrize("no_number", [math.nan, math.inf, -math.inf])
def test_tiles_hide_no_nan(no_number: float, one_thread: None) -> None:
    x, weight, bias = normal(5, 64, seed=0), normal(96, 64, seed=1), normal(96, seed=2)
    weight[40, 63], bias[70], x[3, 0] = no_number, no_number, no_number
    odd = ~Tiles(weight, bias)(x).isfinite()
    expected = torch.zeros(5, 96, dtype=torch.bool)
    expected[:, 40] = expected[:, 70] = expected[3] = True
    assert torch.equal(odd, expected)


@has_instruction
def test_any_rows_in_any_shape(one_thread: None) -> None:
    weight = normal(64, 96, seed=1)
    product, x = Tiles(weight, None), normal(2, 3, 192, seed=0)[..., ::2]
    assert torch.equal(product(x), F.linear(x.contiguous(), weight))
    assert product(x[0, 0]).shape == (64,)
    assert product(x[:0]).shape == (0, 3, 64)


@has_instruction
def test_what_does_not_fit_is_refused(one_thread: None) -> None:
    product = Tiles(normal(64, 96, seed=1), None)
    for x in (torch.ones(2, 96), torch.ones(2, 64, dtype=torch.bfloat16)):
        with pytest.raises(ValueError, match=r"must be bfloat16 of \(..., 96\)"):
            product(x)


@has_instruction
def test_what_suits_tiles(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.zeros(64, 96, dtype=torch.bfloat16)
    assert suits_tiles(weight)
    for other in (weight[:63], weight[:, :95], weight.float(), weight.half(), weight.to("meta")):
        assert not suits_tiles(other)
    torch.set_num_threads(2)
    assert not suits_tiles(weight)
    torch.set_num_threads(1)
    monkeypatch.setattr(tiles, "has_loop", lambda place, dtype: False)
    assert not suits_tiles(weight)
