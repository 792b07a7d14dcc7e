"""Rows to learn from and to measure on: labelled texts, and dialogues that hold nothing bad."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accordant.data.load import load_demonstrations, load_labelled_texts, load_prompts
from accordant.data.split import normalised
from accordant.files import sha256
from accordant.moderation.encoder import Encoder
from accordant.moderation.fitting import Examples
from accordant.moderation.heads import label_matrix
from accordant.records import CATEGORIES, LabelledText

_NOT_HARMLESS = ("harmful", "distress")
"""Tags of dialogues in which a category may well be present."""


@dataclass(frozen=True)
class Source:
    """The rows of one file."""

    path: Path
    rows: tuple[LabelledText, ...]
    summary: str
    weight: float = 1.0

    def to_json(self) -> dict[str, object]:
        """Name, digest, size and weight, for the record."""
        digest = sha256(self.path)
        return {"file": self.path.name, "sha256": digest, "texts": len(self.rows), "weight": self.weight}


def labelled(path: Path) -> Source:
    """A file of labelled texts in any known format."""
    loaded = load_labelled_texts(path)
    return Source(path, loaded.records, loaded.summary())


def harmless(path: Path, weight: float) -> Source:
    """Every turn of a file of demonstrations as a text without any category, each text once."""
    loaded = load_demonstrations(path)
    said = [m.content for r in loaded.records if r.tag not in _NOT_HARMLESS for m in r.messages if m.role != "system"]
    absent = dict.fromkeys(CATEGORIES, False)
    rows = [LabelledText(id=f"{path.stem}:{i}", text=t, labels=absent) for i, t in enumerate(dict.fromkeys(said), 1)]
    return Source(path, tuple(rows), f"{path.name}: {len(rows):,} harmless texts, weight {weight:g}", weight)


def lookalikes(path: Path) -> list[str]:
    """The prompts of a file that are to be answered: harmless ones that may look harmful."""
    prompts = load_prompts(path).records
    return [record.messages[-1].content for record in prompts if record.expect != "refuse"]


def examples(encoder: Encoder, sources: Sequence[Source]) -> Examples:
    """All rows of all sources, in order, embedded; texts that differ in case and punctuation alone are one group."""
    rows = [row for source in sources for row in source.rows]
    groups = np.array([normalised(row.text) for row in rows])
    weights = np.array([source.weight for source in sources for _ in source.rows])
    return Examples(encoder.embed([row.text for row in rows]), label_matrix(rows), groups, weights)
