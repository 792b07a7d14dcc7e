"""FalseQA's pairs: a question on a false premise and the same question with the premise repaired."""

import re
from collections import defaultdict
from collections.abc import Sequence

from accordant.records import EvaluationPrompt

_TWIN_OVERLAP = 0.5
"""Share of words that a question and its repaired twin have in common at least; below it, other pairs appear."""


def with_twins(records: Sequence[EvaluationPrompt]) -> list[EvaluationPrompt]:
    """Give FalseQA's false and repaired questions each other's answer as `bad`.

    The file does not say which belong together and its order does not keep them in step, so twins are those of
    which each has most words in common with the other, and at least half of all.
    """
    sides = [[r for r in records if r.expect == expect] for expect in ("challenge", "answer")]
    words = [[set(re.findall(r"\w+", r.messages[0].content.lower())) for r in side] for side in sides]
    nearest = [_nearest(words[0], words[1]), _nearest(words[1], words[0])]
    twins: dict[str, EvaluationPrompt] = {}
    for place, (overlap, other) in enumerate(nearest[0]):
        if overlap >= _TWIN_OVERLAP and nearest[1][other][1] == place:
            one, two = sides[0][place], sides[1][other]
            twins[one.id] = one.model_copy(update={"bad": two.good, "pair": one.id})
            twins[two.id] = two.model_copy(update={"bad": one.good, "pair": one.id})
    return [twins.get(record.id, record) for record in records]


def _nearest(these: Sequence[set[str]], those: Sequence[set[str]]) -> list[tuple[float, int]]:
    """For each of `these` the largest Jaccard overlap with one of `those`, and which it is."""
    holders = defaultdict(list)
    for place, words in enumerate(those):
        for word in words:
            holders[word].append(place)
    found = []
    for words in these:
        shared: dict[int, int] = defaultdict(int)
        for word in words:
            for place in holders[word]:
                shared[place] += 1
        overlaps = [(n / (len(words) + len(those[place]) - n), -place) for place, n in shared.items()]
        best = max(overlaps, default=(0.0, 0))
        found.append((best[0], -best[1]))
    return found
