"""How probable a policy finds given answers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from accordant.data.packing import micro_batches, pack
from accordant.model import Transformer
from accordant.records import EvaluationPrompt, Messages
from accordant.text import Example, Renderer
from accordant.train.log_probs import score_tokens

MICRO_BATCH_TOKENS = 2048


class Likelihood(NamedTuple):
    """Log-probability of an answer with its end-of-turn token, in nats: of the whole, and the number of tokens."""

    total: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean per token: compares answers of different lengths, where `total` would prefer the shortest."""
        return self.total / self.tokens


def answer_likelihoods(
    model: Transformer,
    renderer: Renderer,
    answers: Sequence[tuple[Messages, str]],
    micro_batch_tokens: int = MICRO_BATCH_TOKENS,
) -> list[Likelihood]:
    """The likelihood of each answer after its messages; `micro_batch_tokens` bounds memory and changes no result."""
    examples = [Example.of_answer(renderer.prompt(messages), renderer.answer(text)) for messages, text in answers]
    found: dict[int, Likelihood] = {}
    with torch.no_grad():
        for group in micro_batches([len(e.ids) for e in examples], micro_batch_tokens):
            batch = pack([examples[i] for i in group], model.device)
            parts = score_tokens(model, batch).log_probs.split(batch.target_counts)  # type: ignore[no-untyped-call]
            for index, part in zip(group, parts, strict=True):
                found[index] = Likelihood(float(part.double().sum()), len(part))
    return [found[index] for index in range(len(examples))]


def good_over_bad(model: Transformer, renderer: Renderer, prompts: Sequence[EvaluationPrompt]) -> dict[str, float]:
    """By id, how much likelier per token (nats) the good answer is than the bad one, for prompts that have both."""
    both = [prompt for prompt in prompts if prompt.good and prompt.bad]
    answers = [(prompt.messages, answer) for prompt in both for answer in (prompt.good, prompt.bad)]
    scores = answer_likelihoods(model, renderer, answers)
    return {prompt.id: scores[2 * i].per_token - scores[2 * i + 1].per_token for i, prompt in enumerate(both)}
