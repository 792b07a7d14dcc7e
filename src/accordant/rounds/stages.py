"""Each stage of a round as one function: inputs to a finished checkpoint folder.

A stage is done when its checkpoint is there with the fingerprint of the same inputs (settings, data, parents, seed).
Then it is not done again; with other inputs it is an error to mix, never a silent reuse.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from accordant import __version__
from accordant.config import Recipe
from accordant.data.split import split_by_prompt, spread
from accordant.errors import AccordantError
from accordant.files import digest, new_directory, only_one, read_json, recover_directory, sha256, write_json
from accordant.machine import Machine, default_device, peak_memory_gb, return_freed_memory
from accordant.model import Transformer
from accordant.model.base import bring_base
from accordant.model.hub import (
    WEIGHTS,
    load_scalar_model,
    load_transformer,
    new_scalar_model,
    save_scalar_model,
    save_transformer,
)
from accordant.progress import Watcher
from accordant.records import Comparison
from accordant.rounds.data import RoundData, demonstration_sources, file_digests, ranking_parts, sft_sources
from accordant.rounds.lineage import COMPARISONS, DEMONSTRATIONS, JUDGED, HasId, Row, judged_rows, rows_behind
from accordant.rounds.rewards import build_reward, outside_sources
from accordant.text import CHATML, ChatTemplate, Renderer, Tokenizer
from accordant.train.loop import run_stage
from accordant.train.micro_batches import MicroBatches
from accordant.train.ppo import PPOStage
from accordant.train.reward import RewardStage, normalise, pair_accuracy
from accordant.train.sft import SFTStage
from accordant.train.workers import ALONE, Workers

Save = Callable[[Path], dict[str, Any]]
"""Writes a stage's result into a folder and returns what its lineage records besides."""


@dataclass
class Round:
    """A run in progress: where, of what, on which machine."""

    recipe: Recipe
    folder: Path
    bases: Path
    machine: Machine
    watcher: Watcher
    data: RoundData
    workers: Workers = ALONE
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the models: the recipe's, or what is measured to be faster."""
        return self.machine.dtype(self.recipe.run.precision)

    @property
    def device(self) -> str:
        """Where the models are: a GPU where there is one."""
        return default_device()

    def checkpoint(self, stage: str) -> Path:
        """Folder of a stage's finished checkpoint."""
        return self.folder / stage / "checkpoint"

    def judged(self, demonstrations: Iterable[HasId], comparisons: Iterable[HasId] = ()) -> dict[str, list[Row]]:
        """For `run.json`: those of the rows that a stage read which were built from what people judged."""
        read = {(DEMONSTRATIONS, row.id) for row in demonstrations} | {(COMPARISONS, row.id) for row in comparisons}
        return {JUDGED: sorted(read & judged_rows(file_digests(self.recipe.data).values()))}

    def fingerprint(self, stage: str, settings: Any, parents: tuple[str, ...]) -> str:
        """Digest of everything that decides a stage's result."""
        recipe = self.recipe
        self.fingerprints[stage] = digest(
            {
                "stage": stage,
                "settings": settings.model_dump(mode="json"),
                "run": recipe.run.model_dump(mode="json", exclude={"name", "save_every_seconds"}),
                "precision": str(self.dtype),
                "data": sorted(file_digests(recipe.data).values()),
                "judge_share": recipe.data.judge_share,
                "weights": [source.weight for source in demonstration_sources(recipe.data)],
                "parents": [self.fingerprints[parent] for parent in parents],
            }
        )
        return self.fingerprints[stage]


def base(work: Round) -> Path:
    """Bring the base; its fingerprint is that of its weights."""

    def bring() -> Path:
        with only_one(work.bases):
            return bring_base(work.recipe.run.base, work.bases)

    folder = work.workers.first(bring)
    work.fingerprints["base"] = digest([sha256(path) for path in sorted(folder.glob("*.safetensors"))])
    return folder


def sft(work: Round, base_folder: Path) -> Path:
    """Fine-tune the base on the demonstrations."""
    recipe = work.recipe

    def train(folder: Path) -> Save:
        renderer = Renderer.load(base_folder)
        if recipe.run.template == "chatml":
            renderer = Renderer(_with_chatml(renderer.tokenizer), ChatTemplate(CHATML))
        renderer.check_trainable()
        model = load_transformer(base_folder, work.dtype, work.device)
        settings = recipe.sft
        sources, held_out, taught = sft_sources(
            work.data, renderer, settings.max_tokens, settings.holdout_share, recipe.run.seed, work.watcher
        )
        stage = SFTStage(
            model, sources, held_out, settings, recipe.run.seed, recipe.run.micro_batch_tokens, work.workers
        )
        run_stage(stage, folder, work.watcher, recipe.run.save_every_seconds, work.workers)
        return policy_saver(model, renderer, stage.micro_batches, work.judged(taught))

    return once(work, "sft", recipe.sft, ("base",), train)


