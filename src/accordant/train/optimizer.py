"""AdamW on float32 masters: a bfloat16 model would round most small updates away."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from accordant.errors import NotFinite
from accordant.train.workers import ALONE, Workers


class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) over float32 copies of a model's trainable weights.

    Gradients of each micro-batch are added up in float32 as they appear. For a float32 model the weights are their
    own masters and nothing is copied.

    Args:
        parameters: the weights to train; their dtype decides whether masters are needed.
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
        self.clip, self.workers = clip, workers
        self._mixed = self.parameters[0].dtype != torch.float32
        self.masters: list[Tensor] = (
            [p.detach().float().clone() for p in self.parameters] if self._mixed else list(self.parameters)
        )
        self._gathered: set[Tensor] = set()
        if self._mixed:
            for parameter, master in zip(self.parameters, self.masters, strict=True):
                parameter.register_post_accumulate_grad_hook(_gather_into(master, self._gathered))  # type: ignore[no-untyped-call]
        matrices = [m for m in self.masters if m.ndim > 1]
        vectors = [m for m in self.masters if m.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, eps=epsilon, fused=True)

    def step(self, learning_rate: float) -> float:
        """Apply the gradients gathered since the last step and clear them; returns their norm before clipping.

        Raises:
            NotFinite: when the norm is not; then the weights and moments are still what they were.
        """
        for master in self.masters:
            if master.grad is None or (self._mixed and master not in self._gathered):
                master.grad = torch.zeros_like(master)
        self.workers.sum_tensors([master.grad for master in self.masters if master.grad is not None])
        norm = float(nn.utils.clip_grad_norm_(self.masters, self.clip))
        if not math.isfinite(norm):
            raise NotFinite(f"the gradient is not finite (norm {norm}); lower the learning rate")
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.step()
        self.clear()
        self._publish()
        return norm

    def clear(self) -> None:
        """Forget gathered gradients; those of masters keep their memory, which is large and needed again at once."""
        self._gathered.clear()
        for parameter in self.parameters:  # those of a bfloat16 model keep one only where a pass was broken off
            parameter.grad = None

    def release(self) -> None:
        """As `clear`, and give the gradients' memory back: another model's gradients come next."""
        self.clear()
        for master in self.masters:
            master.grad = None

    def _publish(self) -> None:
        if self._mixed:
            with torch.no_grad():
                for parameter, master in zip(self.parameters, self.masters, strict=True):
                    parameter.copy_(master)

    def tensors(self) -> dict[str, Tensor]:
        """Masters and moments, by stable names; with them `restore` continues bit for bit."""
        named: dict[str, Tensor] = {}
        for number, master in enumerate(self.masters):
            named[f"{number}.weight"] = master.detach()
            for key, value in self._adam.state.get(master, {}).items():
                named[f"{number}.{key}"] = value
        return named

    def restore(self, named: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave, and the weights into the model; what was gathered since is forgotten."""
        self.clear()
        self._adam.state.clear()
        with torch.no_grad():
            for number, master in enumerate(self.masters):
                master.copy_(named[f"{number}.weight"])
                moments = {
                    key: named[f"{number}.{key}"].to(master.device, copy=True)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{number}.{key}" in named
                }
                if moments:
                    self._adam.state[master] = moments
        self._publish()


def _gather_into(master: Tensor, gathered: set[Tensor]) -> Callable[[Tensor], None]:
    """A hook that knows nothing of the optimiser: it would keep the model alive, as no collector sees through hooks."""

    def gather(parameter: Tensor) -> None:
        if parameter.grad is None:
            return
        if master.grad is None:
            master.grad = parameter.grad.float()
        elif master not in gathered:
            master.grad.copy_(parameter.grad)
        else:
            master.grad += parameter.grad.float()  # adding another dtype is ten times slower (docs/log.md)
        gathered.add(master)
        parameter.grad = None

    return gather


def linear_schedule(step: int, total: int, warmup: int, peak: float, end_share: float = 0.0) -> float:
    """Learning rate of `step` (from 0): up to `peak` over `warmup` steps, then straight down to `end_share * peak`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    left = (total - step) / max(1, total - warmup)
    return peak * (end_share + (1 - end_share) * left)
