"""What one iteration sampled and measured, and its cut into minibatches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from accordant.data.packing import PackedBatch, micro_batches, pack
from accordant.engine import Generation
from accordant.model import Transformer
from accordant.text import Example
from accordant.train.log_probs import TokenScores, score_tokens
from accordant.train.micro_batches import MicroBatches, noticing_memory
from accordant.train.ppo.reward import Scored
from accordant.train.workers import ALONE, Workers


@dataclass(frozen=True)
class Slice:
    """Some answers of an iteration as one packed batch; `rows` are their numbers in the iteration."""

    rows: list[int]
    batch: PackedBatch

    @property
    def lengths(self) -> list[int]:
        """Tokens of each, with its prompt."""
        return self.batch.attention.lengths


@dataclass
class Rollout:
    """Answers of one iteration.

    All tensors are (answers, tokens), right-padded, in float32; `mask` is true on real answer tokens.
    `members` are the numbers of each minibatch's answers; `examples` are all of them, with their prompts.
    `micro_batches` bound the slices that `workers` share.
    `rewards` are without the KL penalty, as they are learned from; `reward_means` are those of the reward's parts.
    """

    answers: list[Generation]
    examples: list[Example]
    members: list[list[int]]
    mask: Tensor
    sampled_log_probs: Tensor
    rewards: Tensor
    reward_means: dict[str, float]
    micro_batches: MicroBatches
    workers: Workers = ALONE
    _cut: dict[int, list[list[Slice]]] = field(default_factory=dict)

    @property
    def minibatches(self) -> list[list[Slice]]:
        """The slices of each minibatch, which stay the same until memory does not suffice for one.

        The old log-probs and those of the first update then come from the same arithmetic, and their ratio is 1.
        """
        most = self.micro_batches.most_tokens
        if most not in self._cut:
            self._cut = {most: [self._slices(members, most) for members in self.members]}
        return self._cut[most]

    def _slices(self, members: Sequence[int], most_tokens: int) -> list[Slice]:
        groups = micro_batches([len(self.examples[i].ids) for i in members], most_tokens, self.workers.size)
        rows = [[members[place] for place in group] for group in groups]
        return [Slice(own, pack([self.examples[i] for i in own], self.mask.device)) for own in rows]

    @property
    def scores(self) -> Tensor:
        """What each answer earned as a whole, (answers,)."""
        return self.rewards.sum(-1)

    @property
    def slices(self) -> list[Slice]:
        """All slices of all minibatches."""
        return [part for minibatch in self.minibatches for part in minibatch]

    def within(self, slices: Sequence[Slice]) -> Tensor:
        """(answers, tokens), true on the answer tokens of some slices."""
        chosen = torch.zeros(len(self.mask), 1, dtype=torch.bool, device=self.mask.device)
        chosen[[row for part in slices for row in part.rows]] = True
        return self.mask & chosen

    def gather(self, part: Slice, padded: Tensor) -> Tensor:
        """Real entries of `padded` for the answers of `part`, (tokens,), in the order of its batch's targets."""
        return padded[part.rows][self.mask[part.rows]]

    def spread(self, flat: Sequence[Tensor], slices: Sequence[Slice] | None = None) -> Tensor:
        """The inverse of `gather` over some slices (by default all): (tokens,) values of each to (answers, tokens)."""
        padded = torch.zeros(self.mask.shape, dtype=torch.float32, device=self.mask.device)
        for part, values in zip(self.slices if slices is None else slices, flat, strict=True):
            rows = torch.tensor(part.rows, device=padded.device)
            own = torch.zeros_like(padded[rows])
            own[self.mask[rows]] = values.to(own)
            padded[rows] = own
        return padded

    def score(
        self,
        model: Transformer,
        temperature: float,
        with_entropy: bool = False,
        slices: Sequence[Slice] | None = None,
    ) -> TokenScores:
        """Log-probs and, if asked for, entropies of the answers' tokens under `model`, without gradients.

        Both are (answers, tokens), and 0 for answers outside the `slices`, which by default are all.
        """
        slices = self.slices if slices is None else slices

        def score(part: Slice) -> list[Tensor]:
            with noticing_memory(part.lengths), torch.no_grad():
                return [scores.cpu() for scores in score_tokens(model, part.batch, temperature, with_entropy)]

        scored = self.workers.map(score, slices)
        log_probs = self.spread([own[0] for own in scored], slices)
        entropy = self.spread([own[1] for own in scored], slices) if with_entropy else log_probs.new_empty(0)
        return TokenScores(log_probs, entropy)


def build_rollout(
    prompts: Sequence[list[int]],
    answers: list[Generation],
    scored: Sequence[Scored],
    minibatches: int,
    order: Sequence[int],
    micro_batch_tokens: int | MicroBatches,
    device: torch.device | str,
    workers: Workers = ALONE,
) -> Rollout:
    """Lay out an iteration; `order` is the shuffled numbering of answers that is cut into `minibatches`."""
    lengths = [len(answer.ids) for answer in answers]
    mask = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]

    def lay_out(rows: Iterable[list[float]]) -> Tensor:
        padded = torch.zeros(mask.shape, device=device)
        padded[mask] = torch.tensor([value for row in rows for value in row], device=device)
        return padded

    size = len(answers) // minibatches
    members = [list(order[start : start + size]) for start in range(0, len(answers), size)]
    examples = [Example.of_answer(prompt, answer.ids) for prompt, answer in zip(prompts, answers, strict=True)]
    sampled, rewards = lay_out(answer.log_probs for answer in answers), lay_out(own.rewards for own in scored)
    means = {name: sum(own.parts[name] for own in scored) / len(scored) for name in scored[0].parts}
    bound = MicroBatches.of(micro_batch_tokens)
    return Rollout(answers, examples, members, mask, sampled, rewards, means, bound, workers)
