"""What every suite returns."""

from dataclasses import asdict, dataclass, field
from typing import Any

from accordant.stats import Interval


@dataclass(frozen=True)
class SuiteResult:
    """One suite on one checkpoint.

    n: items that `score` rests on. score: a share, higher is better. interval: 95 per cent, of `score`. details:
    further figures by name. samples: each item with what was judged, so that every figure can be traced to words.
    """

    suite: str
    n: int
    score: float
    interval: Interval
    details: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All fields; the interval as a list of two numbers."""
        return asdict(self) | {"interval": list(self.interval)}
