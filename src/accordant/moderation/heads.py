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
    # With a free intercept the solution is the same wherever the origin lies; from the mean it is found much sooner.
    centre = features.mean(axis=0)
    x, known = torch.from_numpy(features - centre), torch.from_numpy(~np.isnan(labels))
    y, penalty = torch.from_numpy(np.nan_to_num(labels)), torch.from_numpy(penalties)
    row_weights = known * torch.from_numpy(np.ones(len(features)) if weights is None else weights)[:, None]
    # In coordinates in which the largest Hessian that there can be is the identity, few steps are enough.
    identity = torch.eye(features.shape[1], dtype=torch.float64)
    root = torch.linalg.cholesky(x.T @ x / 4 + penalty.min() * identity)
    back = torch.linalg.solve_triangular(root, identity, upper=False)
    turned = x @ back.T
    found = torch.zeros(labels.shape[1], features.shape[1], dtype=torch.float64, requires_grad=True)
    intercepts = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [found, intercepts], max_iter=200, tolerance_grad=1e-5, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = turned @ found.T + intercepts
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, row_weights, reduction="sum")
        total: torch.Tensor = losses + (penalty * (found @ back).square().sum(1)).sum() / 2
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    coefficients = (found @ back).detach().numpy()
    offsets = intercepts.detach().numpy() - coefficients @ centre
    none = ~((labels == 1).any(axis=0) & (labels == 0).any(axis=0))
    coefficients[none], offsets[none] = np.nan, np.nan
    return coefficients, offsets


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
