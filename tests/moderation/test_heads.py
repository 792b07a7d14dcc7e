"""The logistic heads: against the conditions of the optimum, masks, calibration, and files."""

from pathlib import Path

import numpy as np
import pytest

from accordant.errors import AccordantError
from accordant.moderation.encoder import Embedded
from accordant.moderation.fitting import Examples, cross_validate, log_loss, platt, train_heads
from accordant.moderation.folds import stratified_folds
from accordant.moderation.heads import Heads, fit_logistic, label_matrix
from accordant.records import CATEGORIES, LabelledText

TASKS = len(CATEGORIES)


def random_rows(seed: int = 0, rows: int = 120, size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, size))
    chance = 1 / (1 + np.exp(-(x @ random.normal(size=(size, TASKS)))))
    return x, (random.random((rows, TASKS)) < chance).astype(float)


def gradient(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: float, penalty: float, weights: np.ndarray) -> np.ndarray:
    """Of the penalised loss of one task, term by term."""
    total = np.append(penalty * w, 0.0)
    for row, label, weight in zip(x, y, weights, strict=True):
        if not np.isnan(label):
            chance = 1 / (1 + np.exp(-(float(row @ w) + b)))
            total += weight * (chance - label) * np.append(row, 1.0)
    return total


def test_the_gradient_vanishes_at_the_solution_with_masks_and_weights() -> None:
    x, y = random_rows()
    random = np.random.default_rng(1)
    y[random.random(y.shape) < 0.4] = np.nan
    weights, penalties = random.uniform(0.2, 2, len(x)), np.linspace(0.1, 3, TASKS)
    coefficients, intercepts = fit_logistic(x, y, penalties, weights)
    for task in range(TASKS):
        slope = gradient(x, y[:, task], coefficients[task], intercepts[task], penalties[task], weights)
        assert np.abs(slope).max() < 1e-4


def test_an_unknown_label_is_as_if_the_row_were_not_there() -> None:
    x, y = random_rows()
    y[60:, 0] = np.nan
    masked = fit_logistic(x, y[:, :1], np.array([1.0]))
    cut = fit_logistic(x[:60], y[:60, :1], np.array([1.0]))
    np.testing.assert_allclose(masked[0], cut[0], atol=1e-4)
    as_negative = fit_logistic(x, np.nan_to_num(y[:, :1]), np.array([1.0]))
    assert np.abs(as_negative[0] - cut[0]).max() > 0.1


def test_a_strong_penalty_leaves_the_base_rate() -> None:
    x, y = random_rows()
    coefficients, intercepts = fit_logistic(x, y, np.full(TASKS, 1e6))
    assert np.abs(coefficients).max() < 1e-3
    np.testing.assert_allclose(1 / (1 + np.exp(-intercepts)), y.mean(axis=0), atol=1e-3)


def test_a_category_without_both_labels_has_no_head() -> None:
    x, y = random_rows()
    y[:, 0], y[:, 1], y[:, 2] = 0, 1, np.nan
    heads = Heads(*fit_logistic(x, y, np.ones(TASKS)))
    assert heads.trained == CATEGORIES[3:]


def test_a_text_has_the_logits_of_its_worst_window() -> None:
    heads = Heads(np.ones((TASKS, 1)), np.zeros(TASKS))
    heads.coefficients[1] = -1
    heads.intercepts[2] = np.nan
    found = heads.logits(Embedded(np.array([[1.0], [3.0], [-2.0]]), np.array([0, 0, 1])), 2)
    assert found[:, 0].tolist() == [3, -2]
    assert found[:, 1].tolist() == [-1, 2]
    assert np.isnan(found[:, 2]).all()


