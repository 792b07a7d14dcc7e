"""The gate between reward model and PPO: measured once, judged each time, and it stops the round."""

import json
from collections.abc import Sequence
from pathlib import Path

from accordant.data.split import spread
from accordant.errors import AccordantError
from accordant.evals.adversarial import adversarial_trials
from accordant.evals.gate import HeldOut, Measured, judge, measure
from accordant.files import digest, read_json, write_json
from accordant.model.hub import load_scalar_model
from accordant.records import Comparison
from accordant.rounds.data import fitting_rankings
from accordant.rounds.stages import Round
from accordant.text import Renderer
from accordant.train.micro_batches import MicroBatches
from accordant.train.rankings import render_ranking
from accordant.train.reward import score_groups


def pass_gate(work: Round, others: Sequence[Comparison]) -> Path:
    """Write `reward/gate.json`: figures, limits and verdicts. Measured once for the same reward model.

    Args:
        work: the round, its reward model trained.
        others: rankings of prompts that the reward model has not seen.

    Raises:
        AccordantError: one line with the checks that fail and are not overruled.
    """
    path = work.folder / "reward" / "gate.json"
    settings = work.recipe.gate
    made_from = digest([work.fingerprints["reward"], settings.adversarial_prompts])
    known = read_json(path) if path.exists() else {}
    same = known.get("made_from") == made_from
    measured = Measured.from_json(known["measured"]) if same else _measure(work, others)
    checks = judge(measured, settings)
    verdicts = {check.name: {"limit": check.limit, "verdict": check.verdict} for check in checks}
    write_json(path, {"made_from": made_from, "verdicts": verdicts, "measured": measured.to_json()})
    for check in checks:
        work.watcher.note(f"gate: {check}: {check.verdict}")
    if failed := [check for check in checks if check.verdict == "failed"]:
        names = [*settings.overrule, *(check.name for check in failed)]
        raise AccordantError(
            f"the reward model does not pass its gate: {'; '.join(map(str, failed))}; train it better "
            f"({path} shows what it got wrong), or overrule by name: gate.overrule = {json.dumps(names)}"
        )
    return path


def _measure(work: Round, others: Sequence[Comparison]) -> Measured:
    """The scores of held-out rankings were written when the model was trained; the adversarial ones are new."""
    folder, settings = work.checkpoint("reward"), work.recipe.reward
    renderer = Renderer.load(folder)
    model = load_scalar_model(folder, work.dtype, work.device)

    def raw(groups: Sequence[Sequence[float]]) -> list[list[float]]:
        """Without the normalisation: the Bradley-Terry probability is of the raw difference."""
        return [[score * model.deviation + model.mean for score in group] for group in groups]

    micro_batches = MicroBatches(work.recipe.run.micro_batch_tokens, work.watcher.note)

    def score(comparisons: Sequence[Comparison]) -> list[list[float]]:
        sequences = [render_ranking(renderer, c).sequences for c in comparisons]
        return raw(score_groups(model, sequences, micro_batches))

    rankings = spread(fitting_rankings(renderer, others, settings.max_tokens), settings.most_measured)
    held_out = HeldOut(
        scores=raw(read_json(work.folder / "reward" / "accuracy.json")["scores"]),
        tiers=[list(r.tiers) for r in rankings],
        tokens=[[len(ids) for ids in r.sequences] for r in rankings],
    )
    trials = [
        trial
        for trial in adversarial_trials(others, work.recipe.gate.adversarial_prompts)
        if fitting_rankings(renderer, [trial.comparison], settings.max_tokens)
    ]
    return measure(held_out, trials, score)
