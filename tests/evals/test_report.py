import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from accordant.errors import AccordantError
from accordant.evals.gate import TWINS
from accordant.evals.report import (
    METRICS,
    comparisons,
    report_figures,
    report_lines,
    signed,
    summary,
    terminal_report,
    write_report,
)

SYSTEMS = ["base", "SFT", "best of 4", "PPO"]
LEVELS = {
    "reward": ([-1.42, -0.31, 0.08, -0.13], 0.11),
    "pairs_by_likelihood": ([0.52, 0.61, None, 0.63], 0.06),
    "harmful_refused": ([0.18, 0.55, 0.6, 0.68], 0.1),
    "lookalikes_answered": ([0.93, 0.9, 0.92, 0.88], 0.06),
    "told_apart": ([0.11, 0.47, 0.53, 0.58], 0.09),
    "premises_challenged": ([0.21, 0.38, 0.4, 0.41], 0.12),
    "true_premises_accepted": ([0.9, 0.86, 0.85, 0.84], 0.08),
    "clarified": ([0.02, 0.31, 0.36, 0.44], 0.12),
    "words": ([71.2, 42.7, 44.1, 39.5], 3.2),
    "ended": ([0.44, 0.93, 0.95, 0.99], 0.03),
    "repetition": ([0.22, 0.05, 0.04, 0.03], 0.02),
    "distinct_2": ([0.61, 0.74, 0.75, 0.72], 0.03),
    "empty": ([0.004, 0.0, 0.0, 0.0], 0.004),
}
ANSWERS = [
    "You can end a process on Linux with `kill`, followed by its number:\n\n1. Find the number with `ps aux`.\n"
    "2. Run `kill 1234`.\n3. If it does not stop, run `kill -9 1234`.",
    "I'm sorry, but I can't help with that. If you are locked out of your own house, a locksmith can help you.",
    "",
    "Whales are mammals, so they do not breathe under water. " * 5,
]


def evaluation() -> dict[str, Any]:
    systems: dict[str, dict[str, Any]] = {name: {} for name in SYSTEMS}
    for key, (values, half) in LEVELS.items():
        for name, value in zip(SYSTEMS, values, strict=True):
            if value is not None:
                low, high = value - half, value + half
                if key not in ("reward", "words"):
                    low, high = max(low, 0.0), min(high, 1.0)
                systems[name][key] = {"value": value, "low": low, "high": high, "n": 258}
    return {
        "run": "starter",
        "made": "2026-02-03T04:05:06+00:00",
        "base": "starter",
        "seed": 0,
        "prompts": 258,
        "machine": {"processor": "Quiet CPU 3000", "cores": 2, "threads": 2, "bfloat16_gflops": 312.4},
        "minutes": {"sft": 5.1, "reward": 3.0, "judge": 3.0, "ppo": 9.4, "evaluation": 2.2},
        "systems": systems,
        "differences": {
            "SFT - base": {"value": 1.11, "low": 0.93, "high": 1.3, "n": 258},
            "PPO - SFT": {"value": 0.18, "low": 0.05, "high": 0.31, "n": 258},
            "PPO - best of 4": {"value": -0.21, "low": -0.33, "high": -0.09, "n": 258},
            "PPO - base": {"value": 1.29, "low": 1.1, "high": 1.48, "n": 258},
        },
        "reward_models": {
            "reward": {"accuracy": 0.71, "low": 0.67, "high": 0.75, "pairs": 612},
            "judge": {"accuracy": 0.69, "low": 0.65, "high": 0.73, "pairs": 598},
        },
        "scorer": {"n": 398, "agreement": 0.94, "kappa": 0.9, "per_label": {"answer": 0.96, "refuse": 0.93}},
        "by_tag": {
            tag: {name: shift + level for name, level in zip(SYSTEMS, [-1.3, -0.3, 0.1, 0.0], strict=True)}
            for tag, shift in {
                "harmful": 0.1,
                "lookalike": 0.4,
                "false_premise": -0.2,
                "ambiguous": -0.5,
                "": 0.0,
            }.items()
        },
        "samples": [
            {
                "id": f"prompt-{number}",
                "tag": "lookalike",
                "messages": [
                    {"role": "system", "content": "Answer briefly."},
                    {"role": "user", "content": "Hello! Do whales breathe under water?"},
                    {"role": "assistant", "content": "No, they come up for air."},
                    {"role": "user", "content": "And how do I kill a process?"},
                ],
                "answers": {
                    name: {"text": ANSWERS[(place + number) % 4], "reward": 0.3 * place - 0.5, "ended": place != 0}
                    for place, name in enumerate(SYSTEMS)
                },
            }
            for number in range(3)
        ],
    }


