"""From a checkpoint to the judgements of people that it learned from, and from a judgement to the checkpoints."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from accordant.errors import AccordantError
from accordant.files import manifests_folder, read_json, runs_folder

DEMONSTRATIONS, COMPARISONS = "demonstrations.jsonl", "comparisons.jsonl"
JUDGED = "judged_rows"
"""Field of `run.json`: the rows of built data that went into a checkpoint."""

Row = tuple[str, str]
"""Name of a built file, and the id of a row in it. (An ideal answer is a row of two files, with one id.)"""


class HasId(Protocol):
    """A row of data."""

    @property
    def id(self) -> str:
        """Names the row."""


class Use(NamedTuple):
    """A judgement that a checkpoint, or a base of it, learned from.

    Attributes:
        judgement: its id in the store (which it may have left since).
        row: id of the training row that was made of it.
        file: of the built data, such as `comparisons.jsonl`.
        sha256: of that file, as `run.json` has it.
    """

    judgement: str
    row: str
    file: str
    sha256: str


def judgements_behind(checkpoint: Path) -> list[Use]:
    """The judgements that a checkpoint of a round learned from, and the checkpoints that its run began with.

    `run.json` has the rows that went into it: of SFT the demonstrations that it trained on, of a reward model, a judge
    and DPO their part of the comparisons besides, of PPO and best-of-n all, whose prompts they answer. The manifests of
    the workspace say which judgements each row was made of.

    Args:
        checkpoint: folder with `run.json`.

    Raises:
        AccordantError: when there is no `run.json`.
    """
    record = read_json(checkpoint / "run.json")
    rows = rows_behind(checkpoint)
    found = [
        Use(judgement, row, file.name, file.sha256)
        for file in _built(record["data_sha256"].values())
        for row, judgements in file.judgements.items()
        if (file.name, row) in rows
        for judgement in judgements
    ]
    base = Path(record["base"])
    if (base / "run.json").exists():
        found += judgements_behind(base)
    return list(dict.fromkeys(found))


def rows_behind(checkpoint: Path) -> set[Row]:
    """The rows of built data that went into a checkpoint.

    One that was made before rows were recorded has all rows of its data.
    """
    record = read_json(checkpoint / "run.json")
    if JUDGED in record:
        return {(file, row) for file, row in record[JUDGED]}
    return judged_rows(record["data_sha256"].values())


def judged_rows(digests: Iterable[str]) -> set[Row]:
    """All rows in those of the files with these digests that were built from judgements."""
    return {(file.name, row) for file in _built(digests) for row in file.judgements}


def checkpoints_after(judgement: str) -> list[Path]:
    """The checkpoints of the workspace's runs that learned from a judgement.

    Raises:
        AccordantError: when it is in no data that were ever built here.
    """
    if not any(judgement in made_of for file in _built(None) for made_of in file.judgements.values()):
        raise AccordantError(f"{judgement} is in no data that were built here; see: accordant data build")
    checkpoints = [path.parent for path in sorted(runs_folder().glob("*/*/checkpoint/run.json"))]
    return [one for one in checkpoints if any(use.judgement == judgement for use in judgements_behind(one))]


class _File(NamedTuple):
    name: str
    sha256: str
    judgements: dict[str, list[str]]


def _built(digests: Iterable[str] | None) -> Iterator[_File]:
    """The files with these digests that were built in this workspace at any time; None: all that were."""
    wanted = None if digests is None else set(digests)
    seen = set()
    for path in sorted(manifests_folder().glob("*.json")):
        files: dict[str, Any] = read_json(path)["files"]
        for name, file in files.items():
            digest = file["sha256"]
            if (name, digest) not in seen and (wanted is None or digest in wanted):
                seen.add((name, digest))
                yield _File(name, digest, file["judgements"])
