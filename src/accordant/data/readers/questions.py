"""Questions with known answers: TruthfulQA, FreshQA, FalseQA and SelfAware.

What rests on a false premise, or is known to nobody, a good assistant challenges; the rest it answers.
"""

import ast
from collections.abc import Callable, Iterable
from typing import Any

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, evaluation_prompt, need_text, tag
from accordant.records import EvaluationPrompt


def _flag(fields: Fields, name: str) -> bool:
    """True or false, as JSON and CSV write them."""
    value = str(fields.get(name)).lower()
    if value not in ("true", "false"):
        raise ValueError(f"field {name!r} is {fields.get(name)!r:.40}, expected true or false")
    return value == "true"


def _first(value: Any) -> str:
    """An answer, or the first of several in a list, which FalseQA writes as text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return str(value)
    found = value[0] if isinstance(value, list) and value else value
    return found.strip() if isinstance(found, str) else ""


def _read_truthfulqa(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """Lin et al. 2022; of the incorrect answers, the first is `bad`."""
    question, good = need_text(fields, "question"), need_text(fields, "best_answer")
    bad = _first(fields.get("incorrect_answers"))
    yield evaluation_prompt(id, question, "answer", tag=tag(fields), good=good, bad=bad)


def _premise_reader(format: str, answer: str) -> Reader[EvaluationPrompt]:
    """Questions that say whether their premise is false, with one answer or several in the field `answer`."""

    def read(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
        false = _flag(fields, "false_premise")
        yield evaluation_prompt(
            id,
            need_text(fields, "question"),
            "challenge" if false else "answer",
            tag="false_premise" if false else "true_premise",
            good=_first(fields.get(answer)),
        )

    return Reader(format, _having("question", "false_premise", answer), read)


def _read_selfaware(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """Yin et al. 2023; nobody knows the answer to the unanswerable ones, so a good assistant says that."""
    answerable = _flag(fields, "answerable")
    yield evaluation_prompt(
        id,
        need_text(fields, "question"),
        "answer" if answerable else "challenge",
        tag="answerable" if answerable else "unanswerable",
        good=_first(fields.get("answer")),
    )


def _having(*names: str) -> Callable[[Fields], bool]:
    return lambda fields: set(names) <= set(fields)


truthfulqa = Reader("truthfulqa", _having("question", "best_answer", "incorrect_answers"), _read_truthfulqa)
freshqa = _premise_reader("freshqa", "answers")
"""Vu et al. 2023."""
falseqa = _premise_reader("falseqa", "answer")
"""Hu et al. 2023; what is `bad` is found once all rows are read, see `data.twins`."""
selfaware = Reader("selfaware", _having("question", "answerable"), _read_selfaware)
