import json
from pathlib import Path
from typing import Any

import pytest

from accordant.errors import AccordantError
from accordant.evals.choices import load_choices


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


OURS = {
    "id": "a",
    "messages": [{"role": "user", "content": "Hm?"}],
    "expect": "clarify",
    "good": "What?",
    "bad": "Yes.",
}


def test_choices(tmp_path: Path) -> None:
    row = {"question": "Why?", "best_answer": "B", "correct_answers": ["A", "B"], "incorrect_answers": ["C"]}
    path = write(tmp_path / "t.jsonl", row, row | {"incorrect_answers": []}, row | {"correct_answers": "A; B; D"})
    questions, problems = load_choices(path)
    assert [(q.right, q.wrong) for q in questions] == [(("B", "A"), ("C",)), (("B", "A", "D"), ("C",))]
    assert [problem.line for problem in problems] == [2]
    (ours,), _ = load_choices(write(tmp_path / "o.jsonl", OURS, OURS | {"id": "b", "bad": ""}))
    assert (ours.right, ours.wrong) == (("What?",), ("Yes.",))
    with pytest.raises(AccordantError, match="no question"):
        load_choices(write(tmp_path / "n.jsonl", OURS | {"good": ""}))
