"""What is asked of the engine, and what it gives."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from accordant.engine.sampler import Sampling
from accordant.engine.shaping import Nudges, TokenChoice


@dataclass
class Generation:
    """One answer: `ids` with the end-of-turn token where it ended, and the log-prob of each as it was sampled.

    `pieces` are the text that each token added; together they are `text`, unless a stop text was cut off it. `tokens`
    is filled for those who asked for alternatives.
    """

    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    text: str = ""
    finish: Literal["stop", "length"] = "length"
    pieces: list[str] = field(default_factory=list)
    tokens: list[TokenChoice] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the model closed its turn (or a stop text did)."""
        return self.finish == "stop"


class Ask(NamedTuple):
    """A prompt and how its answers are drawn.

    Attributes:
        prompt: token ids, at least one.
        sampling: of every answer; answer r draws from random numbers (seed, r).
        samples: how many answers.
        alternatives: also record each token's log-prob under the model itself, with so many of the likeliest.
        nudges: added to the logits.
        schema: the answer is JSON that this schema (JSON Schema) allows.
    """

    prompt: list[int]
    sampling: Sampling
    samples: int = 1
    alternatives: int | None = None
    nudges: Nudges | None = None
    schema: dict[str, Any] | None = None
