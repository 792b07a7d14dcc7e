"""Folds for cross-validation: like rows together, rare labels spread evenly."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


def stratified_folds(groups: Sequence[Hashable], labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, 0 to `folds` - 1.

    Rows of one group (duplicates) share a fold. Groups are dealt out rarest label first, each to the fold that has
    fewest with its rarest label (after Sechidis et al. 2011, "On the Stratification of Multi-Label Data").

    Args:
        groups: of each row.
        labels: (rows, categories) of 1, 0 and NaN.
        folds: how many, at least 2.
        seed: decides the order among equals.
    """
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    positives = np.nansum(labels == 1, axis=0)
    rarest_first = np.argsort(positives, kind="stable")

    def rarest(rows: list[int]) -> int:
        """The place of the rarest category that any of these rows has; behind all of them where there is none."""
        has = (labels[rows] == 1).any(axis=0)[rarest_first]
        return int(has.argmax()) if has.any() else len(has)

    dealt = np.zeros((labels.shape[1] + 1, folds), dtype=np.int64)
    fold_of = np.zeros(len(groups), dtype=np.int64)
    every = list(members.values())
    for place in sorted(np.random.default_rng(seed).permutation(len(every)), key=lambda place: rarest(every[place])):
        label = rarest(every[place])
        fold = min(range(folds), key=lambda fold: (dealt[label, fold], dealt[:, fold].sum(), fold))
        dealt[label, fold] += len(every[place])
        fold_of[every[place]] = fold
    return fold_of
