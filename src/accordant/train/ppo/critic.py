"""Critics: a value for each token's state, learned from what answers got.

`SeparateCritic` is a model of its own and learns after the policy; `ValueHead` reads the policy's hidden states and
learns with it. Their values, and how they warm up, look the same to PPO.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from accordant.config import PPOSection
from accordant.data.packing import PackedBatch
from accordant.errors import AccordantError
from accordant.model import ScalarModel, Transformer
from accordant.train.log_probs import predicting_states
from accordant.train.micro_batches import noticing_memory
from accordant.train.optimizer import Optimizer
from accordant.train.ppo import objective
from accordant.train.ppo.rollout import Rollout, Slice
from accordant.train.workers import ALONE, Workers


class Fit(NamedTuple):
    """What a critic learns in an iteration: from its values at sampling to the returns, both (answers, tokens)."""

    rollout: Rollout
    old_values: Tensor
    returns: Tensor
    clip: float

    def loss(self, part: Slice, values: Tensor) -> Tensor:
        """The value loss of a slice, summed over its tokens; `values` are (targets,)."""
        old, returned = self.rollout.gather(part, self.old_values), self.rollout.gather(part, self.returns)
        return objective.value_loss(values, old, returned, self.clip)


class Critic(ABC):
    """What every critic does; its optimiser holds what is the critic's alone."""

    def __init__(self, parameters: Iterable[nn.Parameter], settings: PPOSection, workers: Workers) -> None:
        self.optimizer, self.settings = Optimizer(parameters, workers=workers), settings

    @abstractmethod
    def own_values(self, batch: PackedBatch) -> Tensor:
        """The value of the state in which each target was chosen, (targets,); only the critic's own weights learn."""

    def values(self, rollout: Rollout) -> Tensor:
        """The value before each answer token, (answers, tokens), without gradients."""

        def values(part: Slice) -> Tensor:
            with noticing_memory(part.lengths), torch.no_grad():
                return self.own_values(part.batch).cpu()

        return rollout.spread(rollout.workers.map(values, rollout.slices))

    def learn(self, fit: Fit, passes: int, rate: float) -> dict[str, float]:
        """Fit the critic alone, in `passes` over the minibatches; the metric is a mean over them."""
        minibatches = passes * list(range(len(fit.rollout.minibatches)))
        total = 0.0
        for number in minibatches:
            total += fit.rollout.micro_batches.attempt(partial(self._add_gradient, fit, number), self.optimizer.clear)
            self.optimizer.step(rate)
        return {"value_loss": total / len(minibatches)}

    def _add_gradient(self, fit: Fit, number: int) -> float:
        """Add the gradient of a minibatch's value loss, which is returned."""
        minibatch = fit.rollout.minibatches[number]
        tokens = sum(len(part.batch.targets) for part in minibatch)

        def add(part: Slice) -> float:
            with noticing_memory(part.lengths):
                loss = fit.loss(part, self.own_values(part.batch)) / tokens
                loss.backward()  # type: ignore[no-untyped-call]
                return loss.item()

        return sum(fit.rollout.workers.map(add, minibatch))

    def warm_up(self, rollout: Rollout, returns: Tensor, rate: float) -> dict[str, float]:
        """Fit it without a clip: no policy is misled by a jump yet."""
        return self.learn(Fit(rollout, returns, returns, math.inf), self.settings.critic_warmup_epochs, rate)


class SeparateCritic(Critic):
    """A scalar model that shares no weight with the policy; starts as the reward model and is trained in place."""

    def __init__(self, model: ScalarModel, settings: PPOSection, workers: Workers = ALONE) -> None:
        super().__init__(model.parameters(), settings, workers)
        self.model = model

    def own_values(self, batch: PackedBatch) -> Tensor:
        """See `Critic`."""
        return self.model(batch.ids, batch.attention)[batch.predicting]  # type: ignore[no-any-return]


class ValueHead(Critic):
    """A linear head, in float32, on the policy's hidden states: no second trunk (Ziegler et al. 2019, section 2.1).

    It starts at zero. The trunk gets value_coefficient times the value loss's gradient, through the head: nothing
    while the head is zero, and little until its warm-up, in which the trunk stands still, has made it mean something.
    """

    def __init__(self, policy: Transformer, settings: PPOSection, workers: Workers = ALONE) -> None:
        self.policy = policy
        self.weight = nn.Parameter(torch.zeros(policy.config.hidden_size, device=policy.device))
        self.bias = nn.Parameter(torch.zeros((), device=policy.device))
        super().__init__((self.weight, self.bias), settings, workers)

    def own_values(self, batch: PackedBatch) -> Tensor:
        """See `Critic`."""
        with torch.no_grad():
            states = predicting_states(self.policy, batch)
        return self.read(states)

    def read(self, states: Tensor) -> Tensor:
        """Hidden states (targets, hidden) to values (targets,)."""
        return states.float() @ self.weight + self.bias

    def backward(self, policy_loss: Tensor, states: Tensor, part: Slice, fit: Fit, tokens: int) -> float:
        """Add the gradients of the policy's loss and of the head's on one slice; both go through the trunk at once.

        Args:
            policy_loss: already divided by `tokens`.
            states: the policy's hidden states that it comes from, (targets, hidden).
            part: the slice.
            fit: what is learned.
            tokens: of the whole minibatch, over which losses are means.

        Returns:
            The slice's share of the minibatch's value loss.
        """
        loss = fit.loss(part, self.read(states)) / tokens
        (policy_loss + self.settings.value_coefficient * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()


def make_critic(
    policy: Transformer, model: ScalarModel | None, settings: PPOSection, workers: Workers = ALONE
) -> Critic | None:
    """What `settings.baseline` asks for; `model` is the scalar model of a separate critic, None for the others."""
    if (model is None) != (settings.baseline != "critic"):
        raise AccordantError('a critic is needed with ppo.baseline = "critic", and with no other')
    if model:
        return SeparateCritic(model, settings, workers)
    return ValueHead(policy, settings, workers) if settings.baseline == "value_head" else None
