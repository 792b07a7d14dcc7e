"""The critic: a value for each token's state, learned from what answers got."""

import itertools
import math

import torch
from torch import Tensor

from accordant.config import PPOSection
from accordant.data.packing import PackedBatch
from accordant.model import ScalarModel
from accordant.train.optimizer import Optimizer
from accordant.train.ppo import objective
from accordant.train.ppo.rollout import Rollout, Slice


class Critic:
    """A scalar model with its optimiser; starts as the reward model and is trained in place."""

    def __init__(self, model: ScalarModel, settings: PPOSection) -> None:
        self.model, self.settings = model, settings
        self.optimizer = Optimizer(model.parameters())

    def values(self, rollout: Rollout) -> Tensor:
        """The value before each answer token, (answers, tokens), without gradients."""
        with torch.no_grad():
            return rollout.spread([self._values(part.batch) for part in rollout.slices])

    def add_gradient(self, part: Slice, old_values: Tensor, returns: Tensor, clip: float, tokens: int) -> float:
        """Add the gradient of one slice's share of the loss of a minibatch of `tokens` tokens; returns that share."""
        loss = objective.value_loss(self._values(part.batch), old_values, returns, clip) / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def warm_up(self, rollout: Rollout, returns: Tensor) -> dict[str, float]:
        """Fit over several passes, without a clip: no policy is misled by a jump yet."""
        epochs = self.settings.critic_warmup_epochs
        total = 0.0
        for _, minibatch in itertools.product(range(epochs), rollout.minibatches):
            tokens = sum(len(part.batch.targets) for part in minibatch)
            for part in minibatch:
                returned = rollout.gather(part, returns)
                total += self.add_gradient(part, returned, returned, math.inf, tokens)
            self.optimizer.step(self.settings.critic_learning_rate)
        return {"value_loss": total / (epochs * len(rollout.minibatches))}

    def _values(self, batch: PackedBatch) -> Tensor:
        """Value of the state in which each target token was chosen, (targets,)."""
        return self.model(batch.ids, batch.attention)[batch.predicting]  # type: ignore[no-any-return]
