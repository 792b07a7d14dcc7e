"""Questions with right and wrong answers to choose from: TruthfulQA's, or the good and bad answers of our own rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from accordant.data.jsonl import Fields, Row, read_rows
from accordant.data.load import load_prompts
from accordant.errors import AccordantError, BadRow
from accordant.records import Message, Messages


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question; `right[0]` is the best answer, `wrong` are all false."""

    id: str
    messages: Messages
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def load_choices(path: Path) -> tuple[list[ChoiceQuestion], list[BadRow]]:
    """The questions of a file that have a right and a wrong answer, and the rows left out.

    Raises:
        AccordantError: when the file cannot be read or holds no such question.
    """
    rows = list(read_rows(path))
    if any(isinstance(row, Row) and "incorrect_answers" in row.fields for row in rows):
        questions, problems = _truthfulqa(path, rows)
    else:
        loaded = load_prompts(path, strict=False)
        problems = list(loaded.problems)
        questions = [
            ChoiceQuestion(prompt.id, prompt.messages, (prompt.good,), (prompt.bad,))
            for prompt in loaded.records
            if prompt.good and prompt.bad
        ]
    if not questions:
        raise AccordantError(f"{path} has no question with a right and a wrong answer")
    return questions, problems


def _truthfulqa(path: Path, rows: Iterable[Row | BadRow]) -> tuple[list[ChoiceQuestion], list[BadRow]]:
    questions: list[ChoiceQuestion] = []
    problems: list[BadRow] = []
    for row in rows:
        if isinstance(row, BadRow):
            problems.append(row)
            continue
        try:
            questions.append(_question(f"{path.name.split('.')[0]}:{row.line}", row.fields))
        except ValueError as error:
            problems.append(BadRow(path, row.line, str(error)))
    return questions, problems


def _question(id: str, fields: Fields) -> ChoiceQuestion:
    question, best = fields.get("question"), fields.get("best_answer")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("field 'question' is missing or no text")
    if not isinstance(best, str) or not best.strip():
        raise ValueError("field 'best_answer' is missing or no text")
    right = [best, *(a for a in _answers(fields, "correct_answers") if a != best)]
    messages = (Message(role="user", content=question),)
    return ChoiceQuestion(id, messages, tuple(right), tuple(_answers(fields, "incorrect_answers")))


def _answers(fields: Fields, name: str) -> list[str]:
    """A list of answers, or one text with semicolons between them, as the CSV has it."""
    value = fields.get(name)
    found = value.split(";") if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(a, str) and a.strip() for a in found):
        raise ValueError(f"field {name!r} is {value!r:.40}, expected a list of answers")
    return [a.strip() for a in found]
