"""`accordant data build` and `accordant lineage`: from what people judged to data, and from checkpoints back to it."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from accordant.cli import app
from accordant.cli.commands import data_app
from accordant.cli.store import Database_

if TYPE_CHECKING:
    from accordant.rounds.lineage import Use

console = Console()

FEW = 20

Json_ = Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line.")]


@data_app.command(name="build")
def data_build(
    name: Annotated[str, typer.Option(help="Folder of the workspace's data; a recipe reads it as data.built.")] = "own",
    apart_from: Annotated[
        list[Path] | None,
        typer.Option("--apart-from", help="Evaluation prompts; what asks nearly the same is left out (repeatable)."),
    ] = None,
    database: Database_ = None,
    as_json: Json_ = False,
) -> None:
    """Write what people judged, and may be trained on, as data for a round."""
    from accordant.files import read_json
    from accordant.labelling.build import build_data
    from accordant.store.migrate import open_database

    store = open_database(database)
    try:
        folder = build_data(store, name, apart_from or ())
    finally:
        store.close()
    manifest = read_json(folder / "manifest.json")
    for file, about in manifest["files"].items():
        sources = ", ".join(f"{count} {source}" for source, count in about["sources"].items())
        _say(f"{file}: {about['rows']} rows ({sources})")
    for source, reasons in manifest["left_out"].items():
        _say(f"left out, {source}: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()))
    _say(f"withdrawn since they were given: {manifest['withdrawn']}")
    _say(f"data: {folder}")
    if as_json:
        _say(json.dumps(manifest))


@app.command()
def lineage(
    what: Annotated[str, typer.Argument(help="A checkpoint folder with run.json, or the id of a judgement.")],
    everything: Annotated[bool, typer.Option("--all", help=f"Name all judgements, not only {FEW}.")] = False,
    as_json: Json_ = False,
) -> None:
    """Name the judgements that a checkpoint learned from, or the checkpoints that learned from a judgement."""
    from accordant.rounds.lineage import checkpoints_after, judgements_behind

    if Path(what).is_dir():
        uses = judgements_behind(Path(what))
        named = uses if everything else uses[:FEW]
        for use in named:
            _say(f"{use.judgement}  {use.file}  {use.row}")
        if len(named) < len(uses):
            _say(f"and {len(uses) - len(named)} more; --all names them")
        for file, rows in _rows_by_file(uses).items():
            _say(f"{file}: {len(rows)} rows")
        _say(f"{len({use.judgement for use in uses})} judgements")
        found = [use._asdict() for use in uses]
    else:
        folders = checkpoints_after(what)
        for folder in folders:
            _say(str(folder))
        found = [{"checkpoint": str(folder)} for folder in folders]
        _say(f"{len(found)} checkpoints")
    if as_json:
        _say(json.dumps(found))


def _rows_by_file(uses: Iterable["Use"]) -> dict[str, set[str]]:
    rows: dict[str, set[str]] = defaultdict(set)
    for use in uses:
        rows[use.file].add(use.row)
    return rows


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
