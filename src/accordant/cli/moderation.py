"""`accordant moderation`: train the heads of the moderation classifier, and measure them."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Train and measure the moderation classifier.", no_args_is_help=True)
console = Console()

Harmless_ = Annotated[
    list[Path] | None,
    typer.Option("--harmless", help="Demonstrations whose every turn holds nothing bad (may be repeated)."),
]
Weight_ = Annotated[
    float, typer.Option("--harmless-weight", min=0, help="What a harmless turn counts for; a labelled text counts 1.")
]
Lookalikes_ = Annotated[
    list[Path] | None,
    typer.Option("--lookalikes", help="Prompts; those to be answered must not be flagged (may be repeated)."),
]
Json_ = Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line.")]
Seed_ = Annotated[int, typer.Option(help="Decides the folds.")]


@app.command()
def train(
    data: Annotated[list[Path], typer.Option("--data", help="Texts with labels by category (may be repeated).")],
    harmless: Harmless_ = None,
    harmless_weight: Weight_ = 0.2,
    lookalikes: Lookalikes_ = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    seed: Seed_ = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write; without it, that of the workspace.")] = None,
    as_json: Json_ = False,
) -> None:
    """Train the heads, cross-validate them, and write them with a model card."""
    from accordant.moderation.training import train_and_write

    files = [f"--data '{path}'" for path in data] + [f"--harmless '{path}'" for path in harmless or []]
    settings = f"--harmless-weight {harmless_weight:g} --folds {folds} --seed {seed}"
    trained = train_and_write(
        _places(data),
        _places(harmless),
        harmless_weight,
        _places(lookalikes),
        folds,
        seed,
        out,
        say=_say,
        command=f"accordant moderation train {' '.join(files)} {settings}",
    )
    _print_figures(trained.figures)
    console.print(f"heads and model card: {trained.folder}", soft_wrap=True, highlight=False)
    if as_json:
        _print_json(trained.figures)


@app.command(name="eval")
def evaluate(
    data: Annotated[Path, typer.Option(help="Texts with labels by category.")],
    heads: Annotated[Path | None, typer.Option(help="Folder of heads; without it, those in use.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Cross-validate on the file with so many folds, instead of using heads.")
    ] = None,
    with_: Annotated[
        list[Path] | None, typer.Option("--with", help="Under --folds: more labelled texts to train on.")
    ] = None,
    harmless: Harmless_ = None,
    harmless_weight: Weight_ = 0.2,
    lookalikes: Lookalikes_ = None,
    seed: Seed_ = 0,
    as_json: Json_ = False,
) -> None:
    """Measure the heads on labelled texts: area under the precision-recall curve, calibration, false alarms, time."""
    from accordant.moderation.training import evaluate as measure

    (file,) = _places([data])
    extra, quiet, alike = _places(with_), _places(harmless), _places(lookalikes)
    found = measure(file, heads, folds, extra, quiet, harmless_weight, alike, seed, say=_say)
    _print_figures(found)
    if as_json:
        _print_json(found)


def _places(paths: list[Path] | None) -> list[Path]:
    """With `$NAME` replaced from the environment, so that a recorded command names no folder of one machine."""
    return [Path(os.path.expandvars(path)) for path in paths or []]


def _print_figures(figures: dict[str, Any]) -> None:
    table = Table("category", "texts", "positive", "AUPRC", "95% interval", "chance", "calibration", box=None)
    for name, one in figures["categories"].items():
        if "auprc" not in one:
            table.add_row(name, "-", "0", "-", "-", "-", "-")
            continue
        low, high = one["interval"]
        error = "-" if one["calibration_error"] is None else f"{one['calibration_error']:.3f}"
        counts = (f"{one['texts']:,}", f"{one['positives']:,}")
        table.add_row(name, *counts, f"{one['auprc']:.3f}", f"[{low:.3f}, {high:.3f}]", f"{one['chance']:.3f}", error)
    console.print(table, highlight=False)
    for name, one in figures["lookalikes"].items():
        shares = [
            f"{kind} {one[kind]['share']:.3f} [{one[kind]['interval'][0]:.3f}, {one[kind]['interval'][1]:.3f}]"
            for kind in ("warned", "blocked")
        ]
        console.print(f"{name}, {one['texts']:,} harmless: {', '.join(shares)}", highlight=False, soft_wrap=True)
    spent = figures["milliseconds"]
    console.print(
        f"one message: {spent['median']:.1f} ms of CPU (median), {spent['p95']:.1f} ms (95%)",
        highlight=False,
    )
    for note in figures["notes"]:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _print_json(figures: dict[str, Any]) -> None:
    console.print(json.dumps(figures), soft_wrap=True, highlight=False, markup=False)
