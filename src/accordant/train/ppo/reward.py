"""What an answer is worth: a reward model, any function of the conversation and the answer, or several with weights.

A reward gives an answer one number, which is earned at its last token, or a number for each of its tokens.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple, Protocol

from accordant.engine import Generation
from accordant.errors import BadReward, NotFinite
from accordant.model import ScalarModel
from accordant.records import Messages
from accordant.text import Renderer
from accordant.train.micro_batches import MicroBatches
from accordant.train.rankings import render_answer
from accordant.train.reward import score_groups


class Reward(Protocol):
    """Scores a batch of answers; higher is better."""

    def __call__(
        self, conversations: Sequence[Messages], answers: Sequence[Generation]
    ) -> Sequence[float | Sequence[float]]:
        """For each answer a number, or a number for each of its `ids` (the end of the turn is one of them)."""


class RewardModelReward:
    """The normalised score of a trained reward model, read at the last token of the answer.

    Args:
        model: the reward model.
        renderer: of its checkpoint.
        micro_batch_tokens: bound of one forward pass.
        reads_ids: whether it has the policy's tokenizer and scores the tokens that were sampled; where it has another,
            the answer's text is tokenised anew.
    """

    def __init__(
        self, model: ScalarModel, renderer: Renderer, micro_batch_tokens: int | MicroBatches, reads_ids: bool = True
    ) -> None:
        self.model, self.renderer = model, renderer
        self.micro_batches, self.reads_ids = MicroBatches.of(micro_batch_tokens), reads_ids

    def __call__(self, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[float]:
        """See `Reward`; the prompt of answers to one conversation that stand together is computed once."""
        pairs = zip(conversations, answers, strict=True)
        groups = [
            [self._sequence(messages, answer) for _, answer in own]
            for messages, own in itertools.groupby(pairs, key=lambda pair: pair[0])
        ]
        return list(itertools.chain(*score_groups(self.model, groups, self.micro_batches)))

    def _sequence(self, messages: Messages, answer: Generation) -> list[int]:
        if self.reads_ids:
            return self.renderer.prompt(messages) + answer.ids
        return render_answer(self.renderer, messages, answer.text, answer.ended)


class Answer(str):
    """The text of an answer; `tokens` are its pieces, one for each token, which together are the text.

    A piece is empty for the end of the turn, and for a token that does not complete a character.
    """

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, generation: Generation) -> "Answer":
        """The answer that the engine gave."""
        answer = cls(generation.text)
        answer.tokens = tuple(generation.pieces)
        return answer


def function_reward(score: Callable[[Messages, Answer], float | Sequence[float]]) -> Reward:
    """A reward from any function of (messages, answer) that gives a number, or one for each of `answer.tokens`.

    The reward raises `BadReward` for what the function raises, with its name, the prompt and the answer.
    """

    def reward(conversations: Sequence[Messages], answers: Sequence[Generation]) -> Sequence[float | Sequence[float]]:
        values = []
        for messages, answer in zip(conversations, answers, strict=True):
            try:
                values.append(score(messages, Answer.of(answer)))
            except Exception as error:
                raise _bad(reward, f"raised {type(error).__name__}: {error}", messages, answer) from error
        return values

    reward.__qualname__ = f"{getattr(score, '__module__', '?')}:{getattr(score, '__qualname__', type(score).__name__)}"
    return reward


def length_reward(conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[list[float]]:
    """1 for each token: with a negative weight, length costs."""
    return [[1.0] * len(answer.ids) for answer in answers]


class Scored(NamedTuple):
    """What an answer earned: at each of its tokens, and as a whole from each part of the reward, without its weight."""

    rewards: list[float]
    parts: dict[str, float]


class CombinedReward:
    """The weighted sum of several rewards; a reward itself.

    Args:
        parts: name (for the metrics), weight and reward of each.
    """

    def __init__(self, parts: Sequence[tuple[str, float, Reward]]) -> None:
        self.parts = parts

    def __call__(self, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[list[float]]:
        """See `Reward`."""
        return [scored.rewards for scored in self.score(conversations, answers)]

    def score(self, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[Scored]:
        """Of each answer."""
        scored = [Scored([0.0] * len(answer.ids), {}) for answer in answers]
        for name, weight, reward in self.parts:
            rows = _token_rows(reward, conversations, answers)
            scored = [
                Scored(
                    [before + weight * value for before, value in zip(own.rewards, row, strict=True)],
                    own.parts | {name: sum(row)},
                )
                for own, row in zip(scored, rows, strict=True)
            ]
        return scored


def score_answers(reward: Reward, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[Scored]:
    """What each answer earned; what the reward gives an answer as a whole stands on its last token.

    Raises:
        BadReward: when it raises, or gives something else than numbers, one per answer or one per token.
    """
    if isinstance(reward, CombinedReward):
        return reward.score(conversations, answers)
    return [Scored(row, {}) for row in _token_rows(reward, conversations, answers)]


def require_finite_rewards(
    reward: Reward, scored: Sequence[Scored], conversations: Sequence[Messages], answers: Sequence[Generation]
) -> None:
    """Raise NotFinite, with the reward, prompt and answer at fault, unless all rewards are finite."""
    for own, messages, answer in zip(scored, conversations, answers, strict=True):
        totals = own.parts or {_name(reward): sum(own.rewards)}
        for name, total in totals.items():
            if not math.isfinite(total):
                raise NotFinite(f"the reward is not finite: {name} gave {total}; {_place(messages, answer)}")


def with_total(row: list[float], total: float) -> list[float]:
    """The rewards of an answer's tokens with another sum; the last token bears the difference.

    Only there is the sum decided. Had earlier tokens borne it, what they earned would depend on later choices, and
    those would not be charged with it: advantages look ahead, never back.
    """
    return [*row[:-1], total - sum(row[:-1])]


def _token_rows(reward: Reward, conversations: Sequence[Messages], answers: Sequence[Generation]) -> list[list[float]]:
    values = _plain(reward(conversations, answers))
    if not isinstance(values, (list, tuple)) or len(values) != len(answers):
        given = f"{len(values)} values" if isinstance(values, (list, tuple)) else type(values).__name__
        raise BadReward(f"reward {_name(reward)} gave {given} for {len(answers)} answers; a list of one each is needed")
    return [
        _token_row(reward, value, messages, answer)
        for value, messages, answer in zip(values, conversations, answers, strict=True)
    ]


def _token_row(reward: Reward, value: object, messages: Messages, answer: Generation) -> list[float]:
    value, tokens = _plain(value), len(answer.ids)
    row = [_plain(item) for item in value] if isinstance(value, (list, tuple)) else [value]
    numbers = [float(item) for item in row if isinstance(item, Real)]
    if len(numbers) != len(row):
        raise _bad(reward, f"gave {value!r:.40}, which is neither a number nor one for each token", messages, answer)
    if isinstance(value, Real):
        return [0.0] * (tokens - 1) + numbers
    if len(numbers) != tokens:
        raise _bad(reward, f"gave {len(numbers)} values for an answer of {tokens} tokens", messages, answer)
    return numbers


def _plain(value: Any) -> Any:
    """Numbers and lists out of NumPy's and torch's scalars and arrays."""
    return value.tolist() if hasattr(value, "tolist") else value


def _name(reward: Reward) -> str:
    return str(getattr(reward, "__qualname__", type(reward).__name__))


def _bad(reward: Reward, fault: str, messages: Messages, answer: Generation) -> BadReward:
    line = " ".join(fault.split())
    return BadReward(f"reward {_name(reward)} {line:.160}; {_place(messages, answer)}")


def _place(messages: Messages, answer: Generation) -> str:
    return f"prompt {messages[-1].content[:60]!r}, answer {answer.text[:60]!r}"
