"""`accordant moderation train` and `eval` as functions: files in, heads, model card and figures out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accordant import __version__
from accordant.errors import AccordantError
from accordant.files import new_directory, read_json, workspace
from accordant.machine import keep_freed_memory, resolve_dtype
from accordant.model.int8 import int8_is_fast
from accordant.moderation.card import model_card
from accordant.moderation.encoder import Encoder, bring_encoder
from accordant.moderation.evaluation import false_alarms, measure, milliseconds
from accordant.moderation.fitting import Examples, cross_validate, train_heads
from accordant.moderation.heads import RECORD, Heads
from accordant.moderation.moderator import Moderator, encoder_folder, heads_folder, probabilities
from accordant.moderation.policy import DEFAULT_POLICY
from accordant.moderation.rows import Source, examples, harmless, labelled, lookalikes
from accordant.records import CATEGORIES

Say = Callable[[str], None]


@dataclass(frozen=True)
class Written:
    """The folder of new heads and their cross-validated figures."""

    folder: Path
    figures: dict[str, Any]


def train_and_write(
    data: Sequence[Path],
    harmless_files: Sequence[Path],
    harmless_weight: float,
    lookalike_files: Sequence[Path],
    folds: int,
    seed: int,
    out: Path | None,
    say: Say,
    command: str,
) -> Written:
    """Train heads on all rows and write them; figures of `data[0]` are cross-validated, the rest always trained on.

    Raises:
        AccordantError: when a file cannot be used, or no category has rows of both labels.
    """
    sources = _sources(data, harmless_files, harmless_weight, say)
    encoder = _encoder()
    rows = examples(encoder, sources)
    trained = train_heads(rows, folds, seed)
    if not trained.heads.trained:
        raise AccordantError(f"{data[0]} has no category with texts of both labels; nothing can be learned from it")
    say(f"cross-validating on {len(rows.labels):,} texts ({folds} folds)")
    figures = _cross_validated(rows, sources, folds, seed)
    moderator = Moderator(encoder, trained.heads)
    figures |= _aside(moderator, lookalike_files, [row.text for row in sources[0].rows])
    record = {
        "encoder": encoder.digest,
        "sources": [source.to_json() for source in sources],
        "folds": folds,
        "seed": seed,
        "penalties": dict(zip(CATEGORIES, trained.penalties.tolist(), strict=True)),
        "calibration": {c: [trained.slopes[i], trained.offsets[i]] for i, c in enumerate(CATEGORIES)},
        "accordant": __version__,
        "command": command,
    }
    folder = out or workspace() / "moderation"
    with new_directory(folder) as new:
        trained.heads.save(new, record)
        (new / "MODEL_CARD.md").write_text(model_card(record, figures, trained.heads.trained, DEFAULT_POLICY))
    return Written(folder, figures)


def evaluate(
    data: Path,
    heads: Path | None,
    folds: int | None,
    more: Sequence[Path],
    harmless_files: Sequence[Path],
    harmless_weight: float,
    lookalike_files: Sequence[Path],
    seed: int,
    say: Say,
) -> dict[str, Any]:
    """Figures of heads on `data`; with `folds`, of heads trained on the rest of it, on `more` and on harmless rows."""
    sources = _sources([data, *more], harmless_files, harmless_weight, say) if folds else _sources([data], [], 1, say)
    encoder = _encoder()
    folder = heads or heads_folder()
    moderator = Moderator(encoder, Heads.load(folder, encoder.digest, encoder.size))
    rows = examples(encoder, sources)
    texts = [row.text for row in sources[0].rows]
    if folds:
        figures = _cross_validated(rows, sources, folds, seed)
    else:
        figures = _figures(rows, texts, rows.logits(moderator.heads))
        seen = {source["sha256"] for source in read_json(folder / RECORD)["sources"]}
        if sources[0].to_json()["sha256"] in seen:
            figures["notes"].append(f"the heads were trained on {data.name}: these figures flatter; use --folds 5")
    return figures | _aside(moderator, lookalike_files, texts)


def _sources(data: Sequence[Path], harmless_files: Sequence[Path], weight: float, say: Say) -> list[Source]:
    sources = [labelled(path) for path in data] + [harmless(path, weight) for path in harmless_files]
    for source in sources:
        say(source.summary)
    return sources


def _encoder() -> Encoder:
    keep_freed_memory()
    return Encoder.load(bring_encoder(encoder_folder()), resolve_dtype("auto"), int8_is_fast())


def _cross_validated(rows: Examples, sources: Sequence[Source], folds: int, seed: int) -> dict[str, Any]:
    logits = cross_validate(rows, folds, seed)
    measured = len(sources[0].rows)
    first = np.arange(len(rows.labels)) < measured
    figures = _figures(rows.take(first), [row.text for row in sources[0].rows], logits[first])
    figures["notes"].append(f"cross-validated: {folds} folds, penalties and calibration chosen inside each")
    return figures


def _figures(rows: Examples, texts: Sequence[str], logits: np.ndarray) -> dict[str, Any]:
    by_text = [probabilities(text, row) for text, row in zip(texts, logits, strict=True)]
    scores = np.array([[found[category] for category in CATEGORIES] for found in by_text])
    measured = measure(scores, rows.labels, rows.groups.tolist(), DEFAULT_POLICY)
    return {"n": len(texts), "categories": {name: one.to_json() for name, one in measured.items()}, "notes": []}


def _aside(moderator: Moderator, lookalike_files: Sequence[Path], texts: Sequence[str]) -> dict[str, Any]:
    """False alarms on harmless look-alikes, and the time that a message takes."""
    return {
        "lookalikes": {path.name: false_alarms(moderator, lookalikes(path)) for path in lookalike_files},
        "milliseconds": milliseconds(moderator, texts),
    }
