"""What breaks without it: PPO on the small language with one detail changed at a time.

    python -m benchmarks.ablations [DETAIL ...]

The best policy of that language is known (tests/reference/small_language.py), so what a detail is worth can be read:
the total variation between the trained policy and the best one, 0 when they are equal, 1 when they share no answer.
Prints the table of docs/method.md, and last one JSON document. Settings change the recipe's section; faults stand in
for one function of the library.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from tests.reference import small_language as language
from torch import Tensor

from accordant.config import PPOSection
from accordant.engine import Generation
from accordant.records import Messages
from accordant.train.ppo import objective
from accordant.train.ppo.reward import Scored, score_answers, with_total
from accordant.train.ppo.stage import PPOStage

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Ablation:
    """Recipe fields that are changed, and functions that are replaced: (owner, name, replacement)."""

    settings: dict[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[Any, str, Callable[..., Any]], ...] = ()


def not_whitened(values: Tensor, mask: Tensor) -> Tensor:
    """Advantages as they are."""
    return torch.where(mask, values, 0.0)


def not_centred(values: Tensor, mask: Tensor) -> Tensor:
    """Scaled to variance 1 with the mean added back."""
    mean = objective.masked_mean(values, mask)
    variance = objective.masked_mean((values - mean) ** 2, mask)
    return torch.where(mask, values * torch.rsqrt(variance + 1e-8), 0.0)


def padding_counted(values: Tensor, mask: Tensor) -> Tensor:
    """Mean and variance over padding, too."""
    deviation = (values - values.mean()).square().mean().add(1e-8).sqrt()
    return torch.where(mask, (values - values.mean()) / deviation, 0.0)


def score_on_every_token(scores: Tensor, kl: Tensor, mask: Tensor, kl_coefficient: float) -> Tensor:
    """The answer's score, given for each of its tokens."""
    return torch.where(mask, scores.sum(-1, keepdim=True) - kl_coefficient * kl, 0.0)


def rewards_whitened(scores: Tensor, kl: Tensor, mask: Tensor, kl_coefficient: float) -> Tensor:
    """Each token's reward scaled to the iteration's deviation, its mean kept (an option of the 2019 code)."""
    rewards = _token_rewards(scores, kl, mask, kl_coefficient)
    deviation = (rewards - objective.masked_mean(rewards, mask))[mask].std()
    return rewards / deviation


def never_negative(log_probs: Tensor, reference: Tensor) -> Tensor:
    """k1 cut at 0."""
    return _kl_k1(log_probs, reference).clamp_min(0)


def penalty_subtracted(
    stage: PPOStage, conversations: Sequence[Messages], answers: Sequence[Generation]
) -> list[Scored]:
    """An answer that does not end keeps its score, less what would have replaced it."""
    scored = score_answers(stage.reward, conversations, answers)
    penalty = stage.settings.missing_end_score
    return [
        own if answer.ended else own._replace(rewards=with_total(own.rewards, sum(own.rewards) + penalty))
        for own, answer in zip(scored, answers, strict=True)
    ]


_token_rewards, _kl_k1 = objective.token_rewards, objective.kl_k1

ABLATIONS = {
    "intact": Ablation(),
    "no critic: group mean": Ablation({"baseline": "group_mean"}),
    "value head on the policy's trunk": Ablation({"baseline": "value_head"}),
    "no critic warm-up": Ablation({"critic_warmup_iterations": 0}),
    "no value clip": Ablation({"value_clip": 1e9}),
    "no ratio clip": Ablation({"clip": 1e9}),
    "lambda 1": Ablation({"gae_lambda": 1.0}),
    "lambda 0": Ablation({"gae_lambda": 0.0}),
    "discount 0.9": Ablation({"discount": 0.9}),
    "one minibatch": Ablation({"minibatches": 1}),
    "one epoch": Ablation({"epochs": 1}),
    "learning rates stay": Ablation({"last_rate_share": 1.0}),
    "no weight average": Ablation({"weight_average": 0.0}),
    "advantages not whitened": Ablation(faults=((objective, "whiten", not_whitened),)),
    "advantages scaled, not centred": Ablation(faults=((objective, "whiten", not_centred),)),
    "padding counted in whitening": Ablation(faults=((objective, "whiten", padding_counted),)),
    "rewards whitened, too": Ablation(faults=((objective, "token_rewards", rewards_whitened),)),
    "score on every token": Ablation(faults=((objective, "token_rewards", score_on_every_token),)),
    "penalty for no end subtracted": Ablation(faults=((PPOStage, "_score", penalty_subtracted),)),
    "no KL": Ablation({"kl_coefficient_per_token": 0.0}),
    "KL never negative": Ablation(faults=((objective, "kl_k1", never_negative),)),
    "KL by k2 in the reward": Ablation(faults=((objective, "kl_k1", objective.kl_k2),)),
    "KL by k3 in the reward": Ablation(faults=((objective, "kl_k1", objective.kl_k3),)),
}


def distances(ablation: Ablation) -> list[tuple[float, float]]:
    """Total variation from the best policy before and after PPO, for each seed."""
    settings = PPOSection.model_validate(language.SETTINGS.model_dump() | ablation.settings)
    with ExitStack() as stack:
        for owner, name, replacement in ablation.faults:
            stack.enter_context(patch.object(owner, name, replacement))
        return [language.distances_from_the_best_policy(seed, settings) for seed in SEEDS]


def print_row(name: str, values: list[float]) -> None:
    """One line of the table."""
    print(f"| {name} | {' | '.join(f'{v:.3f}' for v in values)} | {sum(values) / len(values):.3f} |", flush=True)


def main(names: list[str]) -> None:
    """Run the named ablations, or all, and print the table and the document."""
    began = time.process_time()
    found: dict[str, list[float]] = {}
    print(f"| changed | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean |")
    print(f"|---|{'---|' * (len(SEEDS) + 1)}")
    for name in names or ABLATIONS:
        pairs = distances(ABLATIONS[name])
        if not found:
            found["before training"] = [before for before, _ in pairs]
            print_row("before training", found["before training"])
        found[name] = [after for _, after in pairs]
        print_row(name, found[name])
    seconds = time.process_time() - began
    settings = language.SETTINGS.model_dump()
    print(json.dumps({"total_variation": found, "seeds": SEEDS, "cpu_seconds": seconds, "settings": settings}))


if __name__ == "__main__":
    main(sys.argv[1:])