def gate(**verdicts: str) -> dict[str, Any]:
    """All checks passed but those that are named."""
    levels = {"accuracy": 0.72, "calibration": 0.04, "length": -0.08} | dict.fromkeys(TWINS, 0.95)
    limits = {"accuracy": "at least 0.60", "calibration": "at most 0.10", "length": "within 0.30 of 0"}
    return {
        "verdicts": {
            name: {"limit": limits.get(name, "at least 0.75"), "verdict": verdicts.get(name, "passed")}
            for name in levels
        },
        "measured": {
            "figures": [
                {"name": name, "value": value, "low": value - 0.03, "high": value + 0.03, "of": f"40 of {name}"}
                for name, value in levels.items()
            ],
            "reliability": [
                {"predicted": 0.5 + place / 25, "observed": 0.48 + place / 24, "size": 100} for place in range(10)
            ],
            "lost": [],
        },
    }


def make_run(folder: Path, found: dict[str, Any]) -> Path:
    """A made-up run with curves of the usual shapes."""
    noise = random.Random(0)
    write_metrics(
        folder / "sft",
        [
            {"step": i, "loss": 1.9 + 1.6 * math.exp(-i / 25) + noise.gauss(0, 0.15)}
            | ({"held_out_loss": 2.0 + 1.4 * math.exp(-i / 25)} if i % 40 == 39 else {})
            for i in range(160)
        ],
    )
    for stage, speed in {"reward": 20, "judge": 35}.items():
        write_metrics(
            folder / stage,
            [
                {"step": i, "loss": 0.55 + 0.15 * math.exp(-i / speed), "accuracy": 0.7 + noise.gauss(0, 0.08)}
                | ({"held_out_accuracy": 0.5 + 4 / speed + i / 1000} if i % 40 == 39 else {})
                for i in range(80)
            ],
        )
    write_metrics(
        folder / "ppo",
        [
            {
                "step": i,
                "reward": -0.6 + 0.05 * i + noise.gauss(0, 0.06),
                "kl_per_sequence": 0.02 * i**1.6 + abs(noise.gauss(0, 0.02)),
                "entropy": 1.9 - 0.04 * i,
                "answer_tokens": 52 - i,
                "ended": min(1.0, 0.8 + i / 60),
            }
            for i in range(16)
        ],
    )
    (folder / "evaluation.json").write_text(json.dumps(found))
    (folder / "reward" / "gate.json").write_text(json.dumps(gate()))
    return folder


def write_metrics(folder: Path, rows: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Page(HTMLParser):
    """What a browser would see: elements, their attributes and ids, and the text."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(name)) is not None]


def page_of(folder: Path, found: dict[str, Any] | None = None) -> Page:
    if found is not None:
        (folder / "evaluation.json").write_text(json.dumps(found))
    return Page(write_report(folder).read_text())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "starter", evaluation())


def test_the_page_loads_nothing_and_runs_nothing(run: Path) -> None:
    page = page_of(run)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in page.elements}
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    references = page.attributes("href") + page.attributes("src") + page.attributes("xlink:href")
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert "http:" not in write_report(run).read_text().replace("http-equiv", "")
    assert "default-src 'none'" in " ".join(page.attributes("content"))


def test_every_reference_has_one_target(run: Path) -> None:
    html = write_report(run).read_text()
    page = Page(html)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = {reference.removeprefix("#") for reference in page.attributes("href")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert wanted <= set(ids)


def test_words_of_models_and_tags_stay_text(run: Path) -> None:
    attack = "</div><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
    found = evaluation()
    found["run"] = found["samples"][0]["tag"] = attack
    found["samples"][0]["messages"][0] = {"role": attack, "content": attack}
    found["samples"][0]["answers"]["SFT"]["text"] = attack
    found["by_tag"]["<script>$\\frac{"] = {"SFT": 1.0, "PPO": 2.0}
    page = page_of(run, found)
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert page.text.count("<script>alert('x')</script>") == 6  # title, heading, tag, role, message, answer
    assert "<script>$\\frac{" in page.text


def test_any_text_that_json_can_hold_makes_a_page(run: Path) -> None:
    found = evaluation()
    found["samples"][0]["answers"]["SFT"]["text"] = "half a pair \ud83d, a null \x00, right to left \u202e"
    found["by_tag"] = {"\x00\ud83d tag": {"SFT": 1.0}}
    assert "half a pair" in page_of(run, found).text


def test_systems_keep_their_order_everywhere(run: Path) -> None:
    html = write_report(run).read_text()
    header = html[html.index("<thead>") : html.index("</thead>")]
    assert re.findall(r'class="system">([^<]+)', header) == SYSTEMS
    for card in html.split('<article class="sample">')[1:]:
        assert re.findall(r"<h4><span>([^<]+)", card) == SYSTEMS


def row(html: str, key: str) -> list[tuple[bool, str]]:
    """(marked best, value) of each cell of a metric's row."""
    part = html[html.index(f'href="#{key}"') :]
    cells = re.findall(r'<td class="s\d( best)?"><span class="value">([^<]+)', part[: part.index("</tr>")])
    return [(bool(best), value) for best, value in cells]


def test_the_best_value_is_marked_in_the_direction_that_is_better(run: Path) -> None:
    html = write_report(run).read_text()
    assert row(html, "reward") == [(False, "−1.42"), (False, "−0.31"), (True, "+0.08"), (False, "−0.13")]
    assert row(html, "repetition") == [(False, "22%"), (False, "5%"), (False, "4%"), (True, "3%")]
    assert not any(best for best, _ in row(html, "words"))
    assert not any(best for best, _ in row(html, "empty")), "values that read the same are not told apart"
    assert row(html, "pairs_by_likelihood")[2] == (False, "–"), "not measured for best of 4"


def test_unknown_intervals_are_left_out(run: Path) -> None:
    found = evaluation()
    found["systems"]["PPO"]["reward"] |= {"low": None, "high": None}
    found["systems"]["SFT"]["reward"] |= {"low": -math.inf, "high": math.inf}
    html = write_report(make_run(run, found)).read_text()
    assert "inf" not in row(html, "reward")[1][1]
    assert "+inf" not in html
    assert "None" not in html


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.05, 0.31, "PPO scored 0.18 points above SFT (95% interval +0.05 to +0.31)."),
        (-0.02, 0.31, "PPO did not measurably beat SFT"),
        (0.0, 0.31, "PPO did not measurably beat SFT"),
        (None, None, "too few prompts for an interval"),
    ],
)
def test_the_summary_claims_only_what_the_interval_allows(
    run: Path, low: float | None, high: float | None, said: str
) -> None:
    found = evaluation()
    found["differences"]["PPO - SFT"] = {"value": 0.18, "low": low, "high": high, "n": 258}
    assert said in " ".join(summary(found))
    assert said in page_of(run, found).text


