"""PPO on a language whose best policy is known in closed form."""

import pytest
import torch
from tests.reference import small_language as language

from accordant.config import PPOSection
from accordant.progress import SILENT
from accordant.train.ppo import PPOStage, function_reward

KL_COEFFICIENT = 0.5
UNENDED = -0.5
SETTINGS = PPOSection(
    episodes=512,
    minibatches=4,
    epochs=2,
    learning_rate=3e-3,
    critic_learning_rate=3e-3,
    last_rate_share=0.0,
    kl_coefficient_per_token=KL_COEFFICIENT,
    max_answer_tokens=language.MOST_TOKENS,
    missing_end_score=UNENDED,
    weight_average=0.9,
)


def worth(text: str) -> float:
    """Begin with an a, say b and not c."""
    return 1.0 * text.startswith("a") + 0.5 * text.count("b") - 0.5 * text.count("c")


def distance_from_the_best_policy(seed: int, iterations: int) -> tuple[float, float]:
    """Total variation from the optimum before and after training."""
    settings = SETTINGS.model_copy(update={"iterations": iterations})
    renderer = language.renderer()
    end = renderer.tokenizer.end_of_turn
    rewards = torch.tensor(
        [worth(renderer.tokenizer.decode(a)) if a[-1] == end else UNENDED for a in language.answers()]
    )
    policy, reference = language.policy(seed), language.policy(seed)
    best = language.optimum(reference, rewards, KL_COEFFICIENT)
    stage = PPOStage(
        policy, reference, language.critic(seed), function_reward(lambda _, text: worth(text)), renderer,
        [language.QUESTION], settings, seed, 100_000,
    )  # fmt: skip
    before = language.total_variation(language.log_probs(policy), best)
    for step in range(stage.total):
        stage.advance(step, SILENT)
    stage.finish()
    return before, language.total_variation(language.log_probs(policy), best)


def test_all_answers_are_listed_once() -> None:
    assert len(set(language.answers())) == len(language.answers()) == 400 + 7**4
    assert language.log_probs(language.policy(0)).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_ppo_goes_towards_the_best_policy() -> None:
    before, after = distance_from_the_best_policy(seed=0, iterations=30)
    assert after < before / 3, (before, after)


@pytest.mark.slow
def test_ppo_reaches_the_best_policy() -> None:
    """Ziegler et al. 2019, section 2: reference times exp(reward / coefficient), normalised."""
    distances = [distance_from_the_best_policy(seed, iterations=100) for seed in range(5)]
    assert all(before > 0.3 for before, _ in distances), distances
    assert sum(after < 0.05 for _, after in distances) >= 4, distances
