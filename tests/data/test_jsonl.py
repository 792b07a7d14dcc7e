import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.data.jsonl import Row, read_rows, write_records
from accordant.errors import AccordantError, BadRow
from accordant.records import Candidate, Comparison, Demonstration, Message


def rows(path: Path, content: bytes) -> list[Row | BadRow]:
    path.write_bytes(content)
    return list(read_rows(path))


def test_blank_lines_count_but_are_no_rows(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.jsonl", b'\n{"a": 1}\r\n\n{"a": 2}') == [(2, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize("content", [b'[{"a": 1},\n\n {"a": 2}]', b'\n\xef\xbb\xbf[{"a": 1}, {"a": 2}]'])
def test_rows_of_an_array_are_counted_by_place(tmp_path: Path, content: bytes) -> None:
    assert rows(tmp_path / "a.json", content) == [(1, {"a": 1}), (2, {"a": 2})]


def test_gzip_holds_the_same_rows(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.jsonl.gz", gzip.compress(b'{"a": "\xc3\xa9"}\n')) == [(1, {"a": "é"})]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"a": 1', "not valid JSON at column 8"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 8"),
        (b"[1]", "expected a JSON object, found list"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not usable JSON"),
        (b"[" * 200_000, "not usable JSON"),
    ],
)
def test_an_undecodable_line_is_a_problem_and_the_next_is_read(tmp_path: Path, line: bytes, says: str) -> None:
    first, bad, last = rows(tmp_path / "a.jsonl", b'{"a": 0}\n' + line + b'\n{"a": 2}\n')
    assert (first, last) == ((1, {"a": 0}), (3, {"a": 2}))
    assert isinstance(bad, BadRow)
    assert bad.line == 2
    assert bad.reason.startswith(says)


def test_csv_rows_are_counted_by_the_line_they_begin_on(tmp_path: Path) -> None:
    content = '\ufeffprompt,chosen\n"two\nlines","a, b"\n\nüber,c\n'.encode()
    assert rows(tmp_path / "a.csv", content) == [
        (2, {"prompt": "two\nlines", "chosen": "a, b"}),
        (5, {"prompt": "über", "chosen": "c"}),
    ]


def test_bad_csv_rows_are_problems(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.csv", b'a,b\n1\n\xff,2\n"x"y,3\n4,5\n')
    assert [(row.line, isinstance(row, BadRow)) for row in found] == [
        (2, True),
        (3, True),
        (4, True),
        (5, False),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.jsonl", None),
        ("broken.json", b'[{"a": 1}, '),
        ("plain.jsonl.gz", b'{"a": 1}\n'),
        ("cut.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 100)[:-9]),
        ("spoilt.jsonl.gz", gzip.compress(b"")[:10] + b"\xff" * 20),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AccordantError, match=name):
        list(read_rows(tmp_path / name))


texts = st.text(min_size=1).filter(str.strip)


@given(texts, texts, texts, st.booleans())
def test_records_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, question: str, answer: str, other: str, ended: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "records.jsonl.gz"
    asked = Message(role="user", content=question)
    demonstration = Demonstration(id="1", messages=(asked, Message(role="assistant", content=answer)))
    candidates = (Candidate(content=answer, ended=ended), Candidate(content=other, model="m"))
    comparison = Comparison(id="2", messages=(asked,), candidates=candidates, ranking=((1,), (0,)))
    write_records(path, [demonstration, comparison])
    fields: list[Any] = [row.fields for row in read_rows(path) if isinstance(row, Row)]
    assert Demonstration.model_validate(fields[0]) == demonstration
    assert Comparison.model_validate(fields[1]) == comparison


def test_a_record_is_written_on_one_line(tmp_path: Path) -> None:
    turns = (Message(role="user", content="a\nb\u2028c"), Message(role="assistant", content="d"))
    write_records(tmp_path / "a.jsonl", [Demonstration(id="1", messages=turns)])
    (line,) = (tmp_path / "a.jsonl").read_text().split("\n")[:-1]
    assert json.loads(line)["messages"][0]["content"] == "a\nb\u2028c"