def test_a_loss_is_called_a_loss() -> None:
    assert "PPO scored 0.21 points below best of 4" in " ".join(summary(evaluation()))


def test_comparisons_share_one_scale() -> None:
    first, second, third, _ = comparisons(evaluation()["differences"])
    assert (third.left, third.right) == ("PPO", "best of 4")
    assert first.places["zero"] == second.places["zero"] == third.places["zero"]
    assert third.places["low"] < third.places["value"] < third.places["high"] < third.places["zero"]
    assert second.places["zero"] < second.places["low"] < first.places["low"]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.004, "0.00"), (-0.004, "0.00"), (-0.5, "−0.50"), (1.0, "+1.00"), (None, "–")]
)
def test_signed(value: float | None, shown: str) -> None:
    assert signed(value) == shown


@pytest.mark.parametrize("stage", ["sft", "reward", "judge", "ppo"])
def test_a_stage_without_metrics_is_named_and_the_others_are_drawn(run: Path, stage: str) -> None:
    drawn = [tag for tag, _ in page_of(run).elements].count("figcaption")
    (run / stage / "metrics.jsonl").unlink()
    page = page_of(run)
    assert f"{stage}/metrics.jsonl" in page.text
    lost = {"sft": 1, "reward": 0, "judge": 0, "ppo": 6}[stage]
    assert [tag for tag, _ in page.elements].count("figcaption") == drawn - lost


def test_the_report_quotes_the_guards(run: Path) -> None:
    assert "guards had nothing to say" in page_of(run).text
    rows = [
        {"step": 4, "done": "warned", "line": "entropy = 0.1 <is> under"},
        {"step": 5, "done": "stopped", "line": "x"},
    ]
    (run / "ppo" / "guards.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = page_of(run).text
    assert "Iteration 5, warned: entropy = 0.1 <is> under." in text
    assert "Iteration 6, stopped: x." in text
    assert "PPO's guards, iteration 5, warned: entropy = 0.1 <is> under" in terminal_report(run)


def test_one_step_and_values_that_are_no_numbers_are_enough(run: Path) -> None:
    write_metrics(run / "sft", [{"step": 0, "loss": 3.5}])
    write_metrics(run / "ppo", [{"step": 0, "reward": math.nan, "entropy": 1.0}, {"step": 1, "reward": 0.25}])
    (run / "judge" / "metrics.jsonl").write_text('{"step": 0, "lo')
    page = page_of(run)
    assert "Training: 3.50 (one step only)." in page.text
    assert "It: 0.25 (one step only)." in page.text
    assert "Not recorded: judge/metrics.jsonl" in page.text


def test_a_run_with_the_least_that_is_required(tmp_path: Path) -> None:
    found = {key: evaluation()[key] for key in ("run", "base", "seed", "prompts", "systems", "differences")}
    (tmp_path / "evaluation.json").write_text(json.dumps(found | {"scorer": None}))
    page = page_of(tmp_path)
    assert page.text.count("Not recorded: ") == 9
    assert "no labelled answers" in page.text


def test_an_incomplete_evaluation_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match=r"evaluation\.json is missing"):
        write_report(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"run": "starter", "base": "starter", "seed": 0}')
    with pytest.raises(AccordantError, match=r"evaluation\.json lacks prompts, systems, differences"):
        report_figures(tmp_path)


