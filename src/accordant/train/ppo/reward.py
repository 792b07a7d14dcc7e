"""What an answer is worth: the reward model, or any function of the conversation and the answer."""

from collections.abc import Callable, Sequence
from typing import Protocol

from accordant.engine import Generation
from accordant.model import ScalarModel
from accordant.records import Message, Messages
from accordant.text import Renderer
from accordant.train.reward import score_sequences


class Reward(Protocol):
    """Scores a batch of answers."""

    def __call__(self, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[float]:
        """One number per answer, higher is better."""


class RewardModelReward:
    """The normalised score of a trained reward model, read at the last token of the answer."""

    def __init__(self, model: ScalarModel, renderer: Renderer, micro_batch_tokens: int) -> None:
        self.model, self.renderer, self.micro_batch_tokens = model, renderer, micro_batch_tokens

    def __call__(self, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[float]:
        """See `Reward`."""
        sequences = [
            self.renderer.prompt(messages) + answer.ids for messages, answer in zip(conversations, answers, strict=True)
        ]
        return score_sequences(self.model, sequences, self.micro_batch_tokens)


def function_reward(score: Callable[[Sequence[Message], str], float]) -> Reward:
    """A reward from any function of (messages, text of the answer)."""

    def reward(conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[float]:
        return [score(messages, answer.text) for messages, answer in zip(conversations, answers, strict=True)]

    return reward
