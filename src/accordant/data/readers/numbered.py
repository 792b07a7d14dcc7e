"""Two numbered answers and a verdict, as in LLMBar, PandaLM, AlpacaEval and Vicuna's reviews.

The verdict is 1 or 2 for the better answer; 0, 1.5 and 3 are the ties of these sets. Where several people
judged a pair (`annotator1`, `annotator2`, ...), each judgement becomes a comparison of its own.
"""

from collections.abc import Iterable
from typing import Any

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, need, need_text, numbered, optional_text, tag, with_context
from accordant.data.readers.turns import messages, prompt_turns
from accordant.records import Candidate, Comparison

_REQUESTS = ("instruction", "prompt", "question", "input")
_ANSWERS = ("output_", "answer_", "response_", "output", "answer", "response")
_MODELS = ("model_", "generator_")
_VERDICTS = ("label", "preference", "score", "winner")
_TIE = ((0, 1),)
_RANKINGS = {"1": ((0,), (1,)), "2": ((1,), (0,)), "0": _TIE, "1.5": _TIE, "3": _TIE, "tie": _TIE}


def _numbered_field(fields: Fields, stems: tuple[str, ...]) -> str | None:
    """The first stem of which the row has the fields 1 and 2."""
    return next((stem for stem in stems if {f"{stem}1", f"{stem}2"} <= set(fields)), None)


def _judgements(fields: Fields) -> list[str]:
    """Names of the fields that hold a verdict."""
    people = [name for name in fields if name.startswith("annotator") and name != "annotator"]
    return people or [name for name in _VERDICTS if name in fields][:1]


def _ranking(name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    """Tiers of a verdict, a number or (in CSV) its text; true and false say nothing about which is better."""
    verdict = str(value).removesuffix(".0")
    if verdict not in _RANKINGS:
        raise ValueError(f"field {name!r} is {value!r:.40}, expected 1, 2 or a tie (0, 1.5, 3 or 'tie')")
    return _RANKINGS[verdict]


def _fits(fields: Fields) -> bool:
    asked = any(name in fields for name in _REQUESTS)
    return asked and _numbered_field(fields, _ANSWERS) is not None and bool(_judgements(fields))


def _read(fields: Fields, id: str) -> Iterable[Comparison]:
    request = next((name for name in _REQUESTS if name in fields), _REQUESTS[0])
    context = optional_text(fields, "input") if request != "input" else ""
    words = with_context(need_text(fields, request), context)
    answer, model = _numbered_field(fields, _ANSWERS) or "output_", _numbered_field(fields, _MODELS)
    candidates = tuple(
        Candidate(
            content=need_text(fields, f"{answer}{number}"),
            model=need_text(fields, f"{model}{number}") if model else None,
        )
        for number in (1, 2)
    )
    names = _judgements(fields) or ["label"]
    for place, name in enumerate(names):
        yield Comparison(
            id=numbered(id, len(names), place),
            messages=messages(prompt_turns(words)),
            candidates=candidates,
            ranking=_ranking(name, need(fields, name)),
            tag=tag(fields),
            annotator=name if len(names) > 1 else "",
        )


comparisons = Reader("numbered-answers", _fits, _read)
