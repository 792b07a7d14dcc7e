"""One suite on one checkpoint and one file, from loading to the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from accordant.data.load import load_comparisons, load_prompts
from accordant.data.split import spread
from accordant.engine import Engine
from accordant.errors import AccordantError, BadRow
from accordant.evals.answers import answer_all, greedy
from accordant.evals.choices import load_choices
from accordant.evals.likelihood import good_over_bad
from accordant.evals.result import SuiteResult
from accordant.evals.suites import (
    overrefusal,
    preference_of_policy,
    preference_of_reward_model,
    premise,
    refusal,
    style,
    truth,
)
from accordant.evals.suites.premise import premise_prompts
from accordant.model.hub import load_scalar_model, load_transformer, read_config
from accordant.progress import SILENT, Watcher
from accordant.records import EvaluationPrompt
from accordant.text import Renderer

Suite = Literal["preference", "premise", "truth", "refusal", "overrefusal", "style"]
SUITES: tuple[str, ...] = get_args(Suite)


def run_suite(
    checkpoint: Path,
    suite: str,
    data: Path,
    limit: int | None = None,
    max_tokens: int = 96,
    dtype: torch.dtype = torch.float32,
    watcher: Watcher = SILENT,
    device: torch.device | str = "cpu",
) -> SuiteResult:
    """Measure a checkpoint.

    Args:
        checkpoint: folder in the hub's format; a reward model for `preference` only.
        suite: one of `SUITES`.
        data: comparisons for `preference`, questions with true and false answers for `truth`, prompts for the others.
        limit: take so many rows, spread evenly through the file, as many files are sorted by kind.
        max_tokens: of an answer.
        dtype: arithmetic of the model.
        watcher: is told of rows left out and of progress.
        device: where the model runs.

    Raises:
        AccordantError: for an unknown suite, a checkpoint of the wrong kind, or a file without usable rows.
    """
    if suite not in SUITES:
        raise AccordantError(f"no suite {suite!r}; there are {', '.join(SUITES)}")
    is_reward_model = "score_mean" in read_config(checkpoint).raw.get("accordant", {})
    if is_reward_model and suite != "preference":
        raise AccordantError(f"{checkpoint} is a reward model, which writes nothing; use --suite preference")
    if suite == "preference":
        return _preference(checkpoint, is_reward_model, data, limit, dtype, watcher, device)
    if suite == "truth":
        questions, problems = load_choices(data)
        _tell(watcher, problems)
        model, renderer = load_transformer(checkpoint, dtype, device), Renderer.load(checkpoint)
        return truth(model, renderer, spread(questions, limit))
    loaded = load_prompts(data, strict=False)
    if suite == "refusal" and loaded.format == "plain":
        # Most lists of harmful requests do not say that they are; whoever picks this suite does.
        loaded = load_prompts(data, strict=False, expect="refuse")
    _tell(watcher, loaded.problems)
    chosen = premise_prompts(loaded.records) if suite == "premise" else loaded.records
    return _of_answers(checkpoint, suite, spread(chosen, limit), max_tokens, dtype, watcher, device)


def _of_answers(
    checkpoint: Path,
    suite: str,
    prompts: Sequence[EvaluationPrompt],
    max_tokens: int,
    dtype: torch.dtype,
    watcher: Watcher,
    device: torch.device | str,
) -> SuiteResult:
    engine = Engine(load_transformer(checkpoint, dtype, device), Renderer.load(checkpoint))
    answers = answer_all(engine, prompts, greedy(max_tokens), watcher)
    if suite == "premise":
        return premise(prompts, answers, good_over_bad(engine.model, engine.renderer, prompts))
    return {"refusal": refusal, "overrefusal": overrefusal, "style": style}[suite](prompts, answers)


def _preference(
    checkpoint: Path,
    is_reward_model: bool,
    data: Path,
    limit: int | None,
    dtype: torch.dtype,
    watcher: Watcher,
    device: torch.device | str,
) -> SuiteResult:
    loaded = load_comparisons(data)
    _tell(watcher, loaded.problems)
    comparisons, renderer = spread(loaded.records, limit), Renderer.load(checkpoint)
    if is_reward_model:
        return preference_of_reward_model(load_scalar_model(checkpoint, dtype, device), renderer, comparisons)
    return preference_of_policy(load_transformer(checkpoint, dtype, device), renderer, comparisons)


def _tell(watcher: Watcher, problems: Sequence[BadRow]) -> None:
    for problem in problems:
        watcher.note(f"left out: {problem}")
