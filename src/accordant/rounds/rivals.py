"""The rivals of PPO, each one function as in `stages`: DPO, and SFT on the best of n sampled answers."""

from pathlib import Path

from accordant.files import digest
from accordant.model.hub import load_transformer
from accordant.rounds.data import ranking_parts
from accordant.rounds.rewards import build_reward, outside_sources
from accordant.rounds.stages import Round, Save, once, policy_saver, reward_halves
from accordant.text import Renderer
from accordant.train.best_of_n import BestOfNStage
from accordant.train.dpo import DPOStage
from accordant.train.loop import run_stage
from accordant.train.micro_batches import MicroBatches


def dpo(work: Round, sft_folder: Path) -> Path:
    """Tune the SFT model on the rankings that the reward model learns from."""
    recipe = work.recipe

    def train(folder: Path) -> Save:
        renderer = Renderer.load(sft_folder)
        policy = load_transformer(sft_folder, work.dtype, work.device)
        own, others = reward_halves(work)
        rankings, held_out = ranking_parts(own, others, renderer, recipe.dpo, "dpo", work.watcher)
        work.watcher.note(f"scoring {len(rankings) + len(held_out):,} rankings with the SFT model, DPO's reference")
        tokens, workers = recipe.run.micro_batch_tokens, work.workers
        stage = DPOStage(policy, rankings, held_out, recipe.dpo, recipe.run.seed, tokens, workers)
        run_stage(stage, folder, work.watcher, recipe.run.save_every_seconds, workers)
        return policy_saver(policy, renderer, stage.micro_batches, work.judged((), rankings))

    return once(work, "dpo", recipe.dpo, ("sft",), train)


def best_of_n(work: Round, sft_folder: Path, reward_folder: Path) -> Path:
    """Tune the SFT model on the best of its own answers, by the rewards that PPO would raise."""
    recipe = work.recipe
    parts = recipe.ppo.rewards
    outside = outside_sources(parts) | {"ppo.rewards": digest([part.model_dump(mode="json") for part in parts])}
    work.fingerprints |= outside

    def train(folder: Path) -> Save:
        renderer = Renderer.load(sft_folder)
        tokens = recipe.run.micro_batch_tokens
        policy = load_transformer(sft_folder, work.dtype, work.device)
        passes = MicroBatches(tokens, work.watcher.note)
        reward = build_reward(parts, reward_folder, renderer, passes, work.dtype, work.device)
        stage = BestOfNStage(
            policy, reward, renderer, work.data.prompts, recipe.best_of_n, recipe.run.seed, tokens, work.workers
        )
        run_stage(stage, folder, work.watcher, recipe.run.save_every_seconds, work.workers)
        judged = work.judged(work.data.all_demonstrations(), work.data.comparisons)
        return policy_saver(policy, renderer, stage.micro_batches, judged)

    return once(work, "best_of_n", recipe.best_of_n, ("sft", "reward", *outside), train)
