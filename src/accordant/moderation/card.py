"""The model card that is written beside the heads."""

from collections.abc import Sequence
from typing import Any

from accordant.moderation.policy import Policy
from accordant.records import CATEGORIES, Category

_CARD = """# Moderation heads: model card

One calibrated logistic regression per category on the vectors of a frozen encoder, trained by
`accordant moderation train` (accordant {accordant}). The taxonomy is that of Markov et al. 2022, "A Holistic Approach
to Undesired Content Detection in the Real World", table 1. Labels that nobody gave are masked, not taken for "no".

## Trained on

{sources}

Again: `{command}`

Encoder: weights with SHA-256 `{encoder}`. Seed {seed}, {folds} folds. The rows themselves are not part of this folder.

## Measured

On the first file, cross-validated: every text is scored by heads that saw neither it nor a duplicate, with penalty and
calibration chosen inside the fold.

{table}

`flagged` is the highest score against any label; its texts are those with a label present or all known to be absent.
Published areas on this set take a missing label for "no", as the last row does.

At the default thresholds for the model's words:

{thresholds}

{alarms}

One message took {median:.1f} ms of CPU time at the median, {p95:.1f} ms at the 95th percentile of those texts.

## Not to be relied on for

- Languages other than English, and words disguised by spelling: the encoder and the rows are English.
- Long texts as a whole: windows of 256 tokens are judged apart, and the worst one counts.
- Other prevalence than in the rows: a probability is calibrated for texts like those, where bad ones are common.
{rule}"""

_RULE = """- **sexual/minors**: no row shows it, so there is no head. Its score is that of `sexual` where a text names
  somebody under 18, by a rule (`moderation/minors.py`), and else 0. How many it misses could not be measured.
"""


def model_card(record: dict[str, Any], figures: dict[str, Any], trained: Sequence[Category], policy: Policy) -> str:
    """The card as Markdown, from what was recorded and measured."""
    sources = [
        f"- `{s['file']}`: {s['texts']:,} texts of weight {s['weight']:g}, SHA-256 `{s['sha256']}`"
        for s in record["sources"]
    ]
    table = ["| category | texts | positive | AUPRC | 95% interval | by chance | calibration error |", "|---" * 7 + "|"]
    table += [_row(name, one) for name, one in figures["categories"].items()]
    alarms = [
        f"Harmless look-alikes ({name}, {one['texts']:,} prompts, thresholds for the user's words): "
        f"warned {_share(one['warned'])}, blocked {_share(one['blocked'])}."
        for name, one in figures["lookalikes"].items()
    ]
    return _CARD.format(
        **{name: record[name] for name in ("accordant", "command", "encoder", "seed", "folds")},
        **{name: figures["milliseconds"][name] for name in ("median", "p95")},
        sources="\n".join(sources),
        table="\n".join(table),
        thresholds=_thresholds(figures),
        alarms="\n".join(alarms) or "False alarms on harmless look-alikes were not measured.",
        rule="" if "sexual/minors" in trained else _RULE,
    )


def _row(name: str, one: dict[str, Any]) -> str:
    if "auprc" not in one:
        return f"| {name} | | 0 | | | | |"
    low, high = one["interval"]
    error = "" if one["calibration_error"] is None else f"{one['calibration_error']:.3f}"
    return (
        f"| {name} | {one['texts']:,} | {one['positives']:,} | {one['auprc']:.3f} | {low:.3f} to {high:.3f} "
        f"| {one['chance']:.3f} | {error} |"
    )


def _thresholds(figures: dict[str, Any]) -> str:
    lines = [
        "| category | warn from | precision | recall | block from | precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    for category in CATEGORIES:
        cells = []
        for name in ("warn", "block"):
            at = figures["categories"][category]["at"].get(name)
            precision = "" if at is None or at["precision"] is None else f"{at['precision']:.2f}"
            cells += ["off", "", ""] if at is None else [f"{at['threshold']}", precision, f"{at['recall']:.2f}"]
        lines.append(f"| {category} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(one: dict[str, Any]) -> str:
    low, high = one["interval"]
    return f"{one['share']:.1%} ({low:.1%} to {high:.1%})"
