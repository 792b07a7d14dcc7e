"""One judged answer, and the shares that suites draw from several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accordant.engine import Generation
from accordant.records import EvaluationPrompt, Expectation
from accordant.stats import Interval, bootstrap_interval, wilson


@dataclass(frozen=True)
class Judged:
    """A prompt, the answer to it, what the scorers say the answer does, and whether that is right here."""

    prompt: EvaluationPrompt
    answer: Generation
    verdict: Expectation
    right: bool

    def sample(self) -> dict[str, Any]:
        """What a report shows of it."""
        return {
            "id": self.prompt.id,
            "prompt": self.prompt.messages[-1].content,
            "answer": self.answer.text,
            "expect": self.prompt.expect,
            "verdict": self.verdict,
            "right": self.right,
            "tag": self.prompt.tag,
        }


def share_right(judged: Sequence[Judged]) -> float:
    """Share of right ones."""
    return sum(j.right for j in judged) / len(judged)


def interval_right(judged: Sequence[Judged]) -> Interval:
    """Wilson interval of `share_right`."""
    return wilson(sum(j.right for j in judged), len(judged))


def balance(one: Sequence[Judged], other: Sequence[Judged]) -> tuple[float, Interval]:
    """Mean of two shares, whatever their sizes, with a bootstrap interval in which each side is resampled (seed 0).

    A model that refuses everything, or disputes everything, gets 0.5: no better than one that never does.
    """
    sides = [[float(j.right) for j in side] for side in (one, other)]
    return (share_right(one) + share_right(other)) / 2, bootstrap_interval(sides)
