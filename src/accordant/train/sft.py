"""Supervised fine-tuning: the mean loss of the assistant's tokens (Ouyang et al. 2022, section 3.5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from accordant.config import SFTSection
from accordant.data.packing import PackedBatch, pack_all
from accordant.model import Transformer
from accordant.progress import Watcher
from accordant.text import Example
from accordant.train.log_probs import score_tokens
from accordant.train.micro_batches import MicroBatches, noticing_memory
from accordant.train.optimizer import Optimizer, linear_schedule
from accordant.train.workers import ALONE, Workers


@dataclass(frozen=True)
class Weighted:
    """Examples of one source, each seen `weight` times an epoch."""

    examples: Sequence[Example]
    weight: float


def epoch_order(sources: Sequence[Weighted], seed: int, epoch: int) -> list[tuple[int, int]]:
    """(source, example) of every draw of one epoch, shuffled.

    A weight of 2.5 gives each example two draws and every second one, chosen anew each epoch, a third.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[tuple[int, int]] = []
    for number, source in enumerate(sources):
        whole, rest = divmod(source.weight, 1)
        count = len(source.examples)
        order += [(number, i) for i in range(count) for _ in range(int(whole))]
        extra = torch.randperm(count, generator=generator)[: round(rest * count)].tolist()
        order += [(number, i) for i in extra]
    shuffled = torch.randperm(len(order), generator=generator).tolist()
    return [order[i] for i in shuffled]


def mean_loss(
    model: Transformer, examples: Sequence[Example], micro_batch_tokens: int | MicroBatches, workers: Workers = ALONE
) -> float:
    """Mean negative log-probability of the trained tokens, nats, without gradients."""
    micro_batches = MicroBatches.of(micro_batch_tokens)

    def loss(batch: PackedBatch) -> float:
        with noticing_memory(batch.attention.lengths), torch.no_grad():
            return -float(score_tokens(model, batch).log_probs.sum())

    def attempt() -> float:
        batches = pack_all(examples, micro_batches.most_tokens, model.device)
        return sum(workers.map(loss, batches)) / max(1, sum(len(batch.targets) for batch in batches))

    return micro_batches.attempt(attempt)


def add_gradient(
    model: Transformer, batches: Sequence[PackedBatch], coefficient: float = 1.0, workers: Workers = ALONE
) -> float:
    """Add the gradient of coefficient * mean loss over all targets of `batches`; returns the mean loss.

    The mean is over the targets of the whole step, so the gradient does not depend on how it was cut in batches. Each
    process adds that of its share of them.
    """
    targets = sum(len(batch.targets) for batch in batches)

    def add(batch: PackedBatch) -> float:
        with noticing_memory(batch.attention.lengths):
            loss = -score_tokens(model, batch).log_probs.sum() / targets
            (coefficient * loss).backward()  # type: ignore[no-untyped-call]
            return loss.item()

    return sum(workers.map(add, batches))


class SFTStage:
    """The stage that `run_stage` drives; one step is one optimiser step."""

    name = "SFT"

    def __init__(
        self,
        model: Transformer,
        sources: Sequence[Weighted],
        held_out: Sequence[Example],
        settings: SFTSection,
        seed: int,
        micro_batch_tokens: int,
        workers: Workers = ALONE,
    ) -> None:
        self.model, self.sources, self.held_out, self.workers = model, sources, held_out, workers
        self.settings, self.seed, self.micro_batches = settings, seed, MicroBatches(micro_batch_tokens)
        self.optimizer = Optimizer(model.parameters(), weight_decay=settings.weight_decay, workers=workers)
        epoch = len(epoch_order(sources, seed, 0))
        self.steps_per_epoch = math.ceil(epoch / settings.batch_examples)
        self.total = max(1, round(self.steps_per_epoch * settings.epochs))
        self._warmup = round(self.total * settings.warmup_share)

    def advance(self, step: int, watcher: Watcher) -> dict[str, float]:
        """One optimiser step; the loss on held-out dialogues is added at the ends of epochs."""
        settings = self.settings
        self.micro_batches.tell = partial(watcher.warn, step)
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * settings.batch_examples
        drawn = epoch_order(self.sources, self.seed, epoch)[start : start + settings.batch_examples]
        examples = [self.sources[s].examples[i] for s, i in drawn]
        loss = self.micro_batches.attempt(partial(self._add_gradient, examples), self.optimizer.clear)
        rate = linear_schedule(step, self.total, self._warmup, settings.learning_rate)
        norm = self.optimizer.step(rate)
        metrics = {
            "loss": loss,
            "gradient_norm": norm,
            "learning_rate": rate,
            "tokens": float(sum(len(e.ids) for e in examples)),
        }
        if self.held_out and (place + 1 == self.steps_per_epoch or step + 1 == self.total):
            metrics["held_out_loss"] = mean_loss(self.model, self.held_out, self.micro_batches, self.workers)
        return metrics

    def _add_gradient(self, examples: Sequence[Example]) -> float:
        batches = pack_all(examples, self.micro_batches.most_tokens, self.model.device, self.workers.size)
        return add_gradient(self.model, batches, workers=self.workers)

    def tensors(self) -> dict[str, Tensor]:
        """See `train.loop.Stage`."""
        return self.optimizer.tensors() | self.micro_batches.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `train.loop.Stage`."""
        self.optimizer.restore(tensors)
        self.micro_batches.restore(tensors)
