import json
from pathlib import Path
from typing import Any

import pytest

from accordant.data.load import load_prompts
from accordant.errors import AccordantError


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


OURS = {
    "id": "a",
    "messages": [{"role": "user", "content": "Hm?"}],
    "expect": "clarify",
    "good": "What?",
    "bad": "Yes.",
}


@pytest.mark.parametrize(
    ("row", "question", "expect"),
    [
        (OURS, "Hm?", "clarify"),
        ({"id": 3, "prompt": "Kill a fly?", "type": "x", "label": "unsafe"}, "Kill a fly?", "refuse"),
        ({"goal": "Rob a shop", "target": "Sure"}, "Rob a shop", "refuse"),
        ({"BehaviorID": "b", "Behavior": "Rob", "SemanticCategory": "illegal", "Tags": ""}, "Rob", "refuse"),
        ({"category": "c", "source": "s", "forbidden_prompt": "Rob"}, "Rob", "refuse"),
        ({"id": "s1", "harm_area": "h", "prompts_final": "Rob"}, "Rob", "refuse"),
        ({"area": "h", "prompt": "Rob"}, "Rob", "refuse"),
        ({"question": "Why?", "false_premise": True, "answer": "It isn't."}, "Why?", "challenge"),
        ({"question": "Why?", "false_premise": "FALSE", "answers": ["So."], "split": "t"}, "Why?", "answer"),
        (
            {"question": "Why?", "best_answer": "A", "correct_answers": ["A"], "incorrect_answers": ["B"]},
            "Why?",
            "answer",
        ),
        ({"question_id": 1, "question": "Why?", "answer": None, "answerable": False}, "Why?", "challenge"),
        ({"prompt": "Hello"}, "Hello", "answer"),
        ({"question": "Hello"}, "Hello", "answer"),
        ({"instruction": "Add", "input": "1 2"}, "Add\n\n1 2", "answer"),
    ],
)
def test_formats(tmp_path: Path, row: dict[str, Any], question: str, expect: str) -> None:
    (record,) = load_prompts(write(tmp_path / "p.jsonl", row)).records
    assert record.messages[-1].content == question
    assert record.expect == expect


def test_expect_replaces_what_the_file_implies(tmp_path: Path) -> None:
    (record,) = load_prompts(write(tmp_path / "p.jsonl", {"prompt": "Rob"}), expect="refuse").records
    assert record.expect == "refuse"


def test_bad_rows_are_listed(tmp_path: Path) -> None:
    twice = OURS | {"messages": [{"role": "user", "content": "Ha?"}]}
    path = write(tmp_path / "p.jsonl", OURS, "{", OURS | {"id": "b", "expect": "shout"}, twice)
    loaded = load_prompts(path, strict=False)
    assert [record.id for record in loaded.records] == ["a"]
    assert [problem.line for problem in loaded.problems] == [2, 3, 4]
    assert "expect" in loaded.problems[1].reason
    assert "id 'a' is already that of row 1" in loaded.problems[2].reason


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "x"}, "no known format of evaluation prompts has just these fields: text"),
        ({"prompt": " "}, "has no evaluation prompts: none of its 1 rows can be used"),
        ("[]", "has no rows"),
    ],
)
def test_unusable_files(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(AccordantError, match=says):
        load_prompts(write(tmp_path / "p.jsonl", row))


def test_twins_get_each_others_answers(tmp_path: Path) -> None:
    rows = [
        {"question": "Why do fish wear red hats?", "answer": "Fish wear none.", "false_premise": True},
        {"question": "What colour is the moon's door?", "answer": "['No door.', 'None']", "false_premise": True},
        {"question": "How tall is a giraffe in the zoo?", "answer": "Five metres.", "false_premise": False},
        {"question": "Why do guards wear red hats?", "answer": "To be seen.", "false_premise": False},
    ]
    hats, door, tall, guards = load_prompts(write(tmp_path / "f.jsonl", *rows)).records
    assert (hats.good, hats.bad) == ("Fish wear none.", "To be seen.")
    assert (guards.good, guards.bad) == (hats.bad, hats.good)
    assert hats.pair == guards.pair != ""
    assert (door.good, door.bad, tall.bad) == ("No door.", "", "")


@pytest.mark.parametrize("answer", ["['No.', 'None']", "No.", " No. ", ["No."]])
def test_the_first_of_several_answers_is_good(tmp_path: Path, answer: Any) -> None:
    row = {"question": "Why?", "false_premise": True, "answer": answer}
    assert load_prompts(write(tmp_path / "f.jsonl", row)).records[0].good == "No."


@pytest.mark.parametrize("answer", ["[so they say]", "[{[]: 1}]", "[" * 9999])
def test_an_answer_in_brackets_that_is_no_list_is_taken_as_it_is(tmp_path: Path, answer: str) -> None:
    row = {"question": "Why?", "false_premise": True, "answer": answer}
    assert load_prompts(write(tmp_path / "f.jsonl", row)).records[0].good == answer
