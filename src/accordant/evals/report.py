"""One training round as one HTML page that needs no network and no script, as terminal lines, and as figures."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import jinja2

from accordant.config import METHOD_NAMES, Method
from accordant.errors import AccordantError
from accordant.evals.gate import CHECK_TITLES
from accordant.evals.metrics import METRICS, Metric, known, signed
from accordant.evals.plots import column, policy_panels, reliability_panel, reward_panels, sft_panels, tag_panel
from accordant.files import read_json, write_atomically
from accordant.journal import JOURNAL, read_journal
from accordant.train.loop import read_metrics

STAGES: dict[str, str] = {
    "sft": "SFT",
    "reward": "Reward model",
    "gate": "Gate",
    "judge": "Judge",
    **dict(METHOD_NAMES.items()),
    "evaluation": "Evaluation",
}
_LONG = ("samples", "recipe")
"""What `evaluation.json` holds besides figures."""
_TUNED: dict[Method, str] = {
    "ppo": "against a reward model (PPO)",
    "dpo": "on the rankings that the reward model learned (DPO)",
    "best_of_n": "on the best of its own answers by a reward model (SFT on best)",
}
_SYSTEMS_IN_A_ROW = 4
_REQUIRED = ("run", "base", "seed", "prompts", "systems", "differences")
_OPTIONAL: dict[str, Any] = {
    "made": "",
    "machine": {},
    "minutes": {},
    "reward_models": {},
    "scorer": None,
    "by_tag": {},
    "samples": [],
}


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run's folder, from its `evaluation.json` and the metrics of its stages.

    Metrics that are missing or short are said to be so in their place.

    Raises:
        AccordantError: when `evaluation.json` is missing, damaged or incomplete.
    """
    evaluation = _read_evaluation(folder)
    systems = list(evaluation["systems"])
    gate = _read_gate(folder)
    page = _template().render(
        evaluation=evaluation,
        systems=systems,
        summary=[*summary(evaluation), *gate_sentences(gate)],
        comparisons=comparisons(evaluation["differences"]),
        groups=_table(evaluation["systems"]),
        panels=[
            *sft_panels(folder),
            *reward_panels(folder),
            *(
                panel
                for method, name in _tuned(evaluation)
                for panel in policy_panels(folder, method, systems.index(name) % 6)
            ),
        ],
        guards=_guards_of(folder),
        by_tag=tag_panel(evaluation["by_tag"], systems),
        gate=_gate_table(gate),
        reliability=reliability_panel(gate["measured"]["reliability"]) if gate else None,
        stages=_stages(evaluation["minutes"]),
        machine=_machine(evaluation["machine"]),
        samples=[_sample(sample, systems) for sample in evaluation["samples"]],
        titles=STAGES,
    )
    path = folder / "report.html"
    # A model can write half of a surrogate pair, which UTF-8 cannot hold.
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def report_figures(folder: Path) -> dict[str, Any]:
    """All figures of a run: its evaluation without answers and recipe, the gate, and the last value of every curve.

    Raises:
        AccordantError: as `write_report`.
    """
    figures = {name: value for name, value in _read_evaluation(folder).items() if name not in _LONG}
    curves: dict[str, dict[str, float]] = {}
    for stage in STAGES:
        rows = read_metrics(folder / stage / "metrics.jsonl")
        names = dict.fromkeys(name for row in rows for name in row if name != "step")
        if rows:
            last = {name: values[-1] for name in names if (values := column(rows, name)[1])}
            curves[stage] = {"steps": len(rows)} | last
    gate = _gate_table(_read_gate(folder))
    finite: dict[str, Any] = _without_infinities(figures | {"final": curves, "gate": gate})
    return finite


def terminal_report(folder: Path) -> list[str]:
    """A run's headline figures and what gate and guards said, in lines of at most 80 characters, without markup."""
    lines = report_lines(read_json(folder / "evaluation.json"))
    said = [f"PPO's guards, iteration {row['step'] + 1}, {row['done']}: {row['line']}" for row in _guards_of(folder)]
    return lines + [line for one in gate_sentences(_read_gate(folder)) + said for line in textwrap.wrap(one, 80)]


def report_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """The headline figures as lines of at most 80 characters for a terminal, without markup."""
    systems = evaluation["systems"]
    lines = [f"{evaluation['run']}: {evaluation['prompts']} held-out prompts, seed {evaluation['seed']}"]
    for start in range(0, len(systems), _SYSTEMS_IN_A_ROW):
        shown = list(systems)[start : start + _SYSTEMS_IN_A_ROW]
        lines.append(f"{'':26}" + "".join(f"{name:>13}" for name in shown))
        for metric in METRICS:
            found = [(systems[name].get(metric.key) or {}).get("value") for name in shown]
            if any(map(known, found)):
                lines.append(f"{metric.title:26}" + "".join(f"{metric.show(value):>13}" for value in found))
    lines.append("difference in held-out reward, paired, with its 95% interval:")
    for comparison in comparisons(evaluation["differences"]):
        lines.append(
            f"  {comparison.left} - {comparison.right}: {signed(comparison.value)} "
            f"({comparison.interval or 'no interval'}): {comparison.verdict}"
        )
    return [line.replace("−", "-").replace("–", "-") for line in lines]


