"""Each loop against sums in float64, written down number by number.

Bounds: a rounding to bfloat16 moves a number by 2^-8 of itself at most. What comes out of float32 arithmetic alone is
good to 1e-5 of the largest terms that were added up.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.kernels.memory import Memory, bits
from torch import Tensor
from torch.nn import functional as F

from accordant import kernels

Array = NDArray[np.float64]
DTYPES = [torch.float32, torch.bfloat16]
ROUNDING = 2.0**-8
NEGLIGIBLE = 1e-30
"""e^-87 stands for every smaller power of e."""
EXTREMES = [
    0.0,
    -0.0,
    1e4,
    -1e4,
    88.7,
    -88.7,
    103.0,
    -103.0,
    1e-30,
    -1e-30,
    1e-20,
    3.0,
    -1.278,
    20.0,
    -20.0,
    87.0,
    -87.0,
]
NO_NUMBERS = [math.nan, math.inf, -math.inf]


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """Where all tensors of a test lie."""
    held = Memory()
    monkeypatch.setattr(kernels, "torch", held)
    monkeypatch.setattr(Tensor, "new_empty", lambda like, *shape: held.empty(*shape, dtype=like.dtype))
    yield held
    held.check()


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    kind: torch.dtype = request.param
    return kind


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def wide(x: Tensor) -> Array:
    return x.detach().double().numpy()


def check(
    found: Tensor, exact: Array, roundings: int = 1, terms: Array | None = None, rounds: Array | None = None
) -> None:
    """How large is what was added up (`terms`) and what was rounded (`rounds`): as `exact` unless given."""
    assert tuple(found.shape) == exact.shape
    bound = 1e-5 * (np.abs(exact) if terms is None else terms) + NEGLIGIBLE
    if found.dtype == torch.bfloat16:
        bound = bound + roundings * ROUNDING * (np.abs(exact) if rounds is None else rounds)
    error = np.abs(wide(found) - exact)
    assert np.all(error <= bound), f"off by {np.nanmax(error / bound):.2f} of the bound, {np.isnan(error).sum()} NaN"


def steps(found: Tensor, expected: Tensor) -> Tensor:
    """How many numbers of the dtype lie between two of like sign; 0 and -0 are the same."""
    assert found.dtype == expected.dtype
    apart = (bits(found + 0).long() - bits(expected + 0).long()).abs()
    return torch.where(found == expected, 0, apart)


# RMSNorm

SHAPES = [(1, 1), (1, 40), (3, 17), (5, 16), (33, 40), (130, 33), (2, 3, 24)]


def norm_exactly(x: Array, weight: Array, epsilon: float) -> tuple[Array, Array]:
    out, scales = np.zeros_like(x), np.zeros(len(x))
    for row in range(len(x)):
        scales[row] = 1 / math.sqrt(sum(number * number for number in x[row]) / len(weight) + epsilon)
        for i in range(len(weight)):
            out[row, i] = weight[i] * x[row, i] * scales[row]
    return out, scales


@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm(memory: Memory, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x, weight = memory.keep(normal(*shape, scale=3).to(dtype)), memory.keep(normal(shape[-1], seed=1).to(dtype))
    out, scales = kernels.rms_norm(x, weight, 1e-5)
    exact, exact_scales = norm_exactly(wide(x).reshape(-1, shape[-1]), wide(weight), 1e-5)
    check(out.view(-1, shape[-1]), exact, roundings=2)
    assert scales.dtype == torch.float32
    assert scales.shape == (*x.shape[:-1], 1)
    check(scales.flatten(), exact_scales)
    assert out.shape == x.shape


@pytest.mark.parametrize("size", [1e-20, 1e-4, 1e4, 1e15])
def test_rms_norm_of_small_and_large_numbers(memory: Memory, dtype: torch.dtype, size: float) -> None:
    x = memory.keep(torch.cat((normal(3, 40, scale=size), torch.full((1, 40), size))).to(dtype))
    weight = memory.keep(torch.ones(40, dtype=dtype))
    check(kernels.rms_norm(x, weight, 1e-6)[0], norm_exactly(wide(x), wide(weight), 1e-6)[0], roundings=2)


@pytest.mark.parametrize("no_number", NO_NUMBERS)
def test_rms_norm_hides_no_nan(memory: Memory, dtype: torch.dtype, no_number: float) -> None:
    x, weight = normal(4, 40).to(dtype), torch.ones(40, dtype=dtype)
    clean = kernels.rms_norm(x, weight, 1e-5)[0]
    x[2, 21] = no_number
    out = kernels.rms_norm(x, weight, 1e-5)[0]
    assert not out[2, 21].isfinite()
    assert math.isfinite(no_number) or not math.isnan(no_number) or bool(out[2].isnan().all())
    others = [0, 1, 3]
    assert torch.equal(bits(out[others]), bits(clean[others]))


@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm_backward(memory: Memory, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """The derivative is the Jacobian of y_i = w_i x_i s: w_i s (i = j) - w_i x_i x_j s^3 / size."""
    size = shape[-1]
    x, weight = memory.keep(normal(*shape, scale=3).to(dtype)), memory.keep(normal(size, seed=1).to(dtype))
    gradient = memory.keep(normal(*shape, seed=2).to(dtype))
    _, scales = kernels.rms_norm(x, weight, 1e-5)
    by_x, by_weight = kernels.rms_norm_backward(x, weight, scales, gradient)
    flat, w, g = wide(x).reshape(-1, size), wide(weight), wide(gradient).reshape(-1, size)
    _, s = norm_exactly(flat, w, 1e-5)
    exact_x, terms, exact_w, terms_w = np.zeros_like(flat), np.zeros_like(flat), np.zeros(size), np.zeros(size)
    for row in range(len(flat)):
        jacobian = np.diag(w) * s[row] - np.outer(w * flat[row], flat[row]) * s[row] ** 3 / size
        exact_x[row] = g[row] @ jacobian
        along = np.outer(w * flat[row], flat[row]) * s[row] ** 3 / size
        terms[row] = np.abs(g[row]) @ (np.abs(np.diag(w)) * s[row] + np.abs(along))
        exact_w += g[row] * flat[row] * s[row]
        terms_w += np.abs(g[row] * flat[row] * s[row])
    check(by_x.view(-1, size), exact_x, terms=terms)
    check(by_weight, exact_w, terms=terms_w)
    assert by_x.dtype == by_weight.dtype == dtype


@pytest.mark.parametrize("no_number", NO_NUMBERS)
def test_rms_norm_backward_hides_no_nan(memory: Memory, dtype: torch.dtype, no_number: float) -> None:
    x, weight, gradient = normal(4, 40).to(dtype), torch.ones(40, dtype=dtype), normal(4, 40, seed=1).to(dtype)
    gradient[1, 33] = no_number
    _, scales = kernels.rms_norm(x, weight, 1e-5)
    by_x, by_weight = kernels.rms_norm_backward(x, weight, scales, gradient)
    assert not by_x[1].isfinite().any()
    assert by_x[[0, 2, 3]].isfinite().all()
    assert by_weight.isfinite().tolist() == [i != 33 for i in range(40)]


# The gate


def sigmoid_exactly(x: Array) -> Array:
    return np.array([1 / (1 + math.exp(-n)) if n > -700 else 0.0 for n in x.ravel()]).reshape(x.shape)


def gates(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Usual numbers and, as far as there is room, extreme ones."""
    gate = normal(*shape, scale=3)
    gate.view(-1)[: len(EXTREMES)] = torch.tensor(EXTREMES)[: gate.numel()]
    return gate.to(dtype)


