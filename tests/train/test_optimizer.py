"""The optimiser against its definition: float32 masters, summed gradients, a clipped norm."""

import gc
import weakref

import torch
from torch import Tensor, nn

from accordant.train.optimizer import Optimizer, linear_schedule

DTYPES = (torch.float32, torch.bfloat16)


def weights(dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in ((5, 3), (4,))]


def loss(parameters: list[nn.Parameter], scale: float) -> Tensor:
    return sum(((parameter * scale).float() ** 2).sum() for parameter in parameters)  # type: ignore[return-value]


def by_hand(start: list[Tensor], gradients: list[list[Tensor]], rate: float) -> list[Tensor]:
    """AdamW without decay, betas 0.9 and 0.95, gradients clipped to a global norm of 1 (float64)."""
    found = [w.double().clone() for w in start]
    first = [torch.zeros_like(w) for w in found]
    second = [torch.zeros_like(w) for w in found]
    for step, gradient in enumerate(gradients, start=1):
        norm = sum(float(g.double().square().sum()) for g in gradient) ** 0.5
        for i, g in enumerate(gradient):
            clipped = g.double() / max(1.0, norm)
            first[i] = 0.9 * first[i] + 0.1 * clipped
            second[i] = 0.95 * second[i] + 0.05 * clipped**2
            found[i] -= rate * (first[i] / (1 - 0.9**step)) / ((second[i] / (1 - 0.95**step)).sqrt() + 1e-8)
    return found


def test_steps_are_those_of_adamw_on_float32_masters() -> None:
    for dtype in DTYPES:
        parameters = weights(dtype)
        start = [p.detach().clone() for p in parameters]
        optimizer = Optimizer(parameters)
        gradients = []
        for scales in ((1.0, 0.5), (2.0, 1.0, 0.25)):
            gradient = [torch.zeros(p.shape) for p in parameters]
            for scale in scales:
                for g, exact in zip(gradient, torch.autograd.grad(loss(parameters, scale), parameters), strict=True):
                    g += exact.float()
                loss(parameters, scale).backward()
            norm = optimizer.step(0.01)
            assert torch.allclose(torch.tensor(norm), torch.cat([g.flatten() for g in gradient]).norm())
            gradients.append(gradient)
        for master, parameter, expected in zip(
            optimizer.masters, parameters, by_hand(start, gradients, 0.01), strict=True
        ):
            assert torch.allclose(master.value().double(), expected, atol=1e-6)
            assert torch.equal(parameter, master.value().to(dtype))


def test_restored_masters_and_moments_go_on_bit_for_bit() -> None:
    for dtype in DTYPES:
        one, other = Optimizer(weights(dtype)), Optimizer(weights(dtype))

        def take_steps(optimizer: Optimizer, scales: tuple[float, ...]) -> None:
            for scale in scales:
                loss(optimizer.parameters, scale).backward()
                optimizer.step(0.01)

        take_steps(one, (1.0, 0.5))
        saved = {name: tensor.clone() for name, tensor in one.tensors().items()}
        take_steps(one, (2.0, 0.25))
        take_steps(other, (3.0,))
        other.restore(saved)
        take_steps(other, (2.0, 0.25))
        found = other.tensors()
        assert all(torch.equal(tensor, found[name]) for name, tensor in one.tensors().items())
        assert all(map(torch.equal, one.parameters, other.parameters))


def test_a_state_with_whole_masters_is_read() -> None:
    """As states were before the weight held a half of its master."""
    one, other = (Optimizer(weights(torch.bfloat16)) for _ in range(2))
    loss(one.parameters, 1.0).backward()
    one.step(0.01)
    whole = {f"{number}.weight": master.value() for number, master in enumerate(one.masters)}
    other.restore({name: tensor for name, tensor in one.tensors().items() if not name.endswith("lower")} | whole)
    found = other.tensors()
    assert all(torch.equal(tensor, found[name]) for name, tensor in one.tensors().items())


def test_a_weight_without_a_gradient_gets_none_of_the_step_before() -> None:
    for dtype in DTYPES:
        parameters = weights(dtype)
        optimizer = Optimizer(parameters)
        loss(parameters, 1.0).backward()
        optimizer.step(0.0)
        loss(parameters[:1], 1.0).backward()
        expected = float((2 * parameters[0].detach().float()).norm())
        assert abs(optimizer.step(0.0) - expected) < 0.02 * expected


def test_a_trained_model_is_freed_with_its_optimizer() -> None:
    parameters = weights(torch.bfloat16)
    optimizer = Optimizer(parameters)
    loss(parameters, 1.0).backward()
    optimizer.step(0.1)
    alive = weakref.ref(parameters[0])
    del parameters, optimizer
    gc.collect()
    assert alive() is None


def test_the_rate_rises_then_falls_to_its_end_share() -> None:
    rates = [linear_schedule(step, total=10, warmup=2, peak=1.0, end_share=0.2) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert abs(rates[-1] - (0.2 + 0.8 / 8)) < 1e-9