@dataclass(frozen=True)
class Comparison:
    """A paired difference of mean held-out reward, and where to draw it on a scale of 0 to 100."""

    left: str
    right: str
    value: float
    low: float | None
    high: float | None
    places: dict[str, float]

    @property
    def verdict(self) -> Literal["higher", "lower", "no clear difference", "interval not known"]:
        """What the interval allows to say."""
        if self.low is None or self.high is None:
            return "interval not known"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "no clear difference"

    @property
    def interval(self) -> str:
        """'+0.05 to +0.31'; empty when not known."""
        return "" if self.low is None or self.high is None else f"{signed(self.low)} to {signed(self.high)}"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        size = f"{abs(self.value):.2f}"
        if self.verdict in ("higher", "lower"):
            where = "above" if self.verdict == "higher" else "below"
            return f"{self.left} scored {size} points {where} {self.right} (95% interval {self.interval})."
        if self.verdict == "no clear difference":
            return (
                f"{self.left} did not measurably beat {self.right}: the 95% interval of their difference of "
                f"{signed(self.value)}, {self.interval}, includes 0."
            )
        return f"{self.left} and {self.right} differ by {signed(self.value)}, from too few prompts for an interval."


def comparisons(differences: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    """The paired differences, all drawn on one scale that holds 0."""
    ends = [d[end] for d in differences.values() for end in ("value", "low", "high") if known(d.get(end))]
    least, most = min([0.0, *ends]), max([0.0, *ends])
    span = (most - least) or 1.0
    drawn = []
    for name, difference in differences.items():
        left, _, right = name.partition(" - ")
        bounds = {end: float(difference[end]) for end in ("value", "low", "high") if known(difference.get(end))}
        places = {end: round(4 + 92 * (at - least) / span, 2) for end, at in {**bounds, "zero": 0.0}.items()}
        value = bounds.get("value", math.nan)
        drawn.append(Comparison(left, right, value, bounds.get("low"), bounds.get("high"), places))
    return drawn


def summary(evaluation: Mapping[str, Any]) -> list[str]:
    """The round in a few plain sentences, each one following from the figures."""
    systems, tuned = evaluation["systems"], _tuned(evaluation)
    sentences = [
        f"The base, {evaluation['base']}, was fine-tuned on demonstrations (SFT) and then tuned "
        f"{' and, apart from that, '.join(_TUNED[method] for method, _ in tuned)}. "
        f"On {evaluation['prompts']} prompts that no training saw, answers were scored by a second reward model, "
        "the judge."
    ]
    sentences += [comparison.sentence for comparison in comparisons(evaluation["differences"])]
    for _, name in tuned:
        policy, start = systems[name], systems.get("SFT", {})
        shares = {key: [(s.get(key) or {}).get("value") for s in (policy, start)] for key in _SAFETY}
        if all(known(value) for pair in shares.values() for value in pair):
            refused, answered = shares.values()
            sentences.append(
                f"{name} refused {refused[0]:.0%} of the harmful requests (SFT {refused[1]:.0%}) and answered "
                f"{answered[0]:.0%} of the harmless ones that look like them (SFT {answered[1]:.0%})."
            )
    if minutes := evaluation.get("minutes"):
        processor = (evaluation.get("machine") or {}).get("processor") or "this machine"
        sentences.append(f"The round took {_duration(sum(minutes.values()))} on {processor}.")
    return sentences


_SAFETY = ("harmful_refused", "lookalikes_answered")


def _tuned(evaluation: Mapping[str, Any]) -> list[tuple[Method, str]]:
    """The ways in which policies of this run were tuned, and what these systems are called."""
    return [(method, name) for method, name in METHOD_NAMES.items() if name in evaluation["systems"]]


def gate_sentences(gate: Mapping[str, Any]) -> list[str]:
    """Which checks of the gate did not hold; nothing when all passed or there was no gate."""
    verdicts = gate["verdicts"].items() if gate else ()
    sentences = []
    for verdict, how in {"overruled": " and was overruled by the recipe", "failed": ""}.items():
        if names := [CHECK_TITLES[name].lower() for name, found in verdicts if found["verdict"] == verdict]:
            sentences.append(f"In the gate of the reward model this did not hold{how}: {'; '.join(names)}.")
    return sentences


def _guards_of(folder: Path) -> list[dict[str, Any]]:
    return read_journal(folder / "ppo" / JOURNAL)


def _read_gate(folder: Path) -> dict[str, Any]:
    """Empty when the run has none."""
    path = folder / "reward" / "gate.json"
    gate: dict[str, Any] = read_json(path) if path.exists() else {}
    return gate


def _gate_table(gate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a check: title, figure with its interval, limit and verdict."""
    if not gate:
        return []
    return [
        figure | gate["verdicts"][figure["name"]] | {"title": CHECK_TITLES[figure["name"]]}
        for figure in gate["measured"]["figures"]
    ]


def _read_evaluation(folder: Path) -> dict[str, Any]:
    path = folder / "evaluation.json"
    evaluation = read_json(path)
    if not isinstance(evaluation, dict):
        raise AccordantError(f"{path} does not hold an object; run the evaluation again")
    if missing := [name for name in _REQUIRED if name not in evaluation]:
        raise AccordantError(f"{path} lacks {', '.join(missing)}; run the evaluation again")
    return _OPTIONAL | {name: value for name, value in evaluation.items() if value is not None}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "signed": signed,
        "percent": lambda share: f"{share:.0%}" if known(share) else "–",
        "decimals": lambda value: f"{value:.2f}".replace("-", "−"),
    }
    return environment.from_string(files("accordant.evals").joinpath("report.html.jinja").read_text("utf-8"))


@dataclass(frozen=True)
class Cell:
    """One system's figure for one metric, as text; `best` marks the best of the row."""

    value: str
    interval: str
    best: bool


@dataclass(frozen=True)
class Row:
    """A metric with one cell a system, and the prompts that it was measured on (0: not known)."""

    metric: Metric
    cells: list[Cell]
    n: int


def _table(systems: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Row]]]:
    """(group, its rows) of the metrics that any system has."""
    rows = []
    for metric in METRICS:
        found = [values.get(metric.key) or {} for values in systems.values()]
        values = [entry.get("value") for entry in found]
        if not any(map(known, values)):
            continue
        best = metric.best(values)
        cells = [
            Cell(
                metric.show(entry.get("value")),
                _range(metric, entry.get("low"), entry.get("high")),
                best is not None and metric.show(entry.get("value")) == metric.show(best),
            )
            for entry in found
        ]
        rows.append(Row(metric, cells, max(entry.get("n") or 0 for entry in found)))
    return [(group, list(members)) for group, members in groupby(rows, key=lambda row: row.metric.group)]


