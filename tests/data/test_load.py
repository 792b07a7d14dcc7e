import json
from pathlib import Path
from typing import Any

import pytest

from accordant.data.load import load_comparisons, load_demonstrations, load_prompts
from accordant.errors import AccordantError, BadRow

GOOD = {"instruction": "Hello", "input": "", "output": "Hi"}
EMPTY = GOOD | {"output": " "}
OURS = {"id": "a", "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_every_row_left_out_is_a_problem(tmp_path: Path) -> None:
    loaded = load_demonstrations(write(tmp_path / "set.jsonl", "{", GOOD, EMPTY, GOOD, {"instruction": 1}))
    assert [record.id for record in loaded.records] == ["set:2", "set:4"]
    assert [problem.line for problem in loaded.problems] == [1, 3, 5]
    assert loaded.summary().startswith("set.jsonl: 2 demonstrations (alpaca), 3 rows left out: row 1: not valid JSON")


def test_a_clean_file_has_a_short_summary(tmp_path: Path) -> None:
    loaded = load_demonstrations(write(tmp_path / "set.jsonl", *[GOOD] * 1200))
    assert loaded.summary() == "set.jsonl: 1,200 demonstrations (alpaca)"


def test_strict_raises_the_first_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", GOOD, EMPTY, "{")
    with pytest.raises(BadRow, match=r"set\.jsonl, row 2: turn 2 \(assistant\) is empty"):
        load_demonstrations(path, strict=True)


def test_our_own_schema_is_strict_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", OURS, OURS | {"id": "b", "consents": False})
    with pytest.raises(BadRow, match="row 2: consents: is not a field"):
        load_demonstrations(path)
    assert len(load_demonstrations(path, strict=False).problems) == 1


def test_a_misspelt_field_beside_one_of_ours_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(BadRow, match="consents: is not a field"):
        load_demonstrations(write(tmp_path / "set.jsonl", OURS | {"author": "ann", "consents": False}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"messages": [OURS["messages"][0], {"role": "assistant", "content": " "}]},
            "messages, item 2, content",
        ),  # type: ignore[index]
        ({"consent": "perhaps"}, "consent: .*found 'perhaps'"),
        ({"messages": OURS["messages"][:1]}, "the last message must be from the assistant"),  # type: ignore[index]
    ],
)
def test_a_fault_in_our_schema_says_where_it_is(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRow, match=f"row 1: {says}"):
        load_demonstrations(write(tmp_path / "set.jsonl", OURS | change))


def test_an_id_may_be_used_once(tmp_path: Path) -> None:
    with pytest.raises(BadRow, match="row 2: id 'a' is already that of row 1"):
        load_demonstrations(write(tmp_path / "set.jsonl", OURS, OURS))


def test_a_named_format_is_taken(tmp_path: Path) -> None:
    both = GOOD | {"chosen": "Good", "rejected": "Bad"}
    path = write(tmp_path / "set.jsonl", both)
    assert load_demonstrations(path).records[0].messages[-1].content == "Hi"
    assert load_demonstrations(path, format="preferences").records[0].messages[-1].content == "Good"


def test_an_unknown_format_lists_the_known(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", GOOD)
    with pytest.raises(AccordantError, match=r"no format 'alpacca' .*alpaca, dolly"):
        load_demonstrations(path, format="alpacca")
    with pytest.raises(AccordantError, match=r"row 1: no known format of comparisons .*instruction, input, output"):
        load_comparisons(path)


def test_comparisons_of_ours_are_not_taken_for_demonstrations(tmp_path: Path) -> None:
    candidates = [{"content": "x"}, {"content": "y"}]
    row = OURS | {"messages": [*OURS["messages"], OURS["messages"][0]], "candidates": candidates}  # type: ignore[misc,index]
    path = write(tmp_path / "set.jsonl", row | {"ranking": [[1], [0]]})
    assert load_comparisons(path).format == "accordant"
    with pytest.raises(AccordantError, match="no known format of demonstrations"):
        load_demonstrations(path)


def test_a_file_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match="has no rows"):
        load_demonstrations(write(tmp_path / "empty.jsonl"))
    with pytest.raises(AccordantError, match="none of its 2 rows can be used; row 1: turn 2"):
        load_demonstrations(write(tmp_path / "bad.jsonl", EMPTY, EMPTY))


def test_csv_is_read_like_json(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text('prompt,chosen,rejected,tie\nHello,"Hi, there",No,false\nHello,Hi,No,true\n')
    loaded = load_comparisons(tmp_path / "set.csv")
    assert [record.ranking for record in loaded.records] == [((0,), (1,)), ((0, 1),)]
    assert loaded.records[0].candidates[0].content == "Hi, there"


def test_our_evaluation_prompts(tmp_path: Path) -> None:
    row = {"id": "p", "messages": OURS["messages"][:1], "expect": "clarify"}  # type: ignore[index]
    assert load_prompts(write(tmp_path / "set.jsonl", row)).records[0].expect == "clarify"
