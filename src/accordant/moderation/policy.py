"""What a score leads to: per category allow, warn or block, for the user's words and for the model's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from accordant.config import Section, ShareLimit
from accordant.records import CATEGORIES, Category

Action = Literal["allow", "warn", "block"]
Side = Literal["user", "model"]
Scores = Mapping[Category, float]
"""Probability of each category."""


class Thresholds(Section):
    """From which probability on a category leads to something."""

    warn: ShareLimit = Field(0.35, description='Least probability that warns; "off": never.')
    block: ShareLimit = Field(0.6, description='Least probability that blocks; "off": never.')

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.warn is not None and self.block is not None and self.warn > self.block:
            raise ValueError(f"warn = {self.warn} is above block = {self.block}; it would never warn")
        return self

    def action(self, score: float) -> Action:
        """What a probability leads to."""
        if self.block is not None and score >= self.block:
            return "block"
        return "warn" if self.warn is not None and score >= self.warn else "allow"


_STRICT = Thresholds(warn=0.2, block=0.3)
_DEFAULTS: dict[Side, dict[Category, Thresholds]] = {
    # Who speaks of harming himself must be answered, not turned away.
    "user": {"sexual/minors": _STRICT, "self-harm": Thresholds(warn=0.3, block=None)},
    "model": {"sexual/minors": _STRICT},
}


@dataclass(frozen=True)
class Verdict:
    """What was found in a text and what follows from it."""

    scores: Scores
    actions: Mapping[Category, Action]

    @property
    def flags(self) -> dict[Category, bool]:
        """Whether each category leads to a warning or a block."""
        return {category: action != "allow" for category, action in self.actions.items()}

    @property
    def categories(self) -> tuple[Category, ...]:
        """The flagged ones, the most probable first."""
        return tuple(sorted((c for c, flag in self.flags.items() if flag), key=lambda c: -self.scores[c]))

    @property
    def flagged(self) -> bool:
        """Whether any category is."""
        return bool(self.categories)

    @property
    def action(self) -> Action:
        """The most severe one."""
        found = set(self.actions.values())
        return "block" if "block" in found else "warn" if "warn" in found else "allow"


class Policy(Section):
    """The thresholds of all categories; one that is not named has the default of its side."""

    user: dict[Category, Thresholds] = Field(default_factory=dict, description="For what people write.")
    model: dict[Category, Thresholds] = Field(default_factory=dict, description="For what the model writes.")

    def thresholds(self, side: Side, category: Category) -> Thresholds:
        """Those in force."""
        named = self.user if side == "user" else self.model
        return named.get(category) or _DEFAULTS[side].get(category) or Thresholds()

    def verdict(self, scores: Scores, side: Side) -> Verdict:
        """Apply the thresholds of one side."""
        return Verdict(scores, {c: self.thresholds(side, c).action(score) for c, score in scores.items()})


DEFAULT_POLICY = Policy()


def openai_shape(verdicts: Sequence[Verdict], model: str, id: str) -> dict[str, Any]:
    """The body of an answer of OpenAI's `/v1/moderations` to as many inputs as there are verdicts."""
    results = [
        {
            "flagged": verdict.flagged,
            "categories": {category: verdict.flags[category] for category in CATEGORIES},
            "category_scores": {category: verdict.scores[category] for category in CATEGORIES},
            "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
        }
        for verdict in verdicts
    ]
    return {"id": id, "model": model, "results": results}
