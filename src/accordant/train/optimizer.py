"""AdamW on float32 masters: a bfloat16 model would round most small updates away."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from accordant.errors import NotFinite
from accordant.train.masters import Master, places
from accordant.train.workers import ALONE, Workers


class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) on float32 masters of a model's trainable weights.

    Gradients of several micro-batches are added up in float32 as they appear; that of a single one stays as it came.
    Neither a gradient nor a whole master lives longer than it must: activations take their place.

    Args:
        parameters: the weights to train.
        betas: decay of the two moments.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled, for matrices only.
        clip: largest global gradient norm.
        workers: processes whose gradients are summed before each step.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        betas: tuple[float, float] = (0.9, 0.95),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        workers: Workers = ALONE,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.masters = [Master(p) for p in self.parameters]
        self.clip, self.workers = clip, workers
        self._betas, self._epsilon, self._weight_decay = betas, epsilon, weight_decay
        self._moments = [Moments.none_yet(p) for p in self.parameters]
        self._gathered: dict[int, Tensor] = {}
        for number, parameter in enumerate(self.parameters):
            if parameter.dtype != torch.float32:
                parameter.register_post_accumulate_grad_hook(_gather_into(self._gathered, number))  # type: ignore[no-untyped-call]

    @property
    def gradients(self) -> list[Tensor | None]:
        """What each weight has gathered since the last step, if anything."""
        return [self._gathered.get(number, parameter.grad) for number, parameter in enumerate(self.parameters)]

    def step(self, learning_rate: float) -> float:
        """Apply the gradients gathered since the last step and clear them; returns their norm before clipping.

        Raises:
            NotFinite: when the norm is not; then the weights and moments are still what they were.
        """
        gradients = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(self.parameters, self.gradients, strict=True)
        ]
        if self.workers.size > 1:
            gradients = [gradient.float() for gradient in gradients]
            self.workers.sum_tensors(gradients)
        norm = _norm(gradients)
        if not math.isfinite(norm):
            raise NotFinite(f"the gradient is not finite (norm {float(norm)}); lower the learning rate")
        share = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        with torch.no_grad():
            for master, gradient, moments in zip(self.masters, gradients, self._moments, strict=True):
                self._step_one(master, gradient, share, moments, learning_rate)
        self.clear()
        return float(norm)

    def _step_one(
        self, master: Master, gradient: Tensor, share: Tensor, moments: "Moments", learning_rate: float
    ) -> None:
        """Apply `share` of one weight's gradient, a piece at a time."""
        gradient, first, second = (t.view(-1) for t in (gradient, moments.exp_avg, moments.exp_avg_sq))
        decay = self._weight_decay if master.weight.ndim > 1 else 0.0
        for place in places(len(gradient)):
            piece, clipped = master.read(place), gradient[place].float().mul_(share)
            adamw(
                [piece], [clipped], [first[place]], [second[place]], [], [moments.step.clone()], fused=True,
                lr=learning_rate, beta1=self._betas[0], beta2=self._betas[1], eps=self._epsilon, weight_decay=decay,
                amsgrad=False, maximize=False,
            )  # fmt: skip
            master.write(place, piece)
        moments.step.add_(1)

    def clear(self) -> None:
        """Forget gathered gradients, and give their memory back: the activations of the next pass need as much."""
        self._gathered.clear()
        for parameter in self.parameters:  # those of a bfloat16 model keep one only where a pass was broken off
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Masters, in two parts where they have two, and moments, by stable names.

        With them `restore` continues bit for bit.
        """
        named: dict[str, Tensor] = {}
        for number, (master, moments) in enumerate(zip(self.masters, self._moments, strict=True)):
            named[f"{number}.weight"] = master.weight
            if master.lower is not None:
                named[f"{number}.lower"] = master.lower
            if moments.step:
                named |= {f"{number}.{name}": tensor for name, tensor in moments._asdict().items()}
        return named

    def restore(self, named: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave, and the weights into the model; what was gathered since is forgotten."""
        self.clear()
        with torch.no_grad():
            for number, (master, moments) in enumerate(zip(self.masters, self._moments, strict=True)):
                weight, lower = named[f"{number}.weight"], named.get(f"{number}.lower")
                if master.lower is None or lower is None:  # states had float32 masters before there was `lower`
                    master.set(weight)
                else:
                    master.weight.copy_(weight)
                    master.lower.copy_(lower)
                for name, moment in moments._asdict().items():
                    moment.copy_(named.get(f"{number}.{name}", torch.zeros(())))  # there is none before the first step


class Moments(NamedTuple):
    """AdamW's state of one weight: steps so far, and the moving means of its gradient and of that squared."""

    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    @classmethod
    def none_yet(cls, weight: Tensor) -> Self:
        """Before the first step."""
        step = torch.zeros((), device=weight.device)
        return cls(step, *(torch.zeros_like(weight, dtype=torch.float32) for _ in range(2)))


def _norm(gradients: Iterable[Tensor]) -> Tensor:
    """The norm of all of them together, in float32."""
    pieces = (gradient.view(-1)[place] for gradient in gradients for place in places(gradient.numel()))
    return torch.stack([piece.float().norm() for piece in pieces]).square().sum().sqrt()


def _gather_into(gathered: dict[int, Tensor], number: int) -> Callable[[Tensor], None]:
    """A hook that knows nothing of the optimiser: it would keep the model alive, as no collector sees through hooks."""

    def gather(parameter: Tensor) -> None:
        if parameter.grad is None:
            return
        gradient = parameter.grad
        if number in gathered:  # adding another dtype is ten times slower (docs/log.md)
            gradient = gathered[number].float().add_(gradient.float())
        gathered[number] = gradient
        parameter.grad = None

    return gather


def linear_schedule(step: int, total: int, warmup: int, peak: float, end_share: float = 0.0) -> float:
    """Learning rate of `step` (from 0): up to `peak` over `warmup` steps, then straight down to `end_share * peak`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    left = (total - step) / max(1, total - warmup)
    return peak * (end_share + (1 - end_share) * left)
