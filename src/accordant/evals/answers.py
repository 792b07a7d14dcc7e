"""Answers of a checkpoint to evaluation prompts: one each, or the best of several by a reward model."""

from collections.abc import Sequence

from accordant.engine import Engine, Generation, Sampling
from accordant.evals.likelihood import MICRO_BATCH_TOKENS
from accordant.model import ScalarModel
from accordant.progress import SILENT, Watcher
from accordant.records import EvaluationPrompt
from accordant.train.reward import score_groups


def greedy(max_tokens: int) -> Sampling:
    """The setting of all suites: the likeliest token each time, so that a figure can be measured again."""
    return Sampling(temperature=0.0, max_tokens=max_tokens)


def answer_all(
    engine: Engine, prompts: Sequence[EvaluationPrompt], sampling: Sampling, watcher: Watcher = SILENT
) -> list[Generation]:
    """One answer to each prompt, in order; each is shown to `watcher` as it counts the answers."""
    return [answers[0] for answers in _sample(engine, prompts, sampling, 1, watcher)]


def best_of(
    engine: Engine,
    reward_model: ScalarModel,
    prompts: Sequence[EvaluationPrompt],
    sampling: Sampling,
    samples: int,
    watcher: Watcher = SILENT,
) -> list[Generation]:
    """Of `samples` answers to each prompt the one that the reward model scores highest, the first at equal scores.

    The simple rival of PPO: no training, `samples` times the cost of an answer (Stiennon et al. 2020). The scored
    tokens are those that were sampled.
    """
    answers = _sample(engine, prompts, sampling, samples, watcher)
    heads = [engine.renderer.prompt(prompt.messages) for prompt in prompts]
    sequences = [[head + answer.ids for answer in group] for head, group in zip(heads, answers, strict=True)]
    scores = score_groups(reward_model, sequences, MICRO_BATCH_TOKENS)
    return [group[max(range(samples), key=own.__getitem__)] for group, own in zip(answers, scores, strict=True)]


def _sample(
    engine: Engine, prompts: Sequence[EvaluationPrompt], sampling: Sampling, samples: int, watcher: Watcher
) -> list[list[Generation]]:
    ids = [engine.renderer.prompt(prompt.messages) for prompt in prompts]
    watcher.begin("answers", len(ids) * samples)
    answers = engine.generate(ids, sampling, samples, lambda done, _: watcher.step(done, {}))
    watcher.end()
    return answers
