"""BIG-bench tasks with `input` and `target_scores` ({answer: score}): hhh_alignment (Askell et al. 2021).

For measuring only: its authors ask that it never be trained on. A dialogue in `input` begins with the human's
words and goes on in hh-rlhf's form.
"""

from collections.abc import Iterable
from itertools import groupby

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, need, need_text, tag
from accordant.data.readers.turns import messages, transcript
from accordant.records import Candidate, Comparison


def _read(fields: Fields, id: str) -> Iterable[Comparison]:
    scores = need(fields, "target_scores")
    if not isinstance(scores, dict) or not all(isinstance(score, int | float) for score in scores.values()):
        raise ValueError("field 'target_scores' must give a number for each answer")
    answers = list(scores)
    best_first = sorted(range(len(answers)), key=lambda index: -scores[answers[index]])
    tiers = groupby(best_first, key=lambda index: scores[answers[index]])
    yield Comparison(
        id=id,
        messages=messages(transcript(f"Human: {need_text(fields, 'input')}")),
        candidates=tuple(Candidate(content=answer) for answer in answers),
        ranking=tuple(tuple(members) for _, members in tiers),
        tag=tag(fields),
    )


comparisons = Reader("bigbench", lambda fields: {"input", "target_scores"} <= set(fields), _read)