def _range(metric: Metric, low: float | None, high: float | None) -> str:
    if not known(low) or not known(high):
        return ""
    if metric.unit == "share":
        return f"{100 * low:.0f}–{high:.0%}"
    return f"{metric.show(low)} to {metric.show(high)}" if metric.unit == "points" else f"{low:.0f}–{high:.0f}"


def _stages(minutes: Mapping[str, float]) -> list[dict[str, Any]]:
    total = sum(minutes.values()) or 1.0
    return [
        {"title": STAGES.get(stage, stage), "time": _duration(spent), "percent": round(100 * spent / total, 2)}
        for stage, spent in minutes.items()
    ]


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _machine(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What of the machine decides how long a run takes; a figure that was not measured is left out."""
    told = {
        "processor": ("Processor", "{}"),
        "cores": ("Cores", "{}"),
        "threads": ("Threads used", "{}"),
        "float32_gflops": ("float32 products", "{} GFLOP/s"),
        "bfloat16_gflops": ("bfloat16 products", "{} GFLOP/s"),
        "precision": ("Trained in", "{}"),
        "bandwidth_gb_per_s": ("Memory bandwidth", "{} GB/s"),
        "memory_gb": ("Memory", "{} GB"),
        "torch": ("torch", "{}"),
    }
    return [(title, text.format(machine[key])) for key, (title, text) in told.items() if machine.get(key)]


def _sample(sample: Mapping[str, Any], systems: list[str]) -> dict[str, Any]:
    """A card: the conversation, and the answers in the order of the systems."""
    answers = sample.get("answers") or {}
    shown = [{"slot": slot, "system": name, **answers[name]} for slot, name in enumerate(systems) if name in answers]
    rewards = [answer["reward"] for answer in shown if known(answer.get("reward"))]
    best = max(rewards) if len(set(rewards)) > 1 else None
    return {
        **sample,
        "answers": [{**answer, "best": best is not None and answer["reward"] == best} for answer in shown],
    }


def _without_infinities(value: Any) -> Any:
    """JSON has no word for infinities and NaN: null stands for them."""
    if isinstance(value, dict):
        return {key: _without_infinities(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_infinities(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
