"""Does a model order answers as people did?"""

import math
from collections.abc import Callable, Iterator, Sequence

from accordant.errors import AccordantError
from accordant.evals.likelihood import MICRO_BATCH_TOKENS, answer_likelihoods
from accordant.evals.result import SuiteResult
from accordant.model import ScalarModel, Transformer
from accordant.records import Comparison
from accordant.stats import wilson
from accordant.text import Renderer
from accordant.train.rankings import render_ranking
from accordant.train.reward import score_groups


def preference_of_reward_model(
    model: ScalarModel, renderer: Renderer, comparisons: Sequence[Comparison]
) -> SuiteResult:
    """Share of pairs, ties left out, of which the reward model scores the better answer higher; see `_result`."""
    groups = [render_ranking(renderer, comparison).sequences for comparison in comparisons]
    return _result(comparisons, score_groups(model, groups, MICRO_BATCH_TOKENS), renderer)


def preference_of_policy(model: Transformer, renderer: Renderer, comparisons: Sequence[Comparison]) -> SuiteResult:
    """The same for a language model, by mean log-prob per token."""
    answers = [(c.messages, a.content) for c in comparisons for a in c.candidates]
    scores = iter(answer_likelihoods(model, renderer, answers))
    return _result(comparisons, [[next(scores).per_token for _ in c.candidates] for c in comparisons], renderer)


def _result(comparisons: Sequence[Comparison], scores: Sequence[list[float]], renderer: Renderer) -> SuiteResult:
    """Accuracy over pairs, an equal score counting half.

    Its Wilson interval takes pairs as independent, which those of one ranking of more than two are not. length_bias
    is the correlation, over pairs in both orders, of the difference in score with that in tokens; longer_wins is
    the accuracy of one who always takes the longer answer.

    Raises:
        AccordantError: when there is no pair that is not a tie.
    """
    hits = by_length = 0.0
    pairs = ties = 0
    gaps: list[tuple[float, float]] = []
    samples = []
    for comparison, own in zip(comparisons, scores, strict=True):
        lengths = [len(renderer.answer(a.content, a.ended)) for a in comparison.candidates]
        for better, worse in _pairs(comparison):
            score_gap, length_gap = own[better] - own[worse], lengths[better] - lengths[worse]
            gaps.append((score_gap, length_gap))
            hits, by_length, pairs = hits + _half(score_gap), by_length + _half(length_gap), pairs + 1
        k = len(own)
        ties += k * (k - 1) // 2 - sum(1 for _ in _pairs(comparison))
        samples.append(
            {
                "id": comparison.id,
                "prompt": comparison.messages[-1].content,
                "answers": [a.content for a in comparison.candidates],
                "tiers": comparison.tiers(),
                "scores": own,
                "tag": comparison.tag,
            }
        )
    if not pairs:
        raise AccordantError("suite preference needs comparisons with at least one pair that is no tie")
    details = {"ties": float(ties), "length_bias": _correlation(gaps), "longer_wins": by_length / pairs}
    return SuiteResult("preference", pairs, hits / pairs, wilson(hits, pairs), details, samples)


def _pairs(comparison: Comparison) -> Iterator[tuple[int, int]]:
    """(better, worse) for each pair that is no tie."""
    tiers = comparison.tiers()
    for i, one in enumerate(tiers):
        for j, other in enumerate(tiers):
            if one < other:
                yield i, j


def _half(gap: float) -> float:
    return 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0


def _correlation(gaps: Sequence[tuple[float, float]]) -> float:
    """Pearson's, with each gap counted in both signs, so means are 0; 0 when one side never varies."""
    product, scores, lengths = (sum(f(s, n) for s, n in gaps) for f in _PRODUCTS)
    return product / math.sqrt(scores * lengths) if scores and lengths else 0.0


_PRODUCTS: tuple[Callable[[float, float], float], ...] = (
    lambda s, n: s * n,
    lambda s, n: s * s,
    lambda s, n: n * n,
)
