"""Direct preference optimisation: the policy learns the rankings itself, without a reward model or sampling.

The policy that maximises reward minus beta times the KL to a reference is reference * exp(reward / beta) / Z. So a
policy stands for the reward beta * log(policy / reference), up to what depends on the prompt alone, and can be
trained as a reward model is (Rafailov et al. 2023, section 4 and equation 7).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from accordant.config import METHOD_NAMES, DPOSection
from accordant.data.packing import Branches, pack_branches
from accordant.model import Transformer
from accordant.train.log_probs import score_tokens
from accordant.train.micro_batches import noticing_memory
from accordant.train.rankings import Pass, Ranking, RankingStage
from accordant.train.workers import ALONE, Workers


class DPOStage(RankingStage):
    """The ranking loss on the reward that the policy stands for.

    Tokens that all answers of a ranking begin with cancel in every pair, so only those after them are scored.

    Args:
        policy: trained in place; as it is handed over, it is the reference.
        rankings: to learn; of every answer the reference's log-prob is taken here, once.
        held_out: to watch the accuracy of the implicit reward on.
        settings: the recipe's section.
        seed: decides the order of the rankings.
        micro_batch_tokens: bound of one forward pass.
        workers: as in `RankingStage`.
    """

    repeated = 1

    def __init__(
        self,
        policy: Transformer,
        rankings: Sequence[Ranking],
        held_out: Sequence[Ranking],
        settings: DPOSection,
        seed: int,
        micro_batch_tokens: int,
        workers: Workers = ALONE,
    ) -> None:
        super().__init__(METHOD_NAMES["dpo"], policy, rankings, held_out, settings, seed, micro_batch_tokens, workers)
        self.policy, self.beta = policy, settings.beta
        self.reference: dict[int, Tensor] = {}
        self.micro_batches.attempt(self._ask_reference)

    def scores(self, numbers: Sequence[int], branches: Sequence[Branches]) -> list[Tensor]:
        """The implicit rewards beta * log(policy / reference); see `RankingStage`."""
        reference = [self.reference[number].to(self.policy.device) for number in numbers]
        log_probs = self._log_probs(branches)
        return [self.beta * (own - before) for own, before in zip(log_probs, reference, strict=True)]

    def _ask_reference(self) -> None:
        def log_probs(one: Pass) -> list[Tensor]:
            with noticing_memory(one.lengths), torch.no_grad():
                return [own.cpu() for own in self._log_probs(one.branches)]

        passes = self.forward_passes(range(len(self.everything)))
        for one, found in zip(passes, self.workers.map(log_probs, passes), strict=True):
            self.reference |= zip(one.numbers, found, strict=True)

    def _log_probs(self, branches: Sequence[Branches]) -> list[Tensor]:
        """Log-prob of each answer, without what all of its ranking begin with, (K,) for each ranking."""
        batch = pack_branches(branches, self.policy.device)
        parts = torch.split(score_tokens(self.policy, batch).log_probs, batch.target_counts)
        answers = torch.stack([part.sum() for part in parts])
        return list(torch.split(answers, [len(own.rest) for own in branches]))
