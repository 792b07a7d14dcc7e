"""From labelled texts to calibrated heads, and their scores on rows that they did not see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accordant.moderation.encoder import Embedded
from accordant.moderation.folds import stratified_folds
from accordant.moderation.heads import Heads, fit_logistic
from accordant.records import CATEGORIES

PENALTIES = (0.1, 0.3, 1.0)
_PLATT_PENALTY = 1e-3
_INNER_FOLDS = 3


@dataclass(frozen=True)
class Examples:
    """Embedded texts with labels (texts, categories), NaN for unknown; each has a group of duplicates and a weight.

    A weight counts in training, in the choice of penalties and in calibration.
    """

    embedded: Embedded
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray

    def take(self, texts: np.ndarray) -> "Examples":
        """The texts where `texts` (texts,) is true, counted anew."""
        windows = texts[self.embedded.texts]
        renumbered = (np.cumsum(texts) - 1)[self.embedded.texts[windows]]
        embedded = Embedded(self.embedded.vectors[windows], renumbered)
        return Examples(embedded, self.labels[texts], self.groups[texts], self.weights[texts])

    def fit(self, penalties: np.ndarray) -> list[Heads]:
        """Heads of these rows for each row of `penalties` (n, categories), found together: that costs little more.

        Each window stands for its text, and all windows of a text weigh as much as one row.
        """
        of_text, n = self.embedded.texts, len(penalties)
        weights = (self.weights / np.bincount(of_text))[of_text]
        labels = np.tile(self.labels[of_text], (1, n))
        coefficients, intercepts = fit_logistic(self.embedded.vectors, labels, penalties.ravel(), weights)
        return [Heads(*pair) for pair in zip(np.split(coefficients, n), np.split(intercepts, n), strict=True)]

    def logits(self, heads: Heads) -> np.ndarray:
        """(texts, categories)."""
        return heads.logits(self.embedded, len(self.labels))


@dataclass(frozen=True)
class Trained:
    """Heads, the penalty that each was trained with, and their calibration: logit -> slope * logit + offset."""

    heads: Heads
    penalties: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray


def out_of_fold(
    examples: Examples, folds: int, seed: int, score: Callable[[Examples, Examples], np.ndarray]
) -> np.ndarray:
    """Scores (texts, ...) of every text from a training that saw neither it nor a duplicate.

    `score(training, rest)` gives those of `rest`.
    """
    fold_of = stratified_folds(examples.groups.tolist(), examples.labels, folds, seed)
    parts = [score(examples.take(fold_of != fold), examples.take(fold_of == fold)) for fold in range(folds)]
    places = np.concatenate([np.flatnonzero(fold_of == fold) for fold in range(folds)])
    found: np.ndarray = np.concatenate(parts)[np.argsort(places)]
    return found


def train_heads(examples: Examples, folds: int = 5, seed: int = 0) -> Trained:
    """Choose each head's penalty by its log loss out of fold, calibrate on the same logits, train on everything."""
    candidates = np.tile(np.array(PENALTIES)[:, None], (1, len(CATEGORIES)))

    def logits_of_each(training: Examples, rest: Examples) -> np.ndarray:
        return np.stack([rest.logits(heads) for heads in training.fit(candidates)], axis=2)

    every = out_of_fold(examples, folds, seed, logits_of_each)
    truth, weights = examples.labels, examples.weights
    losses = [[log_loss(every[:, c, p], truth[:, c], weights) for p in range(len(PENALTIES))] for c in _places()]
    best = np.array(losses).argmin(axis=1)
    slopes, offsets = platt(np.stack([every[:, c, best[c]] for c in _places()], axis=1), truth, weights)
    penalties = np.array(PENALTIES)[best]
    (heads,) = examples.fit(penalties[None])
    return Trained(heads.calibrated(slopes, offsets), penalties, slopes, offsets)


def cross_validate(examples: Examples, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Calibrated logits (texts, categories) out of fold; penalty and calibration are chosen inside each fold."""
    return out_of_fold(
        examples, folds, seed, lambda training, rest: rest.logits(train_heads(training, _INNER_FOLDS, seed + 1).heads)
    )


def platt(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset (categories,) that make logits fit the labels best (Platt 1999); 1 and 0 without logits.

    Where higher logits do not go with more positive labels, the head knows nothing: slope 0, and the base rate.
    """
    slopes, offsets = np.ones(len(CATEGORIES)), np.zeros(len(CATEGORIES))
    for c in _places():
        usable = ~np.isnan(labels[:, c]) & ~np.isnan(logits[:, c])
        truth = labels[usable, c : c + 1]
        if len(np.unique(truth)) < 2:
            continue
        penalty, own = np.array([_PLATT_PENALTY]), weights[usable]
        coefficients, intercepts = fit_logistic(logits[usable, c : c + 1], truth, penalty, own)
        rate = np.average(truth[:, 0], weights=own)
        slopes[c], offsets[c] = max(0.0, coefficients[0, 0]), intercepts[0]
        if slopes[c] == 0:
            offsets[c] = np.log(rate / (1 - rate))
    return slopes, offsets


def log_loss(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Weighted mean of -log p(label), nats, over texts with a known label and a logit; infinite where there is none."""
    usable = ~np.isnan(labels) & ~np.isnan(logits)
    if not usable.any():
        return np.inf
    z, y = logits[usable], labels[usable]
    return float(np.average(np.logaddexp(0, z) - y * z, weights=weights[usable]))


def _places() -> range:
    return range(len(CATEGORIES))
