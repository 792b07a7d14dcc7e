"""Reward models against TRL's RewardTrainer: real tokens a second on answers of all lengths.

    python -m benchmarks.reward workspace/bases/smollm2-135m-instruct            one pair of each ranking
    python -m benchmarks.reward workspace/bases/smollm2-135m-instruct --whole    whole rankings

Both learn the same pairs in as many optimiser steps: of each ranking one of the best and one of the worst answers, or
with --whole every pair that is no tie. What counts is the tokens of prompt and answer of each answer that takes part,
once per optimiser step however often a program computes it: ours computes a prompt once for all its answers, and an
answer once for all its pairs; TRL computes both sequences of every pair, padded to the longest.
"""

import argparse
import math
from pathlib import Path

import torch
from benchmarks.paired import Work
from benchmarks.training import PEERS, Epochs, main, model_gflop, prepare_ours, trl_settings

from accordant.config import RewardSection
from accordant.data.load import load_comparisons
from accordant.data.packing import Branches
from accordant.data.split import spread
from accordant.model.hub import new_scalar_model
from accordant.text import Renderer
from accordant.train.rankings import Ranking, render_ranking
from accordant.train.reward import RewardStage

MAX_TOKENS = 512
RATE = 1e-5


def rankings(arguments: argparse.Namespace) -> list[Ranking]:
    """Some of the rankings that fit and are no tie throughout, spread evenly through the file."""
    renderer = Renderer.load(arguments.model)
    rendered = (render_ranking(renderer, c) for c in load_comparisons(arguments.data).records)
    fitting = [r for r in rendered if max(map(len, r.sequences)) <= MAX_TOKENS and max(r.tiers) > 0]
    chosen = spread(fitting, arguments.rankings)
    return chosen if arguments.whole else [best_and_worst(ranking) for ranking in chosen]


def best_and_worst(ranking: Ranking) -> Ranking:
    """A ranking of two."""
    best, worst = ranking.tiers.index(0), ranking.tiers.index(max(ranking.tiers))
    return Ranking((ranking.sequences[best], ranking.sequences[worst]), (0, 1))


def tokens(learned: list[Ranking]) -> int:
    """Of all sequences."""
    return sum(len(sequence) for ranking in learned for sequence in ranking.sequences)


def ours(arguments: argparse.Namespace) -> Epochs:
    """`RewardStage`, step by step, with the recipe's defaults; counts the tokens of all sequences."""
    prepare_ours()
    learned = rankings(arguments)
    model = new_scalar_model(arguments.model, torch.bfloat16)
    batch = math.ceil(len(learned) / arguments.steps)
    settings = RewardSection(epochs=1000, learning_rate=RATE, batch_rankings=batch)
    stage = RewardStage(model, learned, [], settings, 0, arguments.micro_batch_tokens)
    computed = sum(Branches.of(ranking.sequences).tokens for ranking in learned)
    figures = {"gflop": model_gflop(model.config, computed), "tokens": tokens(learned), "computed": computed}
    return Epochs(stage, arguments.steps, tokens(learned), figures)


def trl(arguments: argparse.Namespace, dtype: torch.dtype) -> Work:
    """`RewardTrainer` on the same token ids."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    learned = rankings(arguments)
    pairs = [
        {"chosen_ids": better, "rejected_ids": worse}
        for ranking in learned
        for better, tier in zip(ranking.sequences, ranking.tiers, strict=True)
        for worse, lower in zip(ranking.sequences, ranking.tiers, strict=True)
        if tier < lower
    ]
    accumulated = math.ceil(len(pairs) / arguments.steps / arguments.pairs)
    config = RewardConfig(
        max_length=MAX_TOKENS,
        per_device_train_batch_size=math.ceil(len(pairs) / arguments.steps / accumulated),
        gradient_accumulation_steps=accumulated,
        num_train_epochs=1,
        pad_token="<|endoftext|>",
        **trl_settings(dtype, RATE),
    )
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, dtype=dtype, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    data = Dataset.from_list(pairs)
    trainer = RewardTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)

    def work() -> float:
        trainer.train()
        return tokens(learned)

    return work


def work_of(program: str, arguments: argparse.Namespace) -> Work:
    """A program by its name."""
    return ours(arguments) if program == "ours" else trl(arguments, PEERS[program])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a base")
    parser.add_argument("--data", type=Path, default=Path("data/starter/comparisons.jsonl"))
    parser.add_argument("--rankings", type=int, default=32, help="how many an epoch has")
    parser.add_argument("--whole", action="store_true", help="learn all pairs of each")
    parser.add_argument("--steps", type=int, default=2, help="optimiser steps of an epoch")
    parser.add_argument("--micro-batch-tokens", type=int, default=2048, help="of one pass of ours")
    parser.add_argument("--pairs", type=int, default=8, help="most pairs in one pass of TRL")
    main("reward", parser, work_of)
