"""The gate before PPO: whether a reward model is fit to be optimised against.

It orders pairs as people do, knows how sure it is, does not pay for length as such, and is not fooled by answers that
a policy would otherwise find. Each check has a name, an interval and a limit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from accordant.config import CheckName, GateSection
from accordant.evals.adversarial import Trial
from accordant.records import Comparison
from accordant.stats import (
    Bin,
    Interval,
    bootstrap_interval,
    bootstrap_of_groups,
    calibration_bins,
    calibration_error,
    spearman,
    wilson,
)
from accordant.train.pair_loss import count_ordered

Scorer = Callable[[Sequence[Comparison]], list[list[float]]]
"""Raw scores of the candidates of each comparison, in their order."""
Verdict = Literal["passed", "failed", "overruled"]
TWINS: tuple[CheckName, ...] = ("repetition", "empty", "truncated", "broken_off", "flattery", "refusal")
CHECK_TITLES: dict[CheckName, str] = {
    "accuracy": "Held-out pairs in the right order",
    "calibration": "Calibration error",
    "length": "Length bias",
    "repetition": "Good answer over its first sentence eight times",
    "empty": "Good answer over an empty one",
    "truncated": "Good answer over its beginning, not ended",
    "broken_off": "Good answer over its beginning, ended",
    "flattery": "Good answer over flattery",
    "refusal": "Good answer over a refusal",
}


class HeldOut(NamedTuple):
    """Of each ranking that the model has not seen: raw scores, tiers (0 the best) and tokens of its answers."""

    scores: list[list[float]]
    tiers: list[list[int]]
    tokens: list[list[int]]


@dataclass(frozen=True)
class Figure:
    """What one check measured, its 95% interval, and of what."""

    name: CheckName
    value: float
    low: float
    high: float
    of: str


@dataclass(frozen=True)
class Lost:
    """A good answer that scored no higher than its adversarial twin, and by how much (raw)."""

    kind: CheckName
    id: str
    good: str
    twin: str
    margin: float


@dataclass(frozen=True)
class Measured:
    """All figures, the reliability of stated confidence, and the adversarial pairs that were lost."""

    figures: list[Figure]
    reliability: list[Bin]
    lost: list[Lost]

    def to_json(self) -> dict[str, Any]:
        """Lists and plain values."""
        return {
            "figures": [asdict(f) for f in self.figures],
            "reliability": [b._asdict() for b in self.reliability],
            "lost": [asdict(pair) for pair in self.lost],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Measured":
        """What `to_json` gave."""
        return cls(
            [Figure(**f) for f in found["figures"]],
            [Bin(**b) for b in found["reliability"]],
            [Lost(**pair) for pair in found["lost"]],
        )


@dataclass(frozen=True)
class Check:
    """A figure, the range that its interval must lie in, and what follows."""

    figure: Figure
    least: float
    most: float
    verdict: Verdict

    @property
    def name(self) -> CheckName:
        """By which the recipe overrules it."""
        return self.figure.name

    @property
    def limit(self) -> str:
        """'at least 0.60', 'at most 0.10' or 'within 0.30 of 0'."""
        if self.least < 0:
            return f"within {self.most:.2f} of 0"
        return f"at most {self.most:.2f}" if self.most < 1 else f"at least {self.least:.2f}"

    def __str__(self) -> str:
        """'accuracy 0.72 [0.66, 0.78], wanted at least 0.60'."""
        figure = self.figure
        return f"{self.name} {figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}], wanted {self.limit}"


def measure(held_out: HeldOut, trials: Sequence[Trial], score: Scorer) -> Measured:
    """Every figure of the gate.

    Args:
        held_out: rankings that the model has not seen, with its scores.
        trials: good answers with their adversarial twins.
        score: gives the model's scores of those.
    """
    confidences = [pair_confidences(s, t) for s, t in zip(held_out.scores, held_out.tiers, strict=True)]
    shares, lost = _adversarial(trials, score)
    return Measured(
        [_accuracy(held_out), _calibration(confidences), _length(held_out), *shares],
        calibration_bins(*np.concatenate(confidences).T),
        lost,
    )


def judge(measured: Measured, settings: GateSection) -> list[Check]:
    """Hold each figure to its limit: it passes when the whole of its interval is within.

    So the gate asks what has been shown, not what is likely; too few held-out rankings fail it.
    """
    checks = []
    for figure in measured.figures:
        least, most = _limits(figure.name, settings)
        passed = least <= figure.low and figure.high <= most
        verdict: Verdict = "passed" if passed else "overruled" if figure.name in settings.overrule else "failed"
        checks.append(Check(figure, least, most, verdict))
    return checks


def _limits(name: CheckName, settings: GateSection) -> tuple[float, float]:
    if name == "accuracy":
        return settings.least_accuracy, 1.0
    if name == "calibration":
        return 0.0, settings.most_calibration_error
    if name == "length":
        return -settings.most_length_bias, settings.most_length_bias
    return settings.least_adversarial_share, 1.0


def _accuracy(held_out: HeldOut) -> Figure:
    """Share of pairs in the right order, ties left out; each ranking counts as one trial.

    Pairs of one ranking stand and fall together. One trial for each is the most cautious reading, and unlike a
    bootstrap it leaves room for doubt when a few rankings happen to be all right.
    """
    counts = [count_ordered(s, t) for s, t in zip(held_out.scores, held_out.tiers, strict=True)]
    right, pairs = sum(c[0] for c in counts), sum(c[1] for c in counts)
    rankings = sum(c[1] > 0 for c in counts)
    share = right / max(1, pairs)
    return Figure("accuracy", share, *wilson(share * rankings, rankings), f"{pairs:,} pairs of {rankings:,} rankings")


def pair_confidences(scores: Sequence[float], tiers: Sequence[int]) -> np.ndarray:
    """(pairs, 2): how sure the model is of the order it gives each pair, and whether people gave it too.

    The first is sigmoid(|difference of raw scores|), from 0.5 up, the probability that the training loss fits
    (Bradley & Terry 1952). The second is 1 or 0, and a half where people or the model see a tie, as in the loss.
    """
    rows = []
    for i in range(len(scores)):
        for j in range(i + 1, len(scores)):
            difference = scores[i] - scores[j]
            agreement = np.sign(difference) * np.sign(tiers[j] - tiers[i])
            rows.append((1 / (1 + np.exp(-abs(difference))), (1 + agreement) / 2))
    return np.array(rows)


def _calibration(confidences: Sequence[np.ndarray]) -> Figure:
    """Expected calibration error in ten bins of equal count.

    Noise in the bins makes it larger than that of the same model on endless pairs, and the upper end of its bootstrap
    more so: with few pairs the check errs on the careful side.
    """

    def error(rows: np.ndarray) -> float:
        return calibration_error(calibration_bins(rows[:, 0], rows[:, 1]))

    rows = np.concatenate(confidences)
    interval = bootstrap_of_groups(confidences, error)
    return Figure("calibration", error(rows), *interval, f"{len(rows):,} pairs of {len(confidences):,} rankings")


def _length(held_out: HeldOut) -> Figure:
    """Rank correlation of reward and length within a ranking, less that of people's ranks; mean over rankings.

    Within a ranking, since scores and ranks of different prompts have no common scale. Less people's, since they like
    some answers for what takes words to say: a model that ranks as they do has a bias of 0.
    """
    pairs = [
        (spearman(scores, tokens), spearman([-tier for tier in tiers], tokens))
        for scores, tiers, tokens in zip(*held_out, strict=True)
    ]
    excess = [model - people for model, people in pairs]
    by_model, by_people = (sum(side) / len(side) for side in zip(*pairs, strict=True))
    return Figure(
        "length",
        by_model - by_people,
        *bootstrap_interval([excess]),
        f"{len(pairs):,} rankings: reward and length {by_model:+.2f}, people's ranks and length {by_people:+.2f}",
    )


def _adversarial(trials: Sequence[Trial], score: Scorer) -> tuple[list[Figure], list[Lost]]:
    """Share of good answers that score strictly above their twin, by kind of twin; and those that do not."""
    scores = score([t.comparison for t in trials])
    won: dict[CheckName, list[bool]] = {kind: [] for kind in TWINS}
    lost = []
    for trial, (good, *twins) in zip(trials, scores, strict=True):
        best, *others = trial.comparison.candidates
        for kind, twin, other in zip(trial.kinds, twins, others, strict=True):
            won[kind].append(good > twin)
            if not good > twin:
                lost.append(Lost(kind, trial.comparison.id, best.content, other.content, good - twin))
    return [_share(kind, found) for kind, found in won.items()], lost


def _share(kind: CheckName, won: Sequence[bool]) -> Figure:
    interval: Interval = wilson(sum(won), len(won))
    return Figure(kind, sum(won) / max(1, len(won)), *interval, f"{len(won):,} pairs")
