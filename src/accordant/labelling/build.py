"""What people judged, as data for a round: files in our formats, and a manifest that names every judgement in them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from accordant import __version__
from accordant.data.jsonl import write_records
from accordant.data.load import load_prompts
from accordant.data.split import near_duplicates
from accordant.feedback.rows import rows_of_feedback
from accordant.files import data_folder, digest, manifests_folder, new_directory, sha256, write_json
from accordant.labelling.rows import LeftOut, Row, rows_of_work
from accordant.records import Comparison, Demonstration, LabelledText
from accordant.store import judgements
from accordant.store.database import Database
from accordant.store.ids import now

FILES: dict[type, str] = {
    Demonstration: "demonstrations.jsonl",
    Comparison: "comparisons.jsonl",
    LabelledText: "moderation.jsonl",
}
"""Only those are written that have rows."""

TOO_ALIKE = 0.8
"""Jaccard similarity from which a prompt counts as one of the evaluation (as a round has it)."""


def build_data(database: Database, name: str = "own", apart_from: Sequence[Path] = ()) -> Path:
    """Write the folder `data/NAME` of the workspace anew, from what the store holds now.

    What has no consent, was rejected or withdrawn is not in it. Its manifest is kept in the workspace for ever, without
    any text, so that a checkpoint's judgements can be named when the data themselves are gone.

    Args:
        database: the store.
        name: of the folder; a recipe reads it as `data.built`.
        apart_from: evaluation prompts; what asks nearly the same is left out.

    Returns:
        the folder.
    """
    with database.read() as session:
        found = [row for ranked in judgements.all_work(session) for row in rows_of_work(ranked)]
        found += rows_of_feedback(judgements.all_feedback(session))
        gone = judgements.withdrawn(session)
    rows = [row for row in found if isinstance(row, Row)]
    kept, alike = _apart(rows, apart_from)
    left = [one for one in found if isinstance(one, LeftOut)] + alike
    target = data_folder() / name
    with new_directory(target) as folder:
        for kind, file in FILES.items():
            if records := [row.record for row in kept if isinstance(row.record, kind)]:
                write_records(folder / file, records)
        manifest = _manifest(folder, kept, left, gone)
        write_json(folder / "manifest.json", manifest)
    write_json(manifests_folder() / f"{digest(manifest)[:32]}.json", manifest)
    return target


def _apart(rows: Sequence[Row], evaluation: Iterable[Path]) -> tuple[list[Row], list[LeftOut]]:
    """Without the rows that ask what the evaluation asks."""
    asked = [prompt for path in evaluation for prompt in load_prompts(path).records]
    taught = [row for row in rows if not isinstance(row.record, LabelledText)]
    spoken = [row.record for row in taught if not isinstance(row.record, LabelledText)]
    alike = {id(taught[pair.left]) for pair in near_duplicates(spoken, asked, TOO_ALIKE)}
    left = [
        LeftOut(row.source, "too like an evaluation prompt", judgement)
        for row in rows
        if id(row) in alike
        for judgement in row.judgements
    ]
    return [row for row in rows if id(row) not in alike], left


def _manifest(folder: Path, rows: Sequence[Row], left: Iterable[LeftOut], withdrawn: int) -> dict[str, Any]:
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for one in left:
        reasons[one.source][one.reason] += 1
    files = {}
    for kind, file in FILES.items():
        if own := [row for row in rows if isinstance(row.record, kind)]:
            files[file] = {
                "sha256": sha256(folder / file),
                "rows": len(own),
                "sources": dict(Counter(row.source for row in own)),
                "judgements": {row.record.id: list(row.judgements) for row in own},
            }
    return {
        "accordant": __version__,
        "made_at": now().isoformat(),
        "files": files,
        "left_out": {source: dict(counts) for source, counts in sorted(reasons.items())},
        "withdrawn": withdrawn,
    }
