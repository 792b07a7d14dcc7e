"""How long a recipe takes on a measured machine, from token counts and matmul rates, before any model loads."""

from dataclasses import dataclass

from accordant.config import METHOD_NAMES, Method, Recipe
from accordant.machine import Machine
from accordant.model import ModelConfig
from accordant.model.base import STARTER_CONFIG
from accordant.progress import SILENT
from accordant.records import Messages
from accordant.rounds.data import RoundData, load_round_data
from accordant.rounds.memory import Shape

_CHARACTERS_PER_TOKEN = 4.2
_TOKENS_PER_MESSAGE = 6
_TRAINING_SHARE = 0.6
_SCORING_SHARE = 0.52
_DECODING_SHARE = 0.27
"""Shares of the measured matmul rate that training, scoring and batched decoding reach (docs/log.md)."""
_FROZEN_SHARE = 2 / 3
"""What training costs where weights get no gradient of their own, as under adapters: 4 operations of 6."""
ANSWER_SHARE = 0.5
"""An answer's usual length as a share of the longest allowed."""
_TWINS = 6
"""Adversarial answers to a prompt of the gate, with the good one (`evals.adversarial`)."""


@dataclass(frozen=True)
class Estimate:
    """Minutes per stage."""

    minutes: dict[str, float]

    @property
    def total(self) -> float:
        """Minutes in all."""
        return sum(self.minutes.values())


def estimate(
    recipe: Recipe, machine: Machine, config: ModelConfig = STARTER_CONFIG, data: RoundData | None = None
) -> Estimate:
    """Estimate a round of `recipe` for a base of the shape `config`; `data` are the recipe's, where they are read.

    Training a token costs 6 operations per weight and scoring one 2 (Kaplan et al. 2020, section 2.1). Several
    processes compute at once, as far as there are cores for them; gate and evaluation are for one.
    """
    data = data or load_round_data(recipe.data, SILENT)
    parameters, rate = Shape(config, 2).parameters, machine.gflops(machine.dtype(recipe.run.precision)) * 1e9
    together = _speed_up(machine, recipe.run.processes)

    def minutes(trained: float = 0, scored: float = 0, sampled: float = 0, speed_up: float = together) -> float:
        work = 6 * trained / _TRAINING_SHARE + 2 * scored / _SCORING_SHARE + 2 * sampled / _DECODING_SHARE
        return parameters * work / rate / speed_up / 60

    sft, reward, ppo, evaluation = recipe.sft, recipe.reward, recipe.ppo, recipe.evaluation
    demonstrations = sum(tokens(d.messages) * source.weight for source in data.demonstrations for d in source.records)
    demonstrations *= 1 - sft.holdout_share
    ranked = sum(tokens(c.messages) + sum(text_tokens(x.content) for x in c.candidates) for c in data.comparisons)
    judged = recipe.data.judge_share * ranked
    measured = ranked * min(reward.most_measured / len(data.comparisons), recipe.data.judge_share)
    gated = recipe.gate.adversarial_prompts * _TWINS * ranked / sum(len(c.candidates) for c in data.comparisons)

    prompt = sum(map(tokens, data.prompts)) / len(data.prompts)
    answer = ppo.max_answer_tokens * ANSWER_SHARE
    iteration = ppo.episodes * (prompt + answer)
    best_of_n = recipe.best_of_n
    chosen = best_of_n.iterations * best_of_n.prompts
    answered = best_of_n.max_answer_tokens * ANSWER_SHARE
    warm_ups = 0 if ppo.baseline == "group_mean" else ppo.critic_warmup_iterations
    updates = ppo.iterations - warm_ups
    reward_models = sum(part.kind in ("model", "folder") for part in ppo.rewards)
    by_policy = updates * ppo.epochs * iteration
    warming_up = warm_ups * ppo.critic_warmup_epochs * iteration
    by_critic = by_policy + warming_up if ppo.baseline == "critic" else 0.0
    by_head = warming_up if ppo.baseline == "value_head" else 0.0
    # The reference scores each answer, the critic does, and the policy those of one minibatch (`ppo.old_log_probs`).
    scorings = reward_models + (1 if ppo.baseline == "group_mean" else 2) + 1 / ppo.minibatches
    mixed_in = updates * ppo.epochs * ppo.minibatches * ppo.ptx_examples * 2 * prompt if ppo.ptx_coefficient else 0.0

    prompts = min(1.0, evaluation.most_prompts / len(data.evaluation))
    asked = prompts * sum(tokens(p.messages) for p in data.evaluation)
    policies = 2 + len(recipe.policy.methods)
    answers = (policies + evaluation.best_of) * prompts * len(data.evaluation)
    spoken = answers * evaluation.max_answer_tokens * ANSWER_SHARE
    tuning: dict[Method, float] = {
        "ppo": minutes(
            trained=(by_policy + mixed_in) * (_FROZEN_SHARE if ppo.lora_rank else 1) + by_critic,
            scored=scorings * ppo.iterations * iteration + by_head,
            sampled=ppo.iterations * ppo.episodes * answer,
        ),
        "dpo": minutes(trained=(ranked - judged) * recipe.dpo.epochs, scored=ranked - judged),
        "best_of_n": minutes(
            trained=chosen * best_of_n.epochs * (prompt + answered),
            scored=chosen * best_of_n.samples * (prompt + answered),
            sampled=chosen * best_of_n.samples * answered,
        ),
    }
    return Estimate(
        {
            "SFT": minutes(trained=demonstrations * sft.epochs),
            "reward model": minutes(trained=(ranked - judged) * reward.epochs, scored=measured),
            "gate": minutes(scored=gated, speed_up=1),
        }
        | {METHOD_NAMES[method]: tuning[method] for method in recipe.policy.methods}
        | {
            "judge": minutes(trained=judged * reward.epochs, scored=measured),
            "evaluation": minutes(scored=(2 * policies + 1) * asked + 2 * spoken, sampled=spoken, speed_up=1),
        }
    )


def _speed_up(machine: Machine, processes: int) -> float:
    """How much faster several processes are than one with the machine's best thread count (see `Machine.use`)."""
    threads = min(machine.threads, max(1, machine.cores // processes))
    return min(machine.cores, processes * threads) / machine.threads


def tokens(messages: Messages) -> float:
    """About how many tokens a conversation makes."""
    return sum(text_tokens(message.content) for message in messages)


def text_tokens(text: str) -> float:
    """About how many tokens a message makes, with what the template puts around it."""
    return len(text) / _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE
