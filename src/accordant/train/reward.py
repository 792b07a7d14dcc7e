"""The reward model: an SFT model with a scalar head, trained on rankings (Ouyang et al. 2022, section 3.5)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from accordant.config import RewardSection
from accordant.data.packing import Branches, micro_batches, pack_branches
from accordant.model import ScalarModel
from accordant.train.micro_batches import MicroBatches, noticing_memory
from accordant.train.pair_loss import count_ordered
from accordant.train.rankings import Ranking, RankingStage
from accordant.train.workers import ALONE, Workers


def score_sequences(
    model: ScalarModel,
    sequences: Sequence[list[int]],
    micro_batch_tokens: int | MicroBatches,
    workers: Workers = ALONE,
) -> list[float]:
    """The normalised score of each sequence, read at its last token."""
    return [score for (score,) in score_groups(model, [[s] for s in sequences], micro_batch_tokens, workers)]


def score_groups(
    model: ScalarModel,
    groups: Sequence[Sequence[list[int]]],
    micro_batch_tokens: int | MicroBatches,
    workers: Workers = ALONE,
) -> list[list[float]]:
    """As `score_sequences`, for groups of sequences that begin alike: what they share is computed once."""
    branches = [Branches.of(group) for group in groups]
    bound = MicroBatches.of(micro_batch_tokens)

    def score(members: list[int]) -> list[list[float]]:
        with noticing_memory([branches[i].tokens for i in members]), torch.no_grad():
            batch = pack_branches([branches[i] for i in members], model.device)
            values = model(batch.ids, batch.attention)[batch.last].split([len(branches[i].rest) for i in members])
            return [own.tolist() for own in values]

    def attempt() -> list[list[float]]:
        cut = micro_batches([own.tokens for own in branches], bound.most_tokens)
        found = {
            index: own
            for members, scores in zip(cut, workers.map(score, cut), strict=True)
            for index, own in zip(members, scores, strict=True)
        }
        return [found[index] for index in range(len(groups))]

    return bound.attempt(attempt)


def pair_accuracy(
    model: ScalarModel,
    rankings: Sequence[Ranking],
    micro_batch_tokens: int | MicroBatches,
    workers: Workers = ALONE,
) -> tuple[float, int, list[list[float]]]:
    """(share of pairs in the right order, pairs that are not ties, scores of each ranking)."""
    scores = score_groups(model, [r.sequences for r in rankings], micro_batch_tokens, workers)
    right, pairs = 0.0, 0
    for own, ranking in zip(scores, rankings, strict=True):
        hit, seen = count_ordered(own, ranking.tiers)
        right, pairs = right + hit, pairs + seen
    return right / max(1, pairs), pairs, scores


def normalise(
    model: ScalarModel,
    demonstrations: Sequence[list[int]],
    answers: Sequence[list[int]],
    micro_batch_tokens: int | MicroBatches,
    workers: Workers = ALONE,
) -> None:
    """Set mean and deviation so that `demonstrations` average 0 and raw scores of `answers` vary by 1.

    Raises:
        ValueError: without demonstrations or with fewer than two answers.
    """
    if not demonstrations or len(answers) < 2:
        raise ValueError("normalising a reward model needs demonstrations and at least two answers")
    model.mean, model.deviation = 0.0, 1.0
    raw = score_sequences(model, demonstrations, micro_batch_tokens, workers)
    spread = torch.tensor(score_sequences(model, answers, micro_batch_tokens, workers)).std()
    model.mean = sum(raw) / len(raw)
    model.deviation = max(float(spread), 1e-6)


class RewardStage(RankingStage):
    """Trains the reward model: the score of an answer is that of its last token, before normalisation."""

    def __init__(
        self,
        model: ScalarModel,
        rankings: Sequence[Ranking],
        held_out: Sequence[Ranking],
        settings: RewardSection,
        seed: int,
        micro_batch_tokens: int,
        name: str = "reward model",
        workers: Workers = ALONE,
    ) -> None:
        super().__init__(
            name, model, rankings, held_out, settings, seed, micro_batch_tokens, workers, settings.weight_decay
        )
        self.model = model

    def scores(self, numbers: Sequence[int], branches: Sequence[Branches]) -> list[Tensor]:
        """See `RankingStage`."""
        batch = pack_branches(branches, self.model.device)
        raw = self.model.raw(batch.ids, batch.attention)[batch.last]
        return list(torch.split(raw, [len(own.rest) for own in branches]))
