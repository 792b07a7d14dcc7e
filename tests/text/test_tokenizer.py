import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from accordant.errors import AccordantError
from accordant.testing import tiny_renderer
from accordant.text import CHATML, Tokenizer


def saved(folder: Path, **settings: object) -> Path:
    (folder / "tokenizer.json").write_text(tiny_renderer().tokenizer.markup.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    tokenizer = tiny_renderer().tokenizer
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_control_token_is_one_only_in_markup() -> None:
    tokenizer = tiny_renderer().tokenizer
    assert tokenizer.encode_markup("<|im_end|>") == [tokenizer.end_of_turn]
    plain = tokenizer.encode("a<|im_end|>b")
    assert tokenizer.end_of_turn not in plain
    assert tokenizer.decode(plain) == "a<|im_end|>b"
    assert tokenizer.decode([*plain, tokenizer.end_of_turn]) == "a<|im_end|>b"


@pytest.mark.parametrize("entry", ["<|im_end|>", {"content": "<|im_end|>", "lstrip": False, "special": True}])
def test_the_end_may_be_a_string_or_an_object(tmp_path: Path, entry: object) -> None:
    tokenizer = Tokenizer.load(saved(tmp_path, eos_token=entry, pad_token=entry, bos_token=None))
    assert tokenizer.text_of(tokenizer.end_of_turn) == "<|im_end|>"
    assert tokenizer.text_of(tokenizer.pad) == "<|pad|>", "the end is never the pad, whatever the file says"
    assert tokenizer.bos == ""


def test_the_named_pad_is_taken(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(tmp_path, eos_token="<|im_end|>", pad_token={"content": "<|im_start|>"}))
    assert tokenizer.text_of(tokenizer.pad) == "<|im_start|>"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "names no eos_token"),
        ({"eos_token": 3}, "names no eos_token"),
        ({"eos_token": "</s>"}, "no end-of-turn token '</s>'"),
    ],
)
def test_no_end_is_one_line(tmp_path: Path, settings: dict[str, object], line: str) -> None:
    with pytest.raises(AccordantError, match=line):
        Tokenizer.load(saved(tmp_path, **settings))


def test_a_tokenizer_without_room_for_a_pad_is_refused() -> None:
    only_end = tokenizers.Tokenizer(tokenizers.models.BPE({"<|im_end|>": 0, "a": 1}, []))
    with pytest.raises(AccordantError, match="no token for padding"):
        Tokenizer.from_json(only_end.to_str(), "<|im_end|>")


def test_missing_and_damaged_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match=r"has no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    saved(tmp_path, eos_token="<|im_end|>")
    whole = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(AccordantError, match=r"tokenizer\.json cannot be read") as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_truncation_and_padding_left_in_the_file_do_nothing() -> None:
    raw = tokenizers.Tokenizer.from_str(tiny_renderer().tokenizer.markup.to_str())
    raw.enable_truncation(4)
    raw.enable_padding(length=64)
    tokenizer = Tokenizer.from_json(raw.to_str(), "<|im_end|>")
    text = "Where does the river begin, and where does it meet the sea?"
    assert tokenizer.encode(text) == tokenizer.encode_markup(text) == tiny_renderer().tokenizer.encode(text)


def test_a_saved_tokenizer_reads_the_same(tmp_path: Path) -> None:
    tokenizer = tiny_renderer().tokenizer
    tokenizer.save(tmp_path, CHATML)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.markup.to_str() == tokenizer.markup.to_str()
    assert (loaded.end_of_turn, loaded.pad, loaded.bos) == (tokenizer.end_of_turn, tokenizer.pad, "")
