"""How well people agree beyond chance: Krippendorff's alpha."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

Scale = Literal["nominal", "ordinal"]


class Alpha(NamedTuple):
    """Krippendorff's alpha, and what it was computed from.

    Attributes:
        alpha: 1 is perfect agreement, 0 what chance gives, below 0 systematic disagreement; None where nothing can be
            said, because nobody judged the same thing or everybody said the same of everything.
        units: things that at least two people judged.
        values: judgements of those.
    """

    alpha: float | None
    units: int
    values: int


def krippendorff_alpha(units: Iterable[Sequence[int]], scale: Scale) -> Alpha:
    """Agreement on units, each given as all values that people gave it, in any order.

    By the coincidence matrix (Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011): alpha is 1 less the
    observed disagreement over that expected when the same values are paired at random.

    Args:
        units: values of each unit; units with fewer than two say nothing and are left out.
        scale: `nominal`: values are alike or not; `ordinal`: they are ranks, and apart by how many values lie between.
    """
    paired = [values for values in units if len(values) > 1]
    known = sorted({value for values in paired for value in values})
    place = {value: number for number, value in enumerate(known)}
    coincidences = np.zeros((len(known), len(known)))
    for values in paired:
        counts = np.bincount([place[value] for value in values], minlength=len(known)).astype(float)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)
    totals = coincidences.sum(axis=0)
    apart = _apart(totals, scale)
    expected = totals @ apart @ totals
    count = sum(map(len, paired))
    if not expected:
        return Alpha(None, len(paired), count)
    return Alpha(float(1 - (totals.sum() - 1) * (coincidences * apart).sum() / expected), len(paired), count)


def _apart(totals: np.ndarray, scale: Scale) -> np.ndarray:
    """Squared differences between the values, in their order."""
    if scale == "nominal":
        return 1.0 - np.eye(len(totals))
    middles = np.cumsum(totals) - totals / 2
    return np.asarray((middles[:, None] - middles[None, :]) ** 2)
