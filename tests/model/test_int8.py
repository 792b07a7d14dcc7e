"""Products of 8-bit integers against plain ones: as near as the rounding allows, and never over an end."""

import pytest
import torch

from accordant.model.int8 import Int8Product, int8_is_fast
from accordant.model.linear import Linear

pytestmark = pytest.mark.skipif(not int8_is_fast(), reason="this processor has no fast products of 8-bit integers")


def layers(*widths: int) -> list[Linear]:
    torch.manual_seed(0)
    return [Linear(48, width).requires_grad_(False) for width in widths]


@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0, 0.3])
def test_a_product_is_off_by_no_more_than_its_roundings(shift: float) -> None:
    """Half a step of the input times the weights, and half a step of the weights times the input."""
    x = torch.randn(21, 48, generator=torch.Generator().manual_seed(1)) + shift
    both = layers(16, 32)
    found = Int8Product(*both)(x)
    step = (max(0.0, x.max().item()) - min(0.0, x.min().item())) / 254
    for layer, product in zip(both, found, strict=True):
        exact = layer.unpacked(x)
        weight_steps = layer.weight.abs().amax(1) / 127
        bound = (
            step / 2 * (layer.weight.abs().sum(1) + 48 * weight_steps / 2) + x.abs().sum(1)[:, None] * weight_steps / 2
        )
        assert ((product - exact).abs() <= bound * 1.001 + 1e-5).all()
        assert (product - exact).abs().mean() < 0.25 * bound.mean(), "and mostly much nearer"


def test_the_ends_of_the_input_are_kept() -> None:
    """Wrapping around at 256 would turn the largest input into the smallest."""
    (layer,) = layers(48)
    layer.weight.copy_(torch.eye(48))
    layer.bias.zero_()
    for number in range(200):
        x = torch.randn(3, 48, generator=torch.Generator().manual_seed(number))
        (found,) = Int8Product(layer)(x)
        assert (found - x).abs().max() <= (x.max() - x.min()) / 254 * 0.51


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_inputs_that_are_all_the_same(value: float) -> None:
    (layer,) = layers(16)
    x = torch.full((2, 48), value)
    (found,) = Int8Product(layer)(x)
    torch.testing.assert_close(found, layer.unpacked(x), atol=0.02, rtol=0.02)


def test_the_number_format_is_that_of_the_input() -> None:
    (layer,) = layers(16)
    (found,) = Int8Product(layer)(torch.ones(2, 48, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
