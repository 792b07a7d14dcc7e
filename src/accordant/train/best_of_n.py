"""Best-of-n as training: the policy is fine-tuned on the best of its own answers, in several rounds.

Also called rejection sampling (Touvron et al. 2023, Llama 2, section 3.2.3) and reward-ranked fine-tuning (Dong et al.
2023). One round moves the policy towards the distribution of the best of n answers.
"""

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from accordant.config import METHOD_NAMES, BestOfNSection
from accordant.data.packing import pack_all
from accordant.engine import Engine, Generation, Sampling
from accordant.model import Transformer
from accordant.model.linear import unpack_linear_layers
from accordant.progress import Watcher
from accordant.records import Messages
from accordant.text import Example, Renderer
from accordant.train.draws import drawn_in_turn, shuffled
from accordant.train.micro_batches import MicroBatches
from accordant.train.optimizer import Optimizer, linear_schedule
from accordant.train.ppo.reward import Reward, require_finite_rewards, score_answers
from accordant.train.sft import add_gradient
from accordant.train.workers import ALONE, Workers


class BestOfNStage:
    """The stage that `run_stage` drives; one step is one round of sampling, choosing and fine-tuning.

    Args:
        policy: starts as the SFT model; trained in place.
        reward: scores answers.
        renderer: of the policy's checkpoint.
        conversations: prompts, each ending with a user's turn; drawn without repetition until all were used.
        settings: the recipe's section.
        seed: decides the order of prompts, the answers and the batches.
        micro_batch_tokens: bound of one forward pass.
        workers: processes that share answers, scores and gradients; each holds the same stage.
    """

    name = METHOD_NAMES["best_of_n"]

    def __init__(
        self,
        policy: Transformer,
        reward: Reward,
        renderer: Renderer,
        conversations: Sequence[Messages],
        settings: BestOfNSection,
        seed: int,
        micro_batch_tokens: int,
        workers: Workers = ALONE,
    ) -> None:
        self.policy, self.reward, self.renderer, self.conversations = policy, reward, renderer, conversations
        self.settings, self.seed, self.micro_batches = settings, seed, MicroBatches(micro_batch_tokens)
        self.engine = Engine(policy, renderer)
        self.workers = workers
        self.optimizer = Optimizer(policy.parameters(), workers=workers)
        self.total = settings.iterations
        self.updates_per_epoch = math.ceil(settings.prompts / settings.batch_examples)

    def advance(self, step: int, watcher: Watcher) -> dict[str, float]:
        """One round."""
        self.micro_batches.tell = partial(watcher.warn, step)
        conversations = drawn_in_turn(self.conversations, self.settings.prompts, self.seed, step)
        prompts = [self.renderer.prompt(messages) for messages in conversations]
        groups = self.sample(prompts, step)
        scores = self.score(conversations, groups)
        best = [best_of(group, own) for group, own in zip(groups, scores, strict=True)]
        chosen = [group[place] for group, place in zip(groups, best, strict=True)]
        watcher.sample(conversations[0][-1].content, chosen[0].text)
        answers = [answer for group in groups for answer in group]
        return self.learn(step, [Example.of_answer(p, a.ids) for p, a in zip(prompts, chosen, strict=True)]) | {
            "reward": sum(map(sum, scores)) / len(answers),
            "best_reward": sum(own[place] for own, place in zip(scores, best, strict=True)) / len(chosen),
            "answer_tokens": sum(len(answer.ids) for answer in answers) / len(answers),
            "ended": sum(answer.ended for answer in answers) / len(answers),
        }

    def sample(self, prompts: Sequence[list[int]], step: int) -> list[list[Generation]]:
        """`settings.samples` answers to each prompt, by the policy as it is now."""
        settings = self.settings
        sampling = Sampling(
            temperature=settings.temperature,
            max_tokens=settings.max_answer_tokens,
            seed=self.seed * 1_000_003 + step,
        )

        def answer_some(prompts: list[list[int]], numbers: list[int]) -> list[list[Generation]]:
            return self.engine.generate(prompts, sampling, settings.samples, numbers=numbers)

        answers = self.workers.split(answer_some, prompts, range(len(prompts)))
        unpack_linear_layers(self.policy)  # the first update makes the engine's packed weights stale
        return answers

    def score(self, conversations: Sequence[Messages], groups: Sequence[list[Generation]]) -> list[list[float]]:
        """The reward of each answer to each prompt."""
        asked = [messages for messages, group in zip(conversations, groups, strict=True) for _ in group]
        answers = [answer for group in groups for answer in group]
        scored = self.workers.split(partial(score_answers, self.reward), asked, answers)
        require_finite_rewards(self.reward, scored, asked, answers)
        totals = iter([sum(own.rewards) for own in scored])
        return [[next(totals) for _ in group] for group in groups]

    def learn(self, step: int, examples: Sequence[Example]) -> dict[str, float]:
        """All passes over a round's chosen answers, with the loss of SFT; loss and gradient norm are means."""
        settings, size = self.settings, self.settings.batch_examples
        updates = settings.epochs * self.updates_per_epoch
        total = settings.iterations * updates
        losses: list[float] = []
        norms: list[float] = []
        rate = 0.0
        for epoch in range(settings.epochs):
            order = shuffled(len(examples), self.seed, 2 * (step * settings.epochs + epoch) + 1)
            for start in range(0, len(order), size):
                drawn = [examples[i] for i in order[start : start + size]]
                losses.append(self.micro_batches.attempt(partial(self._add_gradient, drawn), self.optimizer.clear))
                done = step * updates + len(norms)
                rate = linear_schedule(done, total, round(total * settings.warmup_share), settings.learning_rate)
                norms.append(self.optimizer.step(rate))
        means = {"loss": sum(losses) / updates, "gradient_norm": sum(norms) / updates}
        return means | {"learning_rate": rate}

    def _add_gradient(self, examples: Sequence[Example]) -> float:
        batches = pack_all(examples, self.micro_batches.most_tokens, self.policy.device, self.workers.size)
        return add_gradient(self.policy, batches, workers=self.workers)

    def tensors(self) -> dict[str, Tensor]:
        """See `train.loop.Stage`."""
        return self.optimizer.tensors() | self.micro_batches.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `train.loop.Stage`."""
        self.optimizer.restore(tensors)
        self.micro_batches.restore(tensors)


def best_of(answers: Sequence[Generation], scores: Sequence[float]) -> int:
    """Place of the best answer: the highest score among those that ended, or among all where none did.

    The first at equal scores. A reward model says little about half an answer, and to learn one is to learn not to end.
    """
    return max(range(len(answers)), key=lambda place: (answers[place].ended, scores[place]))
