"""From a checkpoint to the judgements of people that it learned from, and from a judgement to the checkpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from accordant.errors import AccordantError
from accordant.files import manifests_folder, read_json, runs_folder

DEMONSTRATIONS = "demonstrations.jsonl"


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
    """The judgements in the data of a checkpoint of a round, and in those of the checkpoints that its run began with.

    The digests in `run.json` name the files, the manifests of the workspace what was in them. SFT learns demonstrations
    alone; of the comparisons the reward model learns one part and the judge the other, and both are named here.

    Args:
        checkpoint: folder with `run.json`.

    Raises:
        AccordantError: when there is no `run.json`.
    """
    record = read_json(checkpoint / "run.json")
    wanted = set(record["data_sha256"].values())
    files = [file for file in _built() if file.sha256 in wanted]
    if record["stage"] == "sft":
        files = [file for file in files if file.name == DEMONSTRATIONS]
    found = [
        Use(judgement, row, file.name, file.sha256)
        for file in files
        for row, judgements in file.judgements.items()
        for judgement in judgements
    ]
    base = Path(record["base"])
    if (base / "run.json").exists():
        found += judgements_behind(base)
    return list(dict.fromkeys(found))


def checkpoints_after(judgement: str) -> list[Path]:
    """The checkpoints of the workspace's runs that learned from a judgement.

    Raises:
        AccordantError: when it is in no data that were ever built here.
    """
    if not any(judgement in made_of for file in _built() for made_of in file.judgements.values()):
        raise AccordantError(f"{judgement} is in no data that were built here; see: accordant data build")
    checkpoints = [path.parent for path in sorted(runs_folder().glob("*/*/checkpoint/run.json"))]
    return [one for one in checkpoints if any(use.judgement == judgement for use in judgements_behind(one))]


class _File(NamedTuple):
    name: str
    sha256: str
    judgements: dict[str, list[str]]


def _built() -> Iterator[_File]:
    """Every file that was ever built in this workspace."""
    seen = set()
    for path in sorted(manifests_folder().glob("*.json")):
        files: dict[str, Any] = read_json(path)["files"]
        for name, file in files.items():
            if (name, file["sha256"]) not in seen:
                seen.add((name, file["sha256"]))
                yield _File(name, file["sha256"], file["judgements"])
