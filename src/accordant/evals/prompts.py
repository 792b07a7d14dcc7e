"""Files of evaluation prompts, our own and the public ones, into `EvaluationPrompt`s.

Public sets say in different words what a good assistant does; `expect` settles it where a set says nothing.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from accordant.data.jsonl import Fields, read_rows
from accordant.data.load import Loaded
from accordant.data.readers import PROMPTS
from accordant.data.readers.base import Reader, need_text, optional_text, tag
from accordant.errors import AccordantError, BadRow
from accordant.records import EvaluationPrompt, Expectation, Message

_TWIN_OVERLAP = 0.5
"""Share of words that a question and its repaired twin have in common at least; below it, other pairs appear."""


def load_prompts(path: Path, expect: Expectation | None = None) -> Loaded[EvaluationPrompt]:
    """Read a file of prompts; every row that was left out is in `problems`.

    Args:
        path: `.jsonl`, `.json` or `.csv`, each also with `.gz`.
        expect: what a good assistant does with each prompt, instead of what the file says or implies.

    Raises:
        AccordantError: when the file is missing, no format fits its first row, or no row can be used.
    """
    records: list[EvaluationPrompt] = []
    problems: list[BadRow] = []
    reader: Reader[EvaluationPrompt] | None = None
    seen: set[str] = set()
    for row in read_rows(path):
        if isinstance(row, BadRow):
            problems.append(row)
            continue
        reader = reader or _fitting(path, row.line, row.fields)
        try:
            for record in reader.read(row.fields, f"{path.name.split('.')[0]}:{row.line}"):
                if record.id in seen:
                    raise ValueError(f"id {record.id!r} was used before")
                seen.add(record.id)
                records.append(record.model_copy(update={"expect": expect}) if expect else record)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "row"
            problems.append(BadRow(path, row.line, f"{field}: {first['msg'].removeprefix('Value error, ')}"))
        except ValueError as error:
            problems.append(BadRow(path, row.line, str(error)))
    if reader is None or not records:
        why = f": row {problems[0].line}: {problems[0].reason}" if problems else ""
        raise AccordantError(f"{path} has no evaluation prompt that can be used{why}")
    if reader.format == "falseqa":
        records = _with_twins(records)
    return Loaded(path, "evaluation prompts", reader.format, tuple(records), tuple(problems))


def _fitting(path: Path, line: int, fields: Fields) -> Reader[EvaluationPrompt]:
    for reader in (*PROMPTS, *_READERS):
        if reader.fits(fields):
            return reader
    raise AccordantError(
        f"{path}, row {line}: no prompt among the fields {', '.join(fields) or 'none'}; expected one of "
        f"{', '.join(_ASKED)}, or rows with `messages` and `expect`"
    )


def _prompt(id: str, question: str, expect: Expectation, **more: str) -> EvaluationPrompt:
    return EvaluationPrompt(id=id, messages=(Message(role="user", content=question),), expect=expect, **more)


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
        except (ValueError, SyntaxError):
            return str(value)
    found = value[0] if isinstance(value, list) and value else value
    return found.strip() if isinstance(found, str) else ""


def _read_falseqa(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """Hu et al. 2023; its twin's answer becomes `bad` later, in `_with_twins`."""
    false = _flag(fields, "false_premise")
    yield _prompt(
        id,
        need_text(fields, "question"),
        "challenge" if false else "answer",
        tag="false_premise" if false else "true_premise",
        good=_first(fields.get("answer")),
    )


def _read_freshqa(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """Vu et al. 2023."""
    false = _flag(fields, "false_premise")
    yield _prompt(
        id,
        need_text(fields, "question"),
        "challenge" if false else "answer",
        tag="false_premise" if false else "true_premise",
        good=_first(fields.get("answers")),
    )


def _read_truthfulqa(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """Lin et al. 2022; the truth suite reads all choices, by `choices.load_choices`."""
    question, good = need_text(fields, "question"), need_text(fields, "best_answer")
    yield _prompt(id, question, "answer", tag=tag(fields), good=good, bad=_first(fields.get("incorrect_answers")))


def _read_selfaware(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """Yin et al. 2023; nobody knows the answer to the unanswerable ones, so a good assistant says that."""
    answerable = _flag(fields, "answerable")
    kind: Expectation = "answer" if answerable else "challenge"
    name = "answerable" if answerable else "unanswerable"
    yield _prompt(id, need_text(fields, "question"), kind, tag=name, good=_first(fields.get("answer")))


_HARMFUL = ("goal", "Behavior", "forbidden_prompt", "prompts_final")
_ASKED = ("prompt", "question", "instruction", *_HARMFUL)
_TAGS = ("SemanticCategory", "harm_area", "area")


def _read_plain(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    """AdvBench, HarmBench, StrongREJECT, SimpleSafetyTests and Do-Not-Answer ask for harm; any other row for help."""
    name = next(name for name in _ASKED if name in fields)
    harmful = name in _HARMFUL or "area" in fields
    question = need_text(fields, name)
    if context := optional_text(fields, "ContextString") or optional_text(fields, "input"):
        question = f"{question}\n\n{context}"
    topic = next((fields[t] for t in _TAGS if isinstance(fields.get(t), str)), tag(fields))
    yield _prompt(id, question, "refuse" if harmful else "answer", tag=topic)


def _having(*names: str) -> Callable[[Fields], bool]:
    return lambda fields: set(names) <= set(fields)


_READERS: tuple[Reader[EvaluationPrompt], ...] = (
    Reader("truthfulqa", _having("question", "best_answer", "incorrect_answers"), _read_truthfulqa),
    Reader("freshqa", _having("question", "false_premise", "answers"), _read_freshqa),
    Reader("falseqa", _having("question", "false_premise", "answer"), _read_falseqa),
    Reader("selfaware", _having("question", "answerable"), _read_selfaware),
    Reader("plain", lambda fields: any(name in fields for name in _ASKED), _read_plain),
)


def _with_twins(records: Sequence[EvaluationPrompt]) -> list[EvaluationPrompt]:
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
