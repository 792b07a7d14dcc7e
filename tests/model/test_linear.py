import pytest
import torch

from accordant.model import PackedAttention
from accordant.model.linear import Fused, Linear, pack_linear_layers, unpack_linear_layers
from accordant.testing import tiny_model

DTYPES = [torch.float32, torch.bfloat16]


def layer(dtype: torch.dtype, bias: bool) -> Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Linear(48, 80, bias=bias).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 200])
def test_a_packed_layer_computes_the_same(dtype: torch.dtype, bias: bool, rows: int) -> None:
    linear = layer(dtype, bias)
    x = torch.linspace(-1, 1, rows * 48).view(rows, 48).to(dtype)
    expected = linear(x)
    pack_linear_layers(linear)
    with torch.inference_mode():
        torch.testing.assert_close(linear(x), expected.detach(), atol=1e-6 if dtype == torch.float32 else 0, rtol=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_by_itself_is_what_it_is_among_others(threads: int) -> None:
    """Bit for bit, also where threads share its product; else the last row that is sampled is not what is scored."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        generator = torch.Generator().manual_seed(0)
        linear = Linear(1536, 576, bias=False).bfloat16()
        with torch.no_grad():
            linear.weight.copy_(torch.randn(576, 1536, generator=generator))
        x = torch.randn(200, 1536, generator=generator).bfloat16()
        expected = linear(x).detach()
        pack_linear_layers(linear)
        with torch.inference_mode():
            assert torch.equal(torch.cat([linear(row) for row in x.split(1)]), expected)
            assert torch.equal(linear(x[3]), expected[3])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 64])
def test_fused_layers_compute_what_each_computes(dtype: torch.dtype, bias: bool, rows: int) -> None:
    layers = torch.nn.ModuleList([layer(dtype, bias), layer(dtype, bias)])
    with torch.no_grad():
        layers[1].weight.neg_()
    layers.fused = Fused(*layers)
    x = torch.linspace(-1, 1, rows * 48).view(rows, 48).to(dtype)
    expected = [linear(x).detach() for linear in layers]
    pack_linear_layers(layers)
    with torch.inference_mode():
        assert layers.fused._packed is not None or not torch._C._has_mkldnn
        assert layers[0].alone._packed is None, "no weight is kept twice"
        for found, wanted in zip(layers.fused(x), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-6 if dtype == torch.float32 else 0, rtol=0)
    with torch.no_grad():
        layers[1].weight.mul_(2)
        torch.testing.assert_close(layers.fused(x)[1], layers[1](x))
    assert set(layers.state_dict()) == {f"{n}.{kind}" for n in (0, 1) for kind in ["weight", "bias"][: 1 + bias]}


def test_a_changed_weight_is_never_read_from_the_old_copy() -> None:
    linear = layer(torch.float32, bias=False)
    x = torch.ones(2, 48)
    pack_linear_layers(linear)
    with torch.no_grad():
        linear.weight.mul_(2)
        expected = linear.weight.sum(1)
        torch.testing.assert_close(linear(x)[0], expected)
        pack_linear_layers(linear)
        torch.testing.assert_close(linear(x)[0], expected)


def test_gradients_are_those_of_the_weight() -> None:
    linear = layer(torch.float32, bias=False)
    pack_linear_layers(linear)
    linear(torch.ones(2, 48)).sum().backward()
    assert linear.weight.grad is not None
    torch.testing.assert_close(linear.weight.grad, torch.full((80, 48), 2.0))


def test_a_whole_model_packs_and_unpacks() -> None:
    model = tiny_model()
    ids, attention = torch.arange(7), PackedAttention([7])
    with torch.inference_mode():
        expected = model(ids, attention)
        pack_linear_layers(model)
        torch.testing.assert_close(model(ids, attention), expected, atol=1e-5, rtol=1e-5)
        assert model.lm_head.alone._packed is not None or not torch._C._has_mkldnn
        unpack_linear_layers(model)
        assert torch.equal(model(ids, attention), expected)
