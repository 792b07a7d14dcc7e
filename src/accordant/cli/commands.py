"""Every command of `accordant`."""

import gc
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from accordant.cli import app, moderation
from accordant.errors import AccordantError

Recipe_ = Annotated[Path, typer.Argument(help="A recipe, such as recipes/starter.toml.")]
Set_ = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a field: --set run.seed=1 (TOML value; may be repeated).")
]
Base_ = Annotated[
    str | None, typer.Option("--base", help="Instead of the recipe's: `starter`, a folder, a .gguf file or a hub id.")
]
Json_ = Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line.")]

data_app = typer.Typer(help="Look at data.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(moderation.app, name="moderation")
console = Console()


@app.command()
def round(recipe: Recipe_, base: Base_ = None, set_: Set_ = None) -> None:
    """Run a whole round: base, SFT, reward models, policies, evaluation, report. Goes on where it was stopped."""
    from accordant.cli.live import LiveWatcher
    from accordant.evals.report import terminal_report
    from accordant.rounds.run import run_round

    loaded = _recipe(recipe, base, set_)
    report = run_round(loaded, LiveWatcher(console))
    for line in terminal_report(report.parent):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {report}", soft_wrap=True, highlight=False)


@app.command()
def sft(recipe: Recipe_, base: Base_ = None, set_: Set_ = None) -> None:
    """Fine-tune the base on demonstrations."""
    from accordant.rounds.run import train_sft

    _stage(recipe, base, set_, train_sft)


@app.command()
def reward(recipe: Recipe_, base: Base_ = None, set_: Set_ = None, as_json: Json_ = False) -> None:
    """Train the reward model and report its accuracy on comparisons that it did not see."""
    from accordant.files import read_json
    from accordant.rounds.run import train_reward
    from accordant.stats import wilson

    folder = _stage(recipe, base, set_, train_reward)
    found = read_json(folder.parent / "accuracy.json")
    interval = wilson(found["accuracy"] * found["pairs"], found["pairs"])
    figures = {
        "n": found["pairs"],
        "score": found["accuracy"],
        "interval": [interval.low, interval.high],
        "rankings": found["rankings"],
        "trained_on": found["trained_on"],
    }
    console.print(
        f"held-out pair accuracy {found['accuracy']:.3f} [{interval.low:.3f}, {interval.high:.3f}] "
        f"over {found['pairs']} pairs of {found['rankings']} rankings, trained on {found['trained_on']}"
    )
    if as_json:
        _print_json(figures)


@app.command()
def gate(recipe: Recipe_, base: Base_ = None, set_: Set_ = None, as_json: Json_ = False) -> None:
    """Check the reward model as a round does before PPO; a check that fails ends with exit code 1."""
    from accordant.files import read_json
    from accordant.rounds.run import gate_reward

    folder = _stage(recipe, base, set_, gate_reward)
    if as_json:
        found = read_json(folder.parent / "gate.json")
        _print_json({"verdicts": found["verdicts"], "figures": found["measured"]["figures"]})


@app.command()
def ppo(recipe: Recipe_, base: Base_ = None, set_: Set_ = None) -> None:
    """Tune the SFT model against the reward model."""
    from accordant.rounds.run import train_ppo

    _stage(recipe, base, set_, train_ppo)


@app.command()
def dpo(recipe: Recipe_, base: Base_ = None, set_: Set_ = None) -> None:
    """Tune the SFT model on the rankings themselves, without a reward model."""
    from accordant.rounds.run import train_dpo

    _stage(recipe, base, set_, train_dpo)


@app.command(name="best-of-n")
def best_of_n(recipe: Recipe_, base: Base_ = None, set_: Set_ = None) -> None:
    """Tune the SFT model on the best of its own answers by the reward model."""
    from accordant.rounds.run import train_best_of_n

    _stage(recipe, base, set_, train_best_of_n)


@app.command()
def base(
    name: Annotated[str, typer.Argument(help="`starter`, a folder, a .gguf file or a hub id.")] = "starter",
) -> None:
    """Bring a base into the workspace and print its folder."""
    from accordant.files import workspace
    from accordant.model.base import bring_base

    console.print(str(bring_base(name, workspace() / "bases")), soft_wrap=True, highlight=False)


@app.command(name="eval")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint in the hub's format.")],
    suite: Annotated[str, typer.Option(help="preference, premise, truth, refusal, overrefusal or style.")],
    data: Annotated[Path, typer.Option(help="A data file in any known format.")],
    limit: Annotated[int | None, typer.Option(help="Use N rows, spread evenly through the file.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 96,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    as_json: Json_ = False,
) -> None:
    """Measure a checkpoint on any file, with an interval."""
    from accordant.cli.live import LiveWatcher
    from accordant.evals.run import run_suite
    from accordant.machine import default_device, keep_freed_memory, resolve_dtype

    keep_freed_memory()
    watcher = LiveWatcher(console)
    dtype = resolve_dtype(precision)
    result = run_suite(checkpoint, suite, data, limit, max_tokens, dtype, watcher, default_device())
    low, high = result.interval
    console.print(f"{suite}: {result.score:.3f} [{low:.3f}, {high:.3f}], n = {result.n}", highlight=False)
    for name, value in result.details.items():
        console.print(f"  {name.replace('_', ' ')}: {value:.4g}", highlight=False)
    if as_json:
        _print_json(result.to_json())


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="Name of a run in the workspace, or its folder.")], as_json: Json_ = False
) -> None:
    """Write a run's HTML report again and print its figures."""
    from accordant.evals.report import report_figures, terminal_report, write_report

    folder = _run_folder(run)
    path = write_report(folder)
    for line in terminal_report(folder):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {path}", soft_wrap=True, highlight=False)
    if as_json:
        _print_json(report_figures(folder))


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="Name of a run in the workspace, or its folder.")],
    stage: Annotated[
        str | None,
        typer.Option(help="Go only as far as this: sft, reward, a policy's name in the recipe, judge, evaluation."),
    ] = None,
    as_json: Json_ = False,
) -> None:
    """Run a recorded run again, into RUN-reproduced, and compare bit for bit; exit status 1 where anything differs."""
    from rich.table import Table

    from accordant.cli.live import LiveWatcher
    from accordant.rounds.reproduce import reproduce as run_again
    from accordant.rounds.reproduce import reproduction_folder

    folder = _located(run)
    found = run_again(folder, LiveWatcher(console), stage)
    table = Table("stage", "result", "metrics", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for one in found:
        files = f"{', '.join(one.files)} differ, weights by at most {one.weight_difference:.3g}"
        gap = one.gap and f"{one.gap.metric} differs by {one.gap.difference:.3g} at step {one.gap.step}"
        compared = "figures" if one.stage == "evaluation" else f"metrics of {one.steps} steps"
        table.add_row(one.stage, files if one.files else "bit-equal", gap or f"{compared} bit-equal")
    console.print(table, highlight=False)
    equal = all(one.equal for one in found)
    if as_json:
        stages = [one.to_json() for one in found]
        _print_json({"run": str(folder), "again": str(reproduction_folder(folder)), "equal": equal, "stages": stages})
    if not equal:
        raise typer.Exit(1)


@app.command()
def chat(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or the name of a run (its tuned policy).")],
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Mass of the words to choose from.")] = 0.9,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 256,
    seed: Annotated[int | None, typer.Option(help="Makes the answers come again.")] = None,
) -> None:
    """Talk to a checkpoint in the terminal."""
    from accordant.cli.chat import chat as talk

    talk(_checkpoint(checkpoint), console, system, temperature, top_p, max_tokens, seed)


@app.command()
def serve(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or the name of a run (its tuned policy).")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    accounts: Annotated[
        bool | None,
        typer.Option("--accounts/--no-accounts", help="Whether people log in; default: if others can reach it."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(envvar="ACCORDANT_DATABASE", help="sqlite:///FILE or postgresql://...")
    ] = None,
    moderation: Annotated[
        Literal["hold", "window", "audit", "off"] | None,
        typer.Option(help="What is done about harmful words; default: what the settings say, or hold."),
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file: limits, moderation, times, logs.")] = None,
) -> None:
    """Serve a chat page, and an API in OpenAI's shape under /v1."""
    gc.disable()  # until it serves: what a start makes stays, and looking for garbage in it is a quarter of the work
    try:
        from accordant.serve.run import serve as run_server
        from accordant.serve.settings import ServeSettings, load_settings

        loaded = load_settings(settings) if settings else ServeSettings()
        if moderation:
            said = loaded.moderation.model_copy(update={"mode": moderation})
            loaded = loaded.model_copy(update={"moderation": said})
        run_server(_checkpoint(checkpoint), host, port, console, database=database, accounts=accounts, settings=loaded)
    finally:
        gc.enable()


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or the name of a run (its tuned policy).")],
    to: Annotated[Path, typer.Option(help="The file to write; its name ends in .gguf.")],
    dtype: Annotated[str, typer.Option(help="Of the matrices: f16, bf16 or f32.")] = "f16",
) -> None:
    """Write a policy as one GGUF file, for llama.cpp and what is built on it."""
    from accordant.model.gguf_export import export_gguf

    export_gguf(_checkpoint(checkpoint), to, dtype)
    console.print(f"{to}: {to.stat().st_size / 1e6:.4g} MB", soft_wrap=True, highlight=False)


@app.command()
def doctor(
    recipe: Annotated[Path | None, typer.Argument(help="Also estimate the time of this recipe here.")] = None,
    as_json: Json_ = False,
) -> None:
    """Measure this machine: matmul rate, bandwidth, best thread count; what a recipe would take."""
    from rich.table import Table

    from accordant.machine import measure
    from accordant.rounds.estimate import estimate

    machine = measure()
    table = Table.grid(padding=(0, 2))
    for name, value in machine.to_json().items():
        table.add_row(name.replace("_", " "), str(value))
    table.add_row("precision that pays", "bfloat16" if machine.bfloat16_is_fast else "float32")
    console.print(table, highlight=False)
    figures: dict[str, Any] = {"machine": machine.to_json()}
    if recipe:
        found = estimate(_recipe(recipe, None, None), machine)
        parts = ", ".join(f"{stage} {minutes:.1f}" for stage, minutes in found.minutes.items())
        console.print(f"{recipe.name}: about {found.total:.0f} minutes here ({parts})", highlight=False, soft_wrap=True)
        figures["estimate_minutes"] = found.minutes
    if as_json:
        _print_json(figures)


@app.command()
def plan(recipe: Recipe_, set_: Set_ = None, as_json: Json_ = False) -> None:
    """What a recipe takes here, before anything loads: memory by role and phase of each stage, steps and minutes."""
    from rich.table import Table

    from accordant.files import workspace
    from accordant.machine import measure
    from accordant.model.base import config_of_base
    from accordant.rounds.plan import advice, make_plan

    wanted, machine = _recipe(recipe, None, set_), measure()
    config = config_of_base(wanted.run.base, workspace() / "bases")
    found = make_plan(wanted, machine, config)
    for stage in found.stages:
        each = f" of {stage.seconds_per_step:.1f} s" if stage.steps > 1 else ""
        console.print(
            f"{stage.name}: {stage.minutes:.1f} minutes, {stage.steps} step{'s'[: stage.steps > 1]}{each}, "
            f"{stage.peak.total / 1e9:.1f} GB in its {stage.peak.name} phase",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        table = Table("GB", *(phase.name for phase in stage.phases), box=None, pad_edge=False, padding=(0, 2, 0, 2))
        roles = dict.fromkeys(role for phase in stage.phases for role in phase.roles)
        for role in roles:
            table.add_row(role, *(f"{p.roles[role] / 1e9:.2f}" if role in p.roles else "" for p in stage.phases))
        table.add_row("in all", *(f"{phase.total / 1e9:.2f}" for phase in stage.phases))
        console.print(table, highlight=False)
    each = f" for {found.processes} processes" if found.processes > 1 else ""
    console.print(
        f"{recipe.name}: about {found.minutes:.0f} minutes and {found.peak_gb:.1f} GB{each} here, which has "
        f"{machine.memory_gb:.1f} GB",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if warning := advice(wanted, machine, config):
        console.print(warning, highlight=False, soft_wrap=True)
    if as_json:
        _print_json({"machine": machine.to_json(), "plan": found.to_json(), "advice": warning})


@data_app.command(name="show")
def data_show(
    file: Annotated[Path, typer.Argument(help="A data file in any known format.")],
    row: Annotated[int, typer.Option(help="Which record, counted from 1.")] = 1,
    checkpoint: Annotated[Path | None, typer.Option(help="Take tokenizer and template from here.")] = None,
) -> None:
    """Print a record as the model sees it: trained tokens in colour."""
    from accordant.data.load import load_demonstrations
    from accordant.data.show import show_row
    from accordant.files import workspace
    from accordant.model.base import bring_base
    from accordant.text import CHATML, ChatTemplate, Renderer

    renderer = Renderer.load(checkpoint or bring_base("starter", workspace() / "bases"))
    if checkpoint is None:
        renderer = Renderer(renderer.tokenizer, ChatTemplate(CHATML))
    loaded = load_demonstrations(file)
    if not 1 <= row <= len(loaded.records):
        raise AccordantError(f"{file} has {len(loaded.records)} records; --row {row} is none of them")
    console.print(loaded.summary(), highlight=False, style="dim")
    console.print(show_row(renderer, loaded.records[row - 1].messages))


def _stage(recipe: Path, base: str | None, set_: list[str] | None, train: Any) -> Path:
    from accordant.cli.live import LiveWatcher
    from accordant.rounds.run import carry_out

    folder = carry_out(_recipe(recipe, base, set_), LiveWatcher(console), train)
    console.print(f"checkpoint: {folder}", soft_wrap=True, highlight=False)
    return folder


def _recipe(path: Path, base: str | None, set_: list[str] | None) -> Any:
    import tomllib

    from accordant.config import load_recipe

    overrides: dict[str, Any] = {"run.base": base} if base else {}
    for item in set_ or []:
        name, _, value = item.partition("=")
        try:
            overrides[name] = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            overrides[name] = value
    return load_recipe(path, overrides)


def _located(run: str) -> Path:
    from accordant.files import runs_folder

    return Path(run).resolve() if Path(run).is_dir() else runs_folder() / run


def _run_folder(run: str) -> Path:
    folder = _located(run)
    if not (folder / "evaluation.json").exists():
        raise AccordantError(f"{folder} has no evaluation.json; finish the round first: accordant round RECIPE")
    return folder


def _checkpoint(name: str) -> Path:
    """A checkpoint folder as given, or the policy of a run in the workspace: PPO's, where there are several."""
    from accordant.config import METHOD_NAMES
    from accordant.files import runs_folder

    if (Path(name) / "config.json").exists():
        return Path(name)
    for method in METHOD_NAMES:
        if (policy := runs_folder() / name / method / "checkpoint").exists():
            return policy
    raise AccordantError(f"{name} is neither a checkpoint folder nor a run with a tuned policy in {runs_folder()}")


def _print_json(figures: dict[str, Any]) -> None:
    console.print(json.dumps(figures), soft_wrap=True, highlight=False, markup=False)