def test_platt_finds_the_line_that_made_the_labels() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (60_000, TASKS))
    labels = (random.random(logits.shape) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(float)
    slopes, offsets = platt(logits, labels, np.ones(len(labels)))
    np.testing.assert_allclose(slopes, 0.5, atol=0.03)
    np.testing.assert_allclose(offsets, -1, atol=0.05)


def test_logits_that_go_the_wrong_way_become_the_base_rate() -> None:
    logits = np.tile(np.linspace(-1, 1, 40)[:, None], (1, TASKS))
    labels = np.tile((np.arange(40) < 10).astype(float)[:, None], (1, TASKS))
    slopes, offsets = platt(logits, labels, np.ones(len(labels)))
    assert slopes.tolist() == [0.0] * TASKS
    np.testing.assert_allclose(1 / (1 + np.exp(-offsets)), 0.25)


def test_log_loss_is_the_mean_of_minus_log_p() -> None:
    logits, labels = np.array([0.0, 2.0, -1.0, 5.0]), np.array([1.0, 0.0, 1.0, np.nan])
    p = 1 / (1 + np.exp(-logits))
    assert log_loss(logits, labels, np.ones(4)) == pytest.approx(-(np.log(p[0]) + np.log(1 - p[1]) + np.log(p[2])) / 3)
    assert log_loss(logits, np.full(4, np.nan), np.ones(4)) == np.inf


def separable(rows: int = 80) -> Examples:
    """Texts of one or two windows; the first category shows in the first coordinate, the second nowhere."""
    random = np.random.default_rng(3)
    labels = np.full((rows, TASKS), np.nan)
    labels[:, :2] = random.random((rows, 2)) < 0.4
    of_text = np.sort(np.concatenate((np.arange(rows), np.arange(0, rows, 4))))
    vectors = random.normal(0, 1, (len(of_text), 4))
    vectors[:, 0] += 4 * labels[of_text, 0]
    return Examples(Embedded(vectors, of_text), labels, np.array([str(i) for i in range(rows)]), np.ones(rows))


def test_what_can_be_learned_is_learned_and_what_cannot_is_not_claimed() -> None:
    examples = separable()
    trained = train_heads(examples)
    assert trained.heads.trained == CATEGORIES[:2]
    chances = 1 / (1 + np.exp(-cross_validate(examples)[:, :2]))
    truth = examples.labels[:, :2]
    assert chances[truth[:, 0] == 1, 0].mean() > chances[truth[:, 0] == 0, 0].mean() + 0.6
    assert np.abs(chances[:, 1] - truth[:, 1].mean()).mean() < 0.15


def test_training_twice_gives_the_same_bits() -> None:
    one, two = (train_heads(separable()) for _ in range(2))
    assert np.array_equal(one.heads.coefficients, two.heads.coefficients, equal_nan=True)
    assert np.array_equal(cross_validate(separable()), cross_validate(separable()), equal_nan=True)


def test_a_scored_text_and_its_duplicates_were_not_trained_on() -> None:
    """Labels that only memory can know: vectors are pure noise, and each text stands there twice."""
    random = np.random.default_rng(0)
    vectors = np.repeat(random.normal(size=(40, 30)) * 10, 2, axis=0)
    labels = np.full((80, TASKS), np.nan)
    labels[:, 0] = np.repeat(np.arange(40) % 2, 2)
    groups = np.repeat([str(i) for i in range(40)], 2)
    examples = Examples(Embedded(vectors, np.arange(80)), labels, groups, np.ones(80))
    logits = cross_validate(examples)[:, 0]
    assert np.mean((logits > 0) == (labels[:, 0] == 1)) < 0.75


def test_folds_keep_groups_together_and_spread_rare_labels() -> None:
    random = np.random.default_rng(0)
    groups = [f"g{i // 2}" for i in range(200)]
    labels = np.full((200, 3), np.nan)
    labels[:, 0] = random.random(200) < 0.5
    labels[:20, 1] = 1
    labels[20:, 1] = 0
    fold_of = stratified_folds(groups, labels, 5, seed=0)
    for group in set(groups):
        assert len({fold for fold, own in zip(fold_of, groups, strict=True) if own == group}) == 1
    assert [(labels[fold_of == fold, 1] == 1).sum() for fold in range(5)] == [4] * 5
    assert [(fold_of == fold).sum() for fold in range(5)] == [40] * 5
    assert not np.array_equal(fold_of, stratified_folds(groups, labels, 5, seed=1))


def test_heads_go_to_disk_and_back_and_fit_no_other_encoder(tmp_path: Path) -> None:
    x, y = random_rows()
    y[:, 1] = 0
    heads = Heads(*fit_logistic(x, y, np.ones(TASKS)))
    heads.save(tmp_path, {"encoder": "abc"})
    again = Heads.load(tmp_path, "abc", 5)
    np.testing.assert_allclose(again.coefficients, heads.coefficients, rtol=1e-6)
    assert again.trained == heads.trained
    with pytest.raises(AccordantError, match="trained on another encoder"):
        Heads.load(tmp_path, "abd", 5)
    with pytest.raises(AccordantError, match="another shape"):
        Heads.load(tmp_path, "abc", 6)
    (tmp_path / "heads.safetensors").write_bytes(b"broken")
    with pytest.raises(AccordantError, match="is damaged"):
        Heads.load(tmp_path, "abc", 5)


def test_a_label_that_nobody_gave_is_unknown() -> None:
    row = LabelledText(id="x", text="Hi", labels={"hate": True, "violence": False})
    found = dict(zip(CATEGORIES, label_matrix([row])[0], strict=True))
    assert (found.pop("hate"), found.pop("violence")) == (1, 0)
    assert np.isnan(list(found.values())).all()


def test_a_weight_of_two_is_the_text_twice() -> None:
    """In training and, out of fold with duplicates together, in the choice of penalties and in calibration."""
    examples = separable()
    heavy = Examples(examples.embedded, examples.labels, examples.groups, np.where(np.arange(80) < 40, 2.0, 1.0))
    penalties = np.ones((1, TASKS))
    twice = np.concatenate((np.arange(80), np.arange(40)))
    windows = [np.flatnonzero(examples.embedded.texts == text) for text in twice]
    of_text = np.repeat(np.arange(len(twice)), [len(own) for own in windows])
    repeated = Examples(
        Embedded(examples.embedded.vectors[np.concatenate(windows)], of_text),
        examples.labels[twice], examples.groups[twice], np.ones(len(twice)),
    )  # fmt: skip
    one, other = heavy.fit(penalties)[0], repeated.fit(penalties)[0]
    np.testing.assert_allclose(one.coefficients[:2], other.coefficients[:2], atol=1e-4)
    logits, truth = np.random.default_rng(0).normal(size=(80, TASKS)), examples.labels
    calibrations = platt(logits, truth, heavy.weights), platt(logits[twice], truth[twice], np.ones(len(twice)))
    np.testing.assert_allclose(*calibrations, atol=1e-4)
    losses = (
        log_loss(logits[:, 0], truth[:, 0], heavy.weights),
        log_loss(logits[twice, 0], truth[twice, 0], np.ones(120)),
    )
    assert losses[0] == pytest.approx(losses[1])
