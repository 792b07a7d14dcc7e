"""Base, SFT, best-of-n and tuned policies on the held-out prompts: one table, paired differences, samples side by side.

The judge is a reward model trained on the half of the comparisons that no policy was tuned on.
"""

import datetime
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accordant.config import METHOD_NAMES, DataSection
from accordant.data.split import spread
from accordant.engine import Engine, Generation, Sampling
from accordant.errors import BadRow
from accordant.evals.answers import answer_all, best_of, greedy
from accordant.evals.likelihood import good_over_bad
from accordant.evals.scorers import agreement, classify
from accordant.evals.suites.style import repetition
from accordant.files import digest, read_json, sha256, write_json
from accordant.machine import peak_memory_gb
from accordant.model import ScalarModel
from accordant.model.hub import load_scalar_model, load_transformer
from accordant.records import EvaluationPrompt, Expectation, LabelledAnswer
from accordant.rounds.stages import Round
from accordant.rounds.status import MINUTES
from accordant.stats import Interval, bootstrap_interval, mean_interval, paired_difference, wilson
from accordant.text import Renderer
from accordant.train.rankings import render_answer
from accordant.train.reward import score_sequences

Metric = dict[str, float | int | None]


@dataclass
class System:
    """One row of the table.

    answers, rewards (by the judge) and acts (by the scorers) follow the prompts; likelier says, for each prompt with
    a good and a bad reference answer, whether the good one is likelier; it is empty where there is no one policy.
    """

    name: str
    answers: list[Generation]
    rewards: list[float]
    acts: list[Expectation]
    likelier: list[bool]


def evaluate_round(work: Round, base_folder: Path) -> Path:
    """Write `evaluation.json`; done once for the same checkpoints and settings."""
    path = work.folder / "evaluation.json"
    settings = work.recipe.evaluation
    made_from = digest(
        [settings.model_dump(mode="json"), _measured_on(work.recipe.data), sorted(work.fingerprints.items())]
    )
    if path.exists() and read_json(path).get("made_from") == made_from:
        return path
    prompts = spread(work.data.evaluation, settings.most_prompts)
    tuned = {METHOD_NAMES[method]: work.checkpoint(method) for method in work.recipe.policy.methods}
    checkpoints = {"base": base_folder, "SFT": work.checkpoint("sft")} | tuned
    judge_renderer = Renderer.load(work.checkpoint("judge"))
    judge = load_scalar_model(work.checkpoint("judge"), work.dtype, work.device)
    best_name = f"best of {settings.best_of}"
    systems: dict[str, System] = {}
    for name, folder in checkpoints.items():
        renderer = Renderer.load(folder)
        engine = Engine(load_transformer(folder, work.dtype, work.device), renderer)
        answers = answer_all(engine, prompts, greedy(settings.max_answer_tokens), work.watcher)
        likelier = [margin > 0 for margin in good_over_bad(engine.model, renderer, prompts).values()]
        systems[name] = _system(name, prompts, answers, judge, judge_renderer, work, likelier)
        if name == "SFT":
            rewarder = load_scalar_model(work.checkpoint("reward"), work.dtype, work.device)
            sampling = Sampling(settings.temperature, max_tokens=settings.max_answer_tokens, seed=work.recipe.run.seed)
            chosen = best_of(engine, rewarder, prompts, sampling, settings.best_of, work.watcher)
            systems[best_name] = _system(best_name, prompts, chosen, judge, judge_renderer, work, [])
    order = ["base", "SFT", best_name, *tuned]
    pairs = [("SFT", "base"), *itertools.product(tuned, ("SFT", best_name, "base")), *itertools.combinations(tuned, 2)]
    write_json(
        path,
        {
            "made_from": made_from,
            "recipe": work.recipe.model_dump(mode="json"),
            "run": work.recipe.run.name,
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "base": work.recipe.run.base,
            "seed": work.recipe.run.seed,
            "prompts": len(prompts),
            "machine": work.machine.to_json()
            | {"precision": str(work.dtype).removeprefix("torch."), "peak_memory_gb": peak_memory_gb()},
            "minutes": read_json(work.folder / MINUTES),
            "systems": {name: _metrics(systems[name], prompts) for name in order},
            "differences": {f"{a} - {b}": _paired(systems[a], systems[b]) for a, b in pairs},
            "reward_models": {name: _accuracy(work.folder / name) for name in ("reward", "judge")},
            "scorer": _scorer(work),
            "by_tag": _by_tag([systems[name] for name in order], prompts),
            "samples": _samples([systems[name] for name in order], prompts, settings.side_by_side),
        },
    )
    return path


def _measured_on(data: DataSection) -> list[str]:
    paths = [data.evaluation, *([data.labelled_answers] if data.labelled_answers else [])]
    return [sha256(path) for path in paths]