def reward(
    work: Round, sft_folder: Path, stage_name: str, comparisons: list[Comparison], others: list[Comparison]
) -> Path:
    """Train a reward model on `comparisons`; its accuracy is measured on `others`.

    Args:
        work: the round.
        sft_folder: checkpoint whose trunk it starts from.
        stage_name: `reward` (used by PPO) or `judge` (used to measure).
        comparisons: training rankings.
        others: rankings of prompts that `comparisons` has not.
    """
    recipe = work.recipe

    def train(folder: Path) -> Save:
        renderer = Renderer.load(sft_folder)
        model = new_scalar_model(sft_folder, work.dtype, work.device, recipe.run.seed)
        settings, tokens = recipe.reward, recipe.run.micro_batch_tokens
        rankings, held_out = ranking_parts(comparisons, others, renderer, settings, "reward", work.watcher)
        watched = held_out[:_WATCHED_RANKINGS]
        title, workers = _TITLES[stage_name], work.workers
        stage = RewardStage(model, rankings, watched, settings, recipe.run.seed, tokens, title, workers)
        run_stage(stage, folder, work.watcher, recipe.run.save_every_seconds, workers)
        demonstrations = [renderer.dialogue(d.messages).ids for d in work.data.all_demonstrations()]
        fitting = [ids for ids in demonstrations if len(ids) <= tokens]
        answers = [s for r in rankings for s in r.sequences]
        work.watcher.note(f"measuring the {stage_name} model on {len(held_out):,} rankings that it has not seen")
        most = settings.most_measured
        normalise(model, spread(fitting, most), spread(answers, most), stage.micro_batches, workers)
        accuracy, pairs, scores = pair_accuracy(model, held_out, stage.micro_batches, workers)
        measured = {
            "accuracy": accuracy,
            "pairs": pairs,
            "rankings": len(held_out),
            "trained_on": len(rankings),
            "tiers": [list(r.tiers) for r in held_out],
            "scores": scores,
        }

        def save(target: Path) -> dict[str, Any]:
            write_json(folder / "accuracy.json", measured)
            save_scalar_model(model, target)
            renderer.save(target)
            return {**stage.micro_batches.to_json(), **work.judged(work.data.all_demonstrations(), rankings)}

        return save

    return once(work, stage_name, recipe.reward, ("sft",), train)


def ppo(work: Round, sft_folder: Path, reward_folder: Path) -> Path:
    """Tune the SFT model against the reward model, or against what else the recipe's rewards name."""
    recipe = work.recipe
    outside = outside_sources(recipe.ppo.rewards)
    work.fingerprints |= outside

    def train(folder: Path) -> Save:
        renderer = Renderer.load(sft_folder)
        tokens = recipe.run.micro_batch_tokens
        policy = load_transformer(sft_folder, work.dtype, work.device)
        # A policy with adapters is its own reference, with them off.
        reference = None if recipe.ppo.lora_rank else load_transformer(sft_folder, work.dtype, work.device)
        passes = MicroBatches(tokens, work.watcher.note)
        rewarder = build_reward(recipe.ppo.rewards, reward_folder, renderer, passes, work.dtype, work.device)
        with_critic = recipe.ppo.baseline == "critic"
        critic = load_scalar_model(reward_folder, work.dtype, work.device) if with_critic else None
        pretraining = []
        if recipe.ppo.ptx_coefficient:
            sources, _, _ = sft_sources(work.data, renderer, recipe.sft.max_tokens, 0.0, recipe.run.seed, work.watcher)
            pretraining = [example for source in sources for example in source.examples]
        stage = PPOStage(
            policy,
            reference,
            critic,
            rewarder,
            renderer,
            work.data.prompts,
            recipe.ppo,
            recipe.run.seed,
            tokens,
            pretraining,
            work.workers,
            recipe.guards,
        )
        keep_start = recipe.guards.most_roll_backs > 0
        run_stage(stage, folder, work.watcher, recipe.run.save_every_seconds, work.workers, keep_start)
        stage.finish()
        recorded = {"adapted": stage.adapted(), **work.judged(work.data.all_demonstrations(), work.data.comparisons)}
        return policy_saver(policy, renderer, stage.micro_batches, recorded)

    return once(work, "ppo", recipe.ppo, ("sft", "reward", *outside), train)


