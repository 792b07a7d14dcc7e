"""One calibrated logistic regression per category on the encoder's vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from accordant.errors import AccordantError
from accordant.files import read_json, write_json
from accordant.moderation.encoder import Embedded
from accordant.records import CATEGORIES, Category, LabelledText

WEIGHTS = "heads.safetensors"
RECORD = "heads.json"


def label_matrix(rows: Sequence[LabelledText]) -> np.ndarray:
    """Labels (rows, categories): 1, 0, or NaN where nobody judged."""
    return np.array([[float(row.labels.get(c, np.nan)) for c in CATEGORIES] for row in rows]).reshape(
        -1, len(CATEGORIES)
    )


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, penalties: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regressions that share their features, each on the rows whose label is known.

    Each minimises the sum over its rows of weight times -log p(label), plus penalty / 2 times the squared length of
    its coefficients; the intercept is free. The problem is convex (Hastie et al. 2009, section 4.4), solved by L-BFGS
    in float64.

    Args:
        features: (rows, size).
        labels: (rows, tasks) of 1, 0 and NaN.
        penalties: (tasks,), above 0.
        weights: (rows,) of rows; all 1 where absent.

    Returns:
        Coefficients (tasks, size) and intercepts (tasks,). A task without a row of each label has NaN.
    """
    x, known = torch.from_numpy(features), torch.from_numpy(~np.isnan(labels))
    y = torch.from_numpy(np.nan_to_num(labels))
    row_weights = known * torch.from_numpy(np.ones(len(features)) if weights is None else weights)[:, None]
    penalty = torch.from_numpy(penalties)
    theta = torch.zeros(labels.shape[1], features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=500,
        tolerance_grad=1e-6,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ theta[:, :-1].T + theta[:, -1]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, row_weights, reduction="sum")
        total = losses + (penalty * theta[:, :-1].square().sum(1)).sum() / 2
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call, arg-type]
    found = theta.detach().numpy()
    positive, negative = (np.nansum(part, axis=0) for part in (labels == 1, labels == 0))
    found[(positive == 0) | (negative == 0)] = np.nan
    return found[:, :-1], found[:, -1]


@dataclass(frozen=True)
class Heads:
    """Coefficients (categories, size) and intercepts (categories,); NaN for a category without a head."""

    coefficients: np.ndarray
    intercepts: np.ndarray

    def logits(self, embedded: Embedded, texts: int) -> np.ndarray:
        """(texts, categories): of each text the highest of its windows."""
        found = np.full((texts, len(CATEGORIES)), -np.inf)
        logits = embedded.vectors @ self.coefficients.T + self.intercepts
        np.maximum.at(found, embedded.texts, logits)
        return found

    def calibrated(self, slopes: np.ndarray, offsets: np.ndarray) -> "Heads":
        """The same with logits mapped to slope * logit + offset (Platt 1999), both (categories,)."""
        return Heads(self.coefficients * slopes[:, None], self.intercepts * slopes + offsets)

    @property
    def trained(self) -> tuple[Category, ...]:
        """The categories that have a head."""
        return tuple(c for c, intercept in zip(CATEGORIES, self.intercepts, strict=True) if not np.isnan(intercept))

    def save(self, folder: Path, record: dict[str, Any]) -> None:
        """Write them into a folder, with the record of their training."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"coefficients": self.coefficients, "intercepts": self.intercepts}
        save_file({name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}, folder / WEIGHTS)
        write_json(folder / RECORD, {"categories": CATEGORIES, **record})

    @classmethod
    def load(cls, folder: Path, encoder_digest: str, size: int) -> "Heads":
        """Read what `save` wrote.

        Raises:
            AccordantError: when they are missing or damaged, or belong to another encoder.
        """
        record = read_json(folder / RECORD)
        if record.get("encoder") != encoder_digest:
            raise AccordantError(
                f"the heads in {folder} were trained on another encoder; train them again: accordant moderation train"
            )
        try:
            arrays = load_file(folder / WEIGHTS)
            found = cls(arrays["coefficients"].astype(np.float64), arrays["intercepts"].astype(np.float64))
        except Exception as error:
            raise AccordantError(f"{folder / WEIGHTS} is damaged ({error}); train the heads again") from None
        if found.coefficients.shape != (len(CATEGORIES), size) or record["categories"] != list(CATEGORIES):
            raise AccordantError(f"{folder / WEIGHTS} has heads of another shape; train them again")
        return found
