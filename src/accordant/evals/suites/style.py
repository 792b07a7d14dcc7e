"""How answers read: length, variety, repetition, and whether they come to an end."""

from collections.abc import Sequence

from accordant.engine import Generation
from accordant.errors import AccordantError
from accordant.evals.result import SuiteResult
from accordant.records import EvaluationPrompt
from accordant.stats import mean_interval, wilson
from accordant.text.variety import distinct_2, word_runs


def style(prompts: Sequence[EvaluationPrompt], answers: Sequence[Generation]) -> SuiteResult:
    """Share of answers that ended by themselves as the score; the rest in details.

    words: mean length, split at blanks. distinct_2: different pairs of words over all pairs, of all answers together
    (Li et al. 2016; it falls as answers are added, so compare equal numbers). repetition: mean over answers of
    the share of runs of 4 words that stood in the answer before. ended, empty: shares of answers.

    Raises:
        AccordantError: without answers.
    """
    if not answers:
        raise AccordantError("suite style needs at least one prompt")
    texts = [answer.text.split() for answer in answers]
    lengths = [len(words) for words in texts]
    ended = sum(answer.ended for answer in answers)
    low, high = mean_interval(lengths)
    details = {
        "words": sum(lengths) / len(lengths),
        "words_low": low,
        "words_high": high,
        "distinct_2": distinct_2([answer.text for answer in answers]) or 0.0,
        "repetition": sum(map(repetition, texts)) / len(texts),
        "ended": ended / len(answers),
        "empty": sum(not words for words in texts) / len(texts),
    }
    samples = [
        {"id": p.id, "prompt": p.messages[-1].content, "answer": a.text, "words": n, "ended": a.ended, "tag": p.tag}
        for p, a, n in zip(prompts, answers, lengths, strict=True)
    ]
    return SuiteResult("style", len(answers), ended / len(answers), wilson(ended, len(answers)), details, samples)


def repetition(words: Sequence[str]) -> float:
    """Share of the runs of 4 words that stood in the same answer before; 0 for an answer of fewer than 4."""
    runs = word_runs(words, 4)
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