def _system(
    name: str,
    prompts: Sequence[EvaluationPrompt],
    answers: list[Generation],
    judge: ScalarModel,
    renderer: Renderer,
    work: Round,
    likelier: list[bool],
) -> System:
    """Judge the text of each answer, rendered by the judge's own template, so that all systems are read alike."""
    sequences = [
        render_answer(renderer, p.messages, a.text or " ", a.ended) for p, a in zip(prompts, answers, strict=True)
    ]
    rewards = score_sequences(judge, sequences, work.recipe.run.micro_batch_tokens)
    acts = [classify(p.messages, a.text) for p, a in zip(prompts, answers, strict=True)]
    return System(name, answers, rewards, acts, likelier)


def _metrics(system: System, prompts: Sequence[EvaluationPrompt]) -> dict[str, Metric]:
    def share(tags: Sequence[str], act: Expectation, equal: bool) -> list[float]:
        return [float((found == act) is equal) for p, found in zip(prompts, system.acts, strict=True) if p.tag in tags]

    harmful, harmless = share(["harmful"], "refuse", True), share(["lookalike"], "refuse", False)
    texts = [answer.text for answer in system.answers]
    metrics = {
        "reward": _mean(system.rewards),
        "harmful_refused": _share(harmful),
        "lookalikes_answered": _share(harmless),
        "told_apart": _balanced(harmful, harmless),
        "premises_challenged": _share(share(["false_premise"], "challenge", True)),
        "true_premises_accepted": _share(share(["true_premise"], "challenge", False)),
        "clarified": _share(share(["ambiguous"], "clarify", True)),
        "words": _mean([float(len(text.split())) for text in texts]),
        "ended": _share([float(answer.ended) for answer in system.answers]),
        "repetition": _mean_share([repetition(text.split()) for text in texts]),
        "empty": _share([float(not text.strip()) for text in texts]),
        "pairs_by_likelihood": _share([float(found) for found in system.likelier]),
    }
    return {name: metric for name, metric in metrics.items() if metric["n"]}


def _metric(value: float, interval: Interval, n: int) -> Metric:
    return {"value": value, "low": interval.low, "high": interval.high, "n": n}


def _mean(values: Sequence[float]) -> Metric:
    return _metric(sum(values) / len(values), mean_interval(values), len(values))


def _share(values: Sequence[float]) -> Metric:
    return _metric(sum(values) / max(1, len(values)), wilson(sum(values), len(values)), len(values))


def _mean_share(values: Sequence[float]) -> Metric:
    """As `_mean`, with an interval that stays between 0 and 1."""
    return _metric(sum(values) / len(values), bootstrap_interval([values]), len(values))


def _balanced(left: Sequence[float], right: Sequence[float]) -> Metric:
    """Mean of two shares: what a model that refuses everything, or nothing, gets half of."""
    if not left or not right:
        return _metric(0.0, Interval(0.0, 1.0), 0)
    value = (sum(left) / len(left) + sum(right) / len(right)) / 2
    return _metric(value, bootstrap_interval([left, right]), len(left) + len(right))


def _paired(a: System, b: System) -> Metric:
    difference = paired_difference(a.rewards, b.rewards)
    return _metric(difference.mean, difference.interval, len(a.rewards))


def _accuracy(folder: Path) -> Metric:
    found = read_json(folder / "accuracy.json")
    interval = wilson(found["accuracy"] * found["pairs"], found["pairs"])
    return {
        "accuracy": found["accuracy"],
        "low": interval.low,
        "high": interval.high,
        "pairs": found["pairs"],
    }


def _scorer(work: Round) -> dict[str, Any] | None:
    """How far the automatic scorers agree with people on labelled answers."""
    path = work.recipe.data.labelled_answers
    if path is None:
        return None
    found = agreement(load_labelled(path))
    return {"n": found.n, "agreement": found.share, "kappa": found.kappa, "per_label": found.per_label}


def load_labelled(path: Path) -> list[LabelledAnswer]:
    """Read answers with people's labels, JSONL; the first bad row is an error."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(LabelledAnswer.model_validate_json(line))
        except ValueError as error:
            raise BadRow(path, number, str(error).splitlines()[0]) from None
    return rows


def _by_tag(systems: Sequence[System], prompts: Sequence[EvaluationPrompt]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for tag in sorted({p.tag for p in prompts}):
        for system in systems:
            own = [r for p, r in zip(prompts, system.rewards, strict=True) if p.tag == tag]
            table[tag][system.name] = sum(own) / len(own)
    return table


def _samples(systems: Sequence[System], prompts: Sequence[EvaluationPrompt], count: int) -> list[dict[str, Any]]:
    """The first prompts of each tag in turn: chosen by place, never by how the answers look."""
    by_tag: dict[str, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_tag[prompt.tag].append(index)
    turns = max(map(len, by_tag.values()))
    chosen = [own[turn] for turn in range(turns) for own in by_tag.values() if turn < len(own)][:count]
    return [
        {
            "id": prompts[i].id,
            "tag": prompts[i].tag,
            "messages": [m.model_dump() for m in prompts[i].messages],
            "answers": {
                s.name: {"text": s.answers[i].text, "reward": s.rewards[i], "ended": s.answers[i].ended}
                for s in systems
            },
        }
        for i in chosen
    ]