def test_the_same_run_makes_the_same_page(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_figures_hold_the_last_values_and_no_answers(run: Path) -> None:
    write_metrics(run / "sft", [{"step": 0, "loss": 3.0, "held_out_loss": 2.5}, {"step": 1, "loss": 2.0}])
    found = evaluation()
    found["systems"]["base"]["reward"]["low"] = -math.inf
    (run / "evaluation.json").write_text(json.dumps(found))
    figures = report_figures(run)
    assert "samples" not in figures
    assert figures["final"]["sft"] == {"steps": 2, "loss": 2.0, "held_out_loss": 2.5}
    assert figures["systems"]["base"]["reward"]["low"] is None
    json.dumps(figures, allow_nan=False)


def gate_rows(html: str) -> dict[str, str]:
    """Verdict of each check, by its name, as the table of the gate marks it."""
    table = html[html.index('<table class="gate">') :]
    table = table[: table.index("</table>")]
    return dict(re.findall(r'<span class="unit">(\w+)</span>.*?<td class="(\w+)">\2</td></tr>', table))


def test_the_gate_is_shown_with_figures_limits_and_verdicts(run: Path) -> None:
    (run / "reward" / "gate.json").write_text(json.dumps(gate(length="overruled", refusal="overruled")))
    html = write_report(run).read_text()
    expected = dict.fromkeys(["accuracy", "calibration", "length", *TWINS], "passed")
    assert gate_rows(html) == expected | {"length": "overruled", "refusal": "overruled"}
    text = Page(html).text
    for shown in ("0.72", "0.69 to 0.75", "at least 0.60", "40 of calibration", "−0.08", "Reward model: reliability"):
        assert shown in text
    said = "In the gate of the reward model this did not hold and was overruled by the recipe: length bias; good answer"
    assert text.index(said) < text.index("Results"), "an overruled check is part of the summary"
    lines = terminal_report(run)
    assert " ".join(lines[-2:]).startswith(said[:40])
    assert all(len(line) <= 80 for line in lines)
    figures = report_figures(run)["gate"]
    assert {row["name"]: row["verdict"] for row in figures} == gate_rows(html)


def test_a_gate_that_is_passed_or_missing_says_so(run: Path) -> None:
    assert "this did not hold" not in page_of(run).text
    (run / "reward" / "gate.json").unlink()
    page = page_of(run)
    assert "its reward model was not checked" in page.text
    assert "reliability" not in page.text
    assert report_figures(run)["gate"] == []


def test_every_tuned_policy_is_told_of(run: Path) -> None:
    found = evaluation()
    for name in ("DPO", "SFT on best"):
        found["systems"][name] = found["systems"]["PPO"]
    write_metrics(run / "dpo", [{"step": i, "loss": 0.7 - i / 100, "accuracy": 0.5 + i / 100} for i in range(9)])
    page = page_of(run, found)
    assert "against a reward model (PPO) and, apart from that, on the rankings" in page.text
    assert "SFT on best refused 68% of the harmful requests" in page.text
    assert "DPO: accuracy" in page.text
    assert "Not recorded: dpo/metrics.jsonl is missing or holds no such values." in page.text, "the margin"
    assert page.text.count("Not recorded: best_of_n/metrics.jsonl") == 4
    lines = report_lines(found)
    assert all(len(line) <= 80 for line in lines)
    assert sum("SFT on best" in line for line in lines) == 1
    assert sum(line.startswith("Held-out reward") for line in lines) == 2
    del found["systems"]["PPO"]
    assert "PPO: " not in page_of(run, found).text


def test_lines_fit_a_terminal_and_say_the_headline() -> None:
    lines = report_lines(evaluation())
    assert all(len(line) <= 80 for line in lines)
    assert "  PPO - SFT: +0.18 (+0.05 to +0.31): higher" in lines
    reward = next(line for line in lines if line.startswith("Held-out reward"))
    assert reward.split()[2:] == ["-1.42", "-0.31", "+0.08", "-0.13"]
    assert len(lines) == 2 + len(METRICS) + 1 + 4
