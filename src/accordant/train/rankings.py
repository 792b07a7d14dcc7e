"""Training on whole rankings: what the reward model and DPO have in common, which is all but the score."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from accordant.config import DPOSection, RewardSection
from accordant.data.packing import Branches, micro_batches
from accordant.progress import Watcher
from accordant.records import Comparison, Messages
from accordant.text import Renderer
from accordant.train.draws import shuffled
from accordant.train.micro_batches import MicroBatches, noticing_memory
from accordant.train.optimizer import Optimizer, linear_schedule
from accordant.train.pair_loss import margins, ranking_loss, right
from accordant.train.workers import ALONE, Workers


@dataclass(frozen=True)
class Ranking:
    """The token ids of K answers to one conversation, the tier of each, and the id of the row."""

    sequences: tuple[list[int], ...]
    tiers: tuple[int, ...]
    id: str = ""


def render_answer(renderer: Renderer, messages: Messages, answer: str, ended: bool = True) -> list[int]:
    """Ids of a conversation with an answer, as they are scored: the same that are sampled and trained on."""
    return renderer.prompt(messages) + renderer.answer(answer, ended)


def render_ranking(renderer: Renderer, comparison: Comparison) -> Ranking:
    """A comparison as token ids."""
    return Ranking(
        tuple(render_answer(renderer, comparison.messages, c.content, c.ended) for c in comparison.candidates),
        tuple(comparison.tiers()),
        comparison.id,
    )


class Pass(NamedTuple):
    """Numbers of some rankings, which share a forward pass, and the branches of each."""

    numbers: list[int]
    branches: list[Branches]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each."""
        return [own.tokens for own in self.branches]


class RankingStage(ABC):
    """The stage that `run_stage` drives; one step is one optimiser step over whole rankings.

    All answers of a ranking share one forward pass, as InstructGPT found necessary against overfitting.

    Args:
        name: as it is shown.
        model: trained in place.
        rankings: to learn.
        held_out: to watch the accuracy on.
        settings: the recipe's section.
        seed: decides the order of the rankings.
        micro_batch_tokens: bound of one forward pass.
        workers: processes that share the forward passes; each holds the same stage.
        weight_decay: of matrices.
    """

    repeated = 0
    """See `Branches.of`."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        rankings: Sequence[Ranking],
        held_out: Sequence[Ranking],
        settings: RewardSection | DPOSection,
        seed: int,
        micro_batch_tokens: int,
        workers: Workers = ALONE,
        weight_decay: float = 0.0,
    ) -> None:
        self.name, self.workers = name, workers
        self.rankings, self.held_out = rankings, held_out
        self.everything = [*rankings, *held_out]
        self.settings, self.seed, self.micro_batches = settings, seed, MicroBatches(micro_batch_tokens)
        self.optimizer = Optimizer(model.parameters(), weight_decay=weight_decay, workers=workers)
        self.steps_per_epoch = math.ceil(len(rankings) / settings.batch_rankings)
        self.total = max(1, round(self.steps_per_epoch * settings.epochs))
        self._warmup = round(self.total * settings.warmup_share)

    @abstractmethod
    def scores(self, numbers: Sequence[int], branches: Sequence[Branches]) -> list[Tensor]:
        """The score of each answer of some rankings, (K,) each, with gradients: one forward pass.

        Args:
            numbers: of the rankings, counted through `rankings` and then `held_out`.
            branches: of each.
        """

    def advance(self, step: int, watcher: Watcher) -> dict[str, float]:
        """One optimiser step; the accuracy on held-out rankings is added at the ends of epochs."""
        settings = self.settings
        self.micro_batches.tell = partial(watcher.warn, step)
        epoch, place = divmod(step, self.steps_per_epoch)
        order = shuffled(len(self.rankings), self.seed, epoch)
        drawn = order[place * settings.batch_rankings : (place + 1) * settings.batch_rankings]
        metrics = self.micro_batches.attempt(partial(self.add_gradient, drawn), self.optimizer.clear)
        rate = linear_schedule(step, self.total, self._warmup, settings.learning_rate)
        metrics |= {"gradient_norm": self.optimizer.step(rate), "learning_rate": rate}
        if self.held_out and (place + 1 == self.steps_per_epoch or step + 1 == self.total):
            metrics["held_out_accuracy"] = self.micro_batches.attempt(self.held_out_accuracy)
        return metrics

    def add_gradient(self, numbers: Sequence[int]) -> dict[str, float]:
        """Add the gradient of the mean loss of some rankings; returns loss, and accuracy and margin of their pairs."""

        def add(one: Pass) -> tuple[float, list[float]]:
            with noticing_memory(one.lengths):
                scores = self.scores(*one)
                tiers = [self.everything[number].tiers for number in one.numbers]
                loss = torch.stack(list(map(ranking_loss, scores, tiers))).sum() / len(numbers)
                loss.backward()  # type: ignore[no-untyped-call]
                return loss.item(), self._margins(one, scores)

        passes = self.workers.map(add, self.forward_passes(numbers))
        found = [margin for _, own in passes for margin in own]
        pairs = max(1, len(found))
        return {
            "loss": sum(loss for loss, _ in passes),
            "accuracy": right(found) / pairs,
            "margin": sum(found) / pairs,
        }

    def held_out_accuracy(self) -> float:
        """Share of the held-out pairs, ties left out, that are in the right order."""

        def order(one: Pass) -> list[float]:
            with noticing_memory(one.lengths), torch.no_grad():
                return self._margins(one, self.scores(*one))

        passes = self.workers.map(order, self.forward_passes(range(len(self.rankings), len(self.everything))))
        found = [margin for own in passes for margin in own]
        return right(found) / max(1, len(found))

    def _margins(self, one: Pass, scores: Sequence[Tensor]) -> list[float]:
        """Of each pair of a pass that is not a tie."""
        tiers = [self.everything[number].tiers for number in one.numbers]
        return [margin for own, of in zip(scores, tiers, strict=True) for margin in margins(own.tolist(), of)]

    def forward_passes(self, numbers: Sequence[int]) -> list[Pass]:
        """Some rankings in passes as large as memory allows, at least one for each process."""
        branches = [Branches.of(self.everything[number].sequences, self.repeated) for number in numbers]
        groups = micro_batches([own.tokens for own in branches], self.micro_batches.most_tokens, self.workers.size)
        return [Pass([numbers[i] for i in group], [branches[i] for i in group]) for group in groups]

    def tensors(self) -> dict[str, Tensor]:
        """See `train.loop.Stage`."""
        return self.optimizer.tensors() | self.micro_batches.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `train.loop.Stage`."""
        self.optimizer.restore(tensors)
        self.micro_batches.restore(tensors)
