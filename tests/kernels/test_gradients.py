"""Gradients through the loops against autograd of the plain formulas in float64."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from accordant import kernels
from accordant.model.norm import RMSNorm
from accordant.model.rotary import rotate
from accordant.model.swiglu import swiglu


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a large machine the loops would not be used."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def check_gradients(
    found: Callable[..., Tensor], formula: Callable[..., Tensor], inputs: Sequence[Tensor], seed: int = 7
) -> None:
    """Results of float32 `found` and float64 `formula`, and their gradients for a random direction."""
    narrow = [x.clone().requires_grad_() for x in inputs]
    exact = [x.double().requires_grad_() for x in inputs]
    result, expected = found(*narrow), formula(*exact)
    direction = normal(*result.shape, seed=seed)
    compared = zip(
        [result, *torch.autograd.grad(result, narrow, direction)],
        [expected, *torch.autograd.grad(expected, exact, direction.double())],
        strict=True,
    )
    for own, other in compared:
        assert own.dtype == torch.float32
        assert own.shape == other.shape
        apart, largest = (own - other).detach().abs().max(), other.detach().abs().max()
        assert float(apart) <= 1e-5 * max(1.0, float(largest))


@pytest.mark.parametrize("shape", [(1, 40), (17, 33), (130, 16), (3, 4, 8)])
def test_gradients_of_rms_norm(shape: tuple[int, ...]) -> None:
    norm = RMSNorm(shape[-1], 1e-3)

    def module(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"weight": weight}, (x,))  # type: ignore[no-any-return]

    def formula(x: Tensor, weight: Tensor) -> Tensor:
        return weight * x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt()

    check_gradients(module, formula, [normal(*shape), normal(shape[-1], seed=1)])


def test_rms_norm_of_a_part_and_with_the_same_gradient_everywhere() -> None:
    """Neither the input nor the gradient is contiguous; the gradient of a sum has a stride of 0."""
    norm = RMSNorm(8, 1e-3)
    x = normal(5, 3, 24).requires_grad_()
    norm(x[..., 8:16].transpose(0, 1)).sum().backward()
    exact = x.detach().double().requires_grad_()
    part = exact[..., 8:16]
    (part / (part.square().mean(-1, keepdim=True) + 1e-3).sqrt()).sum().backward()
    assert x.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(x.grad.double(), exact.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (17, 40), (130, 33)])
def test_gradients_of_swiglu(shape: tuple[int, ...]) -> None:
    check_gradients(swiglu, lambda gate, up: F.silu(gate) * up, [normal(*shape) * 4, normal(*shape, seed=1)])


def test_swiglu_of_halves() -> None:
    """Both inputs are parts of one product."""
    both = normal(17, 80)
    check_gradients(lambda x: swiglu(x[:, :40], x[:, 40:]), lambda x: F.silu(x[:, :40]) * x[:, 40:], [both])


@pytest.mark.parametrize(("gate", "up"), [(True, False), (False, True)])
def test_swiglu_with_one_input_that_is_not_trained(gate: bool, up: bool) -> None:
    x, y = normal(17).requires_grad_(gate), normal(17, seed=1).requires_grad_(up)
    swiglu(x, y).sum().backward()
    wide_x, wide_y = x.detach().double().requires_grad_(gate), y.detach().double().requires_grad_(up)
    (F.silu(wide_x) * wide_y).sum().backward()
    for own, other in [(x.grad, wide_x.grad), (y.grad, wide_y.grad)]:
        assert (own is None) == (other is None)
        if own is not None and other is not None:
            torch.testing.assert_close(own.double(), other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("tokens", "heads", "size"), [(1, 1, 2), (17, 3, 8), (33, 1, 40)])
def test_gradients_of_rotate(tokens: int, heads: int, size: int) -> None:
    """The plain formula: a pair is a complex number, which is multiplied by another of length 1."""
    angle = normal(tokens, 1, size // 2, seed=1) * 3
    cosine, sine = torch.cat([angle.cos()] * 2, -1), torch.cat((-angle.sin(), angle.sin()), -1)

    def formula(x: Tensor) -> Tensor:
        pairs = torch.complex(x[..., : size // 2], x[..., size // 2 :])
        turned = pairs * torch.polar(torch.ones_like(angle).double(), angle.double())
        return torch.cat((turned.real, turned.imag), -1)

    check_gradients(lambda x: rotate(x, cosine, sine), formula, [normal(tokens, heads, size)])
    rows = normal(tokens, 2 * heads * size)
    check_gradients(
        lambda x: rotate(x[:, heads * size :].view(tokens, heads, size), cosine, sine),
        lambda x: formula(x[:, heads * size :].view(tokens, heads, size)),
        [rows],
    )


def test_no_gradient_is_kept_where_none_is_wanted() -> None:
    x = normal(17, 40).requires_grad_()
    with torch.no_grad():
        assert not RMSNorm(40, 1e-3)(x).requires_grad
        assert not swiglu(x, x).requires_grad
        assert not rotate(x[:, None], torch.ones(17, 1, 40), torch.ones(17, 1, 40)).requires_grad
    assert not swiglu(x.detach(), x.detach()).requires_grad


@pytest.mark.parametrize("rows", [40, 300])
def test_other_threads_on_the_way_back(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """What the loops kept on the way there is understood by torch's operators on the way back, and the reverse."""
    x, direction = normal(rows, 300), normal(rows, 300, seed=1)
    found = []
    for there, back in [(True, True), (True, False), (False, True), (False, False)]:
        norm, given = RMSNorm(300, 1e-3), x.clone().requires_grad_()
        monkeypatch.setattr(kernels, "suits", lambda *tensors, answer=there: answer)
        result = norm(given)
        monkeypatch.setattr(kernels, "suits", lambda *tensors, answer=back: answer)
        result.backward(direction)
        found.append(given.grad)
    for gradient in found[1:]:
        torch.testing.assert_close(gradient, found[0], atol=1e-5, rtol=1e-5)