@pytest.mark.parametrize("shape", [(1,), (17,), (33, 40), (130, 7)])
def test_swiglu(memory: Memory, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    gate, up = memory.keep(gates(shape, dtype)), memory.keep(normal(*shape, seed=1).to(dtype))
    x = wide(gate)
    check(kernels.swiglu(gate, up), x * sigmoid_exactly(x) * wide(up), roundings=2)


@pytest.mark.parametrize("shape", [(1,), (17,), (33, 40), (130, 7)])
def test_swiglu_backward(memory: Memory, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    gate, up = memory.keep(gates(shape, dtype)), memory.keep(normal(*shape, seed=1).to(dtype))
    gradient = memory.keep(normal(*shape, seed=2).to(dtype))
    by_gate, by_up = kernels.swiglu_backward(gate, up, gradient)
    x, g, u = wide(gate), wide(gradient), wide(up)
    s, other = sigmoid_exactly(x), sigmoid_exactly(-x)
    check(by_up, g * x * s, roundings=2)
    check(by_gate, g * u * s * (1 + x * other), roundings=2, terms=np.abs(g * u * s) * (1 + np.abs(x) * other))


def test_swiglu_hides_no_nan(dtype: torch.dtype) -> None:
    usual = torch.ones(6, dtype=dtype)
    odd = torch.tensor([1.0, *NO_NUMBERS, 1.0, 1.0], dtype=dtype)
    finite = [True, False, False, False, True, True]
    # The gate of minus infinity would have the limit 0, which torch's operator does not give either.
    assert kernels.swiglu(odd, usual).isfinite().tolist() == finite
    assert kernels.swiglu(usual, odd).isfinite().tolist() == finite
    for by in kernels.swiglu_backward(usual, usual, odd):
        assert by.isfinite().tolist() == finite
    assert kernels.swiglu_backward(usual, odd, usual)[0].isfinite().tolist() == finite
    by_gate, by_up = kernels.swiglu_backward(odd, usual, usual)
    assert by_gate[1].isnan()
    assert by_up.isfinite().tolist() == finite


# Rotary positions


def angles(tokens: int, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine (tokens, 1, size); the sine's first half is NaN, for nobody is to look at it."""
    half = normal(tokens, 1, size // 2, seed=9, scale=5)
    cosine, sine = half.cos().to(dtype), half.sin().to(dtype)
    return torch.cat((cosine, cosine), -1), torch.cat((torch.full_like(sine, torch.nan), sine), -1)


def turned_exactly(x: Array, cosine: Array, sine: Array, sign: float) -> tuple[Array, Array]:
    """The turned pairs, and the size of what was added up."""
    out, terms, half = np.zeros_like(x), np.zeros_like(x), x.shape[-1] // 2
    for token, head, i in np.ndindex(x.shape[0], x.shape[1], half):
        c, s = cosine[token, 0, half + i], sign * sine[token, 0, half + i]
        a, b = x[token, head, i], x[token, head, half + i]
        out[token, head, i], terms[token, head, i] = a * c - b * s, abs(a * c) + abs(b * s)
        out[token, head, half + i], terms[token, head, half + i] = b * c + a * s, abs(b * c) + abs(a * s)
    return out, terms


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("tokens", "heads", "size"), [(1, 1, 2), (1, 3, 40), (17, 3, 8), (33, 1, 40), (130, 2, 6)])
def test_rotate(memory: Memory, dtype: torch.dtype, tokens: int, heads: int, size: int, sign: float) -> None:
    x = memory.keep(normal(tokens, heads, size).to(dtype))
    cosine, sine = map(memory.keep, angles(tokens, size, dtype))
    exact, terms = turned_exactly(wide(x), wide(cosine), wide(sine), sign)
    check(kernels.rotate(x, cosine, sine, sign), exact, roundings=2, terms=terms, rounds=terms)


@pytest.mark.parametrize("tokens", [1, 17])
def test_rotate_a_part_of_larger_rows(memory: Memory, dtype: torch.dtype, tokens: int) -> None:
    cosine, sine = angles(tokens, 8, dtype)
    rows = memory.keep(normal(tokens, 7 * 8).to(dtype))
    for part in (rows[:, 8:32].view(tokens, 3, 8), rows[:, :56].view(tokens, 7, 8), rows.view(tokens, 7, 8)[:, ::2]):
        expected = kernels.rotate(part.clone(), cosine, sine)
        assert torch.equal(bits(kernels.rotate(part, cosine, sine)), bits(expected))
    across = rows.view(tokens, 8, 7).transpose(1, 2)
    assert torch.equal(bits(kernels.rotate(across, cosine, sine)), bits(kernels.rotate(across.clone(), cosine, sine)))


@pytest.mark.parametrize("no_number", NO_NUMBERS)
def test_rotate_hides_no_nan(dtype: torch.dtype, no_number: float) -> None:
    x = normal(2, 3, 40).to(dtype)
    x[1, 2, 7] = no_number
    out = kernels.rotate(x, *angles(2, 40, dtype)).isfinite()
    assert [tuple(place) for place in (~out).nonzero().tolist()] == [(1, 2, 7), (1, 2, 27)]


# The softmax of attention


SIGHTS = {
    "causal": (3, 2, 5, 5, [[(0, 0, t + 1) for t in range(5)]]),
    "one token": (1, 1, 1, 1, [[(0, 0, 1)]]),
    "wide": (2, 3, 130, 130, [[(0, 0, t + 1) for t in range(130)]]),
    "steps": (3, 2, 1, 96, [[(0, 0, 1)], [(0, 0, 96)], [(0, 0, 65)]]),
    "a piece": (1, 2, 7, 40, [[(0, 0, t + 34) for t in range(7)]]),
    "branches": (2, 2, 6, 6, [[(0, 0, 1), (0, 0, 2), (2, 2, 3), (2, 2, 4), (2, 4, 5), (2, 4, 6)],
                              [(0, 0, 1), (1, 1, 2), (1, 2, 3), (1, 2, 4), (0, 0, 5), (0, 0, 6)]]),
    "far branches": (1, 2, 2, 300, [[(70, 190, 191), (63, 200, 290)]]),
}  # fmt: skip
"""Rows, heads, tokens, slots, and what each token of a row sees."""


@pytest.mark.parametrize("case", SIGHTS)
def test_softmax(memory: Memory, dtype: torch.dtype, case: str) -> None:
    rows, heads, tokens, slots, sights = SIGHTS[case]
    scores = memory.keep(normal(rows, heads, tokens, slots, scale=3).to(dtype))
    found = kernels.softmax(scores, memory.keep(torch.tensor(sights)))
    exact = np.zeros(scores.shape)
    for row, head, token in np.ndindex(rows, heads, tokens):
        stem, begin, end = sights[row % len(sights)][token]
        line = wide(scores[row, head, token])
        seen = [*range(stem), *range(begin, end)]
        powers = {slot: math.exp(line[slot]) for slot in seen}
        for slot in seen:
            exact[row, head, token, slot] = powers[slot] / sum(powers.values())
    check(found, exact)
    assert (found == 0).sum() == (exact == 0).sum()


@pytest.mark.parametrize("scale", [0.0, 1e4, 1e30])
def test_softmax_of_extreme_scores(memory: Memory, dtype: torch.dtype, scale: float) -> None:
    scores = memory.keep((normal(1, 1, 40, 40) * scale + (-1e30 if scale else -1e4)).to(dtype))
    sights = torch.tensor([[(0, 0, 40)] * 40])
    check(kernels.softmax(scores, sights), torch.softmax(scores.double(), -1).numpy())


def test_softmax_gives_nothing_to_minus_infinity(memory: Memory, dtype: torch.dtype) -> None:
    scores = normal(1, 1, 3, 40).to(dtype)
    scores[0, 0, :, 5:20] = -math.inf
    found = kernels.softmax(memory.keep(scores), torch.tensor([[(0, 0, 40)] * 3]))
    assert (found[..., 5:20] == 0).all()
    check(found, torch.softmax(scores.double(), -1).numpy())


@pytest.mark.parametrize("no_number", NO_NUMBERS[:2])
def test_softmax_hides_no_nan_and_nothing_unseen_counts(dtype: torch.dtype, no_number: float) -> None:
    scores = normal(2, 2, 40, 40).to(dtype)
    scores[1, 0, :, 30] = no_number
    found = kernels.softmax(scores, torch.tensor([[(0, 0, t + 1) for t in range(40)]])).isfinite()
    assert found[0].all()
    assert found[1, 1].all()
    assert found[1, 0, :30].all()
    assert not found[1, 0, 30:, :31].any()


def test_weights_are_the_same_bits_wherever_a_line_stands(memory: Memory, dtype: torch.dtype) -> None:
    """In a pass, in a shorter one, in a step of the engine whose cache has more slots, and by itself."""
    scores = memory.keep(normal(2, 3, 130, 130, scale=3).to(dtype))
    sights = torch.tensor([[(0, 0, token + 1) for token in range(130)]])
    whole = kernels.softmax(scores, sights)
    for length in (1, 2, 15, 16, 17, 63, 64, 65, 89, 95, 100, 127, 128, 129):
        part = kernels.softmax(scores[:, :, :length, :length].contiguous(), sights[:, :length])
        assert torch.equal(bits(part), bits(whole[:, :, :length, :length]))
        for slots in (length, 96, 160, 192):
            room = normal(2, 3, 1, max(slots, length), seed=1).to(dtype)
            room[:, :, 0, :length] = scores[:, :, length - 1, :length]
            step = kernels.softmax(memory.keep(room), torch.tensor([[(0, 0, length)]]))
            assert torch.equal(bits(step[:, :, 0, :length]), bits(whole[:, :, length - 1, :length]))
            assert not step[:, :, 0, length:].any()


@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (3, 17), (5, 40), (2, 33), (3, 130)])
def test_softmax_backward(memory: Memory, dtype: torch.dtype, rows: int, tokens: int) -> None:
    """The gradient by scores is that by weights times the Jacobian diag(w) - w w'."""
    weights = memory.keep(normal(rows, tokens, scale=2).softmax(-1).to(dtype))
    gradient = normal(rows, tokens, seed=1).to(dtype)
    w, g = wide(weights), wide(gradient)
    exact = np.stack([g[row] @ (np.diag(w[row]) - np.outer(w[row], w[row])) for row in range(rows)])
    terms = w * (np.abs(g) + (w * np.abs(g)).sum(-1, keepdims=True))
    held = memory.hold(gradient)
    found = kernels.softmax_backward_(weights, held)
    assert found is held
    check(found, exact, terms=terms)


@pytest.mark.parametrize("no_number", NO_NUMBERS)
def test_softmax_backward_hides_no_nan(dtype: torch.dtype, no_number: float) -> None:
    weights, gradient = normal(3, 40).softmax(-1).to(dtype), normal(3, 40, seed=1).to(dtype)
    gradient[1, 39] = no_number
    found = kernels.softmax_backward_(weights, gradient)
    assert not found[1].isfinite().any()
    assert found[[0, 2]].isfinite().all()


# No row at all


def test_no_tokens(memory: Memory, dtype: torch.dtype) -> None:
    """A batch may have none, and a gradient by weights is then 0."""
    x, weight = memory.keep(normal(0, 40).to(dtype)), memory.keep(torch.ones(40, dtype=dtype))
    out, scales = kernels.rms_norm(x, weight, 1e-5)
    by_x, by_weight = kernels.rms_norm_backward(x, weight, scales, x)
    assert by_weight.tolist() == [0] * 40
    gated, turned = kernels.swiglu(x, x), kernels.rotate(x[:, None], x[:, None], x[:, None])
    assert {tuple(t.shape) for t in (out, by_x, gated, turned[:, 0], *kernels.swiglu_backward(x, x, x))} == {(0, 40)}


# A row is what it is alone


def test_rows_do_not_depend_on_each_other(memory: Memory, dtype: torch.dtype) -> None:
    """Bit for bit: an answer does not change with what others ask at the same time."""
    x, gradient, weight = normal(17, 40).to(dtype), normal(17, 40, seed=1).to(dtype), normal(40, seed=2).to(dtype)
    out, scales = kernels.rms_norm(x, weight, 1e-5)
    by_x, _ = kernels.rms_norm_backward(x, weight, scales, gradient)
    gated, turned = kernels.swiglu(x, gradient), kernels.rotate(x[:, None], *angles(17, 40, dtype))
    by_gate, by_up = kernels.swiglu_backward(x, gradient, out)
    softened = kernels.softmax_backward_(x.softmax(-1), gradient.clone())
    for row in range(17):
        one = slice(row, row + 1)
        alone, scale = kernels.rms_norm(x[one], weight, 1e-5)
        assert torch.equal(bits(alone), bits(out[one]))
        assert torch.equal(bits(kernels.rms_norm_backward(x[one], weight, scale, gradient[one])[0]), bits(by_x[one]))
        cosine, sine = angles(17, 40, dtype)
        assert torch.equal(bits(kernels.rotate(x[one, None], cosine[one], sine[one])), bits(turned[one]))
        softened_alone = kernels.softmax_backward_(x[one].softmax(-1), gradient[one].clone())
        assert torch.equal(bits(softened_alone), bits(softened[one]))
        for i in (0, 7, 39):
            number = slice(i, i + 1)
            assert torch.equal(bits(kernels.swiglu(x[row, number], gradient[row, number])), bits(gated[row, number]))
            backs = kernels.swiglu_backward(x[row, number], gradient[row, number], out[row, number])
            assert torch.equal(bits(backs[0]), bits(by_gate[row, number]))
            assert torch.equal(bits(backs[1]), bits(by_up[row, number]))


# torch's operators in bfloat16, which round at the same places


def narrow(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return normal(*shape, seed=seed, scale=scale).bfloat16()


def check_steps(found: Tensor, expected: Tensor, most: int, different: float) -> None:
    """At most so many steps apart, and so large a share of the numbers not the same."""
    apart = steps(found, expected)
    assert int(apart.max()) <= most
    assert float((apart > 0).double().mean()) <= different


def test_rms_norm_rounds_as_torch() -> None:
    """Sums in another order move a float32 by 1e-7, hence one bfloat16 in thousands by a step, before the weight."""
    x, weight = narrow(130, 576, scale=3), narrow(576, seed=1)
    scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5)
    expected = weight * (x.float() * scale).to(x.dtype)
    check_steps(kernels.rms_norm(x, weight, 1e-5)[0], expected, most=2, different=1e-3)


def test_swiglu_rounds_as_torch() -> None:
    """e^x differs in its last places, and so one silu in thousands is a step away before the product."""
    gate, up = narrow(130, 576, scale=3), narrow(130, 576, seed=1)
    check_steps(kernels.swiglu(gate, up), F.silu(gate) * up, most=2, different=1e-3)


def test_swiglu_backward_rounds_as_torch() -> None:
    """One number in thousands is a step away; more where silu' is nearly 0, and float32 roundings are seen."""
    gate, up = narrow(130, 576, scale=3).requires_grad_(), narrow(130, 576, seed=1).requires_grad_()
    gradient = narrow(130, 576, seed=2)
    found = kernels.swiglu_backward(gate, up, gradient)
    for own, expected in zip(found, torch.autograd.grad(F.silu(gate) * up, (gate, up), gradient), strict=True):
        torch.testing.assert_close(own, expected, rtol=2 * ROUNDING, atol=1e-5)
        assert float((own != expected).double().mean()) < 1e-3


def test_rms_norm_backward_rounds_as_torch() -> None:
    """Rounded once, at the end."""
    x, weight, gradient = narrow(130, 576, scale=3), narrow(576, seed=1), narrow(130, 576, seed=2)
    _, scales = kernels.rms_norm(x, weight, 1e-5)
    normal_x, wide_gradient = x.float() * scales, gradient.float()
    along = wide_gradient * weight
    by_x = ((along - normal_x * (along * normal_x).mean(-1, keepdim=True)) * scales).bfloat16()
    by_weight = (wide_gradient * normal_x).sum(0).bfloat16()
    for own, expected in zip(kernels.rms_norm_backward(x, weight, scales, gradient), (by_x, by_weight), strict=True):
        torch.testing.assert_close(own, expected, rtol=2 * ROUNDING, atol=1e-5)
        assert float((own != expected).double().mean()) < 5e-3


def test_rotate_rounds_as_torch() -> None:
    """Products and sums of two are rounded the same everywhere: no bit differs but the sign of 0."""
    x, (cosine, sine) = narrow(130, 3, 64), angles(130, 64, torch.bfloat16)
    sine[..., :32] = -sine[..., 32:]
    expected = x * cosine + x.roll(32, -1) * sine
    assert int(steps(kernels.rotate(x, cosine, sine), expected).max()) == 0


def test_softmax_rounds_as_torch() -> None:
    scores, hidden = narrow(4, 3, 130, 130, scale=3), torch.ones(130, 130, dtype=torch.bool).triu(1)
    expected = scores.masked_fill(hidden, -math.inf).softmax(-1)
    found = kernels.softmax(scores, torch.tensor([[(0, 0, token + 1) for token in range(130)]]))
    check_steps(found, expected, most=1, different=1e-4)


def test_softmax_backward_is_as_torchs_or_nearer() -> None:
    """Where the two terms nearly cancel, both are off by some float32 roundings of the terms: no count of steps."""
    weights, gradient = narrow(130, 130).softmax(-1), narrow(130, 130, seed=1)
    along = gradient.float() * weights
    expected = (along - weights.float() * along.sum(-1, keepdim=True)).to(weights.dtype)
    found = kernels.softmax_backward_(weights, gradient.clone())
    torch.testing.assert_close(found, expected, rtol=ROUNDING * 2, atol=1e-7)
    assert float((found != expected).double().mean()) < 1e-3