def reward_halves(work: Round) -> tuple[list[Comparison], list[Comparison]]:
    """The comparisons in two parts that share no prompt: reward model and DPO learn the first, the judge the second."""
    return split_by_prompt(work.data.comparisons, work.recipe.data.judge_share, work.recipe.run.seed)


_WATCHED_RANKINGS = 48
"""Held-out rankings on which the accuracy is followed while training; all of them are measured at the end."""
_TITLES = {"reward": "reward model", "judge": "judge (reward model on the other half)"}


def policy_saver(
    model: Transformer, renderer: Renderer, micro_batches: MicroBatches, recorded: Mapping[str, Any] | None = None
) -> Save:
    """What writes a finished policy into its checkpoint folder; `recorded` and the last bound go into its lineage."""

    def save(target: Path) -> dict[str, Any]:
        save_transformer(model, target)
        renderer.save(target)
        return {**micro_batches.to_json(), **(recorded or {})}

    return save


def once(work: Round, stage: str, settings: Any, parents: tuple[str, ...], train: Callable[[Path], Save]) -> Path:
    """Run a stage unless its checkpoint stands; then drop its working state. Only the leading process writes."""
    folder, target = work.folder / stage, work.checkpoint(stage)
    fingerprint = work.fingerprint(stage, settings, parents)
    if work.workers.first(lambda: _is_done(folder, target, fingerprint)):
        return target
    began = time.time()
    save = train(folder)
    if work.workers.leads:
        with new_directory(target) as new:
            found = save(new)
            lineage = _lineage(work, stage, settings, parents, began, sha256(new / WEIGHTS))
            earlier = [rows_behind(work.checkpoint(parent)) for parent in parents if parent in ("sft", "reward")]
            found[JUDGED] = sorted({*found[JUDGED]}.union(*earlier))
            write_json(new / "run.json", lineage | found)
        shutil.rmtree(folder / "state", ignore_errors=True)
    del save
    return_freed_memory()
    return target


def _is_done(folder: Path, target: Path, fingerprint: str) -> bool:
    """Whether the checkpoint stands; whatever is there must have been made with `fingerprint`."""
    recover_directory(target)
    if target.exists():
        _check_finished(target, fingerprint)
        shutil.rmtree(folder / "state", ignore_errors=True)
        return True
    folder.mkdir(parents=True, exist_ok=True)
    _check_state(folder, fingerprint)
    return False


def _check_finished(target: Path, fingerprint: str) -> None:
    record = read_json(target / "run.json")
    if record["fingerprint"] != fingerprint:
        raise AccordantError(
            f"{target} was made from other settings or data; give the run another run.name, or delete the folder"
        )
    if sha256(target / WEIGHTS) != record["weights_sha256"]:
        raise AccordantError(f"{target / WEIGHTS} is damaged; delete {target} and run again")


def _check_state(folder: Path, fingerprint: str) -> None:
    """A half-done stage goes on only with the inputs it was begun with."""
    path = folder / "begun.json"
    if path.exists() and (folder / "state").exists() and read_json(path)["fingerprint"] != fingerprint:
        raise AccordantError(
            f"{folder} was begun with other settings or data; give the run another run.name, or delete the folder "
            "(after mending a reward function that failed, delete begun.json in it and the run goes on)"
        )
    write_json(path, {"fingerprint": fingerprint})


def _lineage(
    work: Round, stage: str, settings: Any, parents: tuple[str, ...], began: float, weights: str
) -> dict[str, Any]:
    recipe = work.recipe
    return {
        "stage": stage,
        "fingerprint": work.fingerprints[stage],
        "weights_sha256": weights,
        "parents": {parent: work.fingerprints[parent] for parent in parents},
        "base": recipe.run.base,
        "seed": recipe.run.seed,
        "settings": settings.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "data_sha256": file_digests(recipe.data),
        "precision": str(work.dtype).removeprefix("torch."),
        "device": work.device,
        "machine": work.machine.to_json(),
        "accordant": __version__,
        "revision": revision(),
        "minutes_since_last_start": round((time.time() - began) / 60, 2),
        "peak_memory_gb": peak_memory_gb(),
    }


def revision() -> str | None:
    """The commit of the source tree, where the package runs from one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _with_chatml(tokenizer: Tokenizer) -> Tokenizer:
    """ChatML needs its two tokens; refuse a base whose turns end otherwise."""
    if tokenizer.text_of(tokenizer.end_of_turn) != "<|im_end|>" or tokenizer.markup.token_to_id("<|im_start|>") is None:
        raise AccordantError('this base has no <|im_start|> and <|im_end|>; set run.template = "base" in the recipe')
    return tokenizer
