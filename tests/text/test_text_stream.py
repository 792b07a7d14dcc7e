from functools import cache

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers

from accordant.testing import tiny_renderer
from accordant.text import TextStream, Tokenizer

SAMPLES = [
    "plain",
    "naïve café",
    "e\u0301 a\u0308\u0323 ग\u094dर",
    "日本語の文章、漢字とかな。" * 5,
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 𝔘𝔫𝔦 \U0010ffff" * 3,
    "\ufffd",
    "a\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdb\ufffd",
    "€\ufffd😀\ufffd\ufffd😀",
    "\x00\u200b\u2028\r\n\t ",
    "שלום مرحبا",
]


@cache
def byte_level() -> Tokenizer:
    return tiny_renderer().tokenizer


@cache
def byte_fallback() -> Tokenizer:
    """As in Llama 2 and Mistral: characters outside the vocabulary are spelt in byte tokens."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghij"]
    bpe = tokenizers.Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>", byte_fallback=True)
    )
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bpe.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer.from_json(bpe.to_str(), "</s>")


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    stream = TextStream(tokenizer)
    return [*(stream.push(token) for token in ids), stream.flush()]


@pytest.mark.parametrize("text", SAMPLES)
@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_samples_of_unicode(make: object, text: str) -> None:
    tokenizer = make()  # type: ignore[operator]
    assert "".join(streamed(tokenizer, tokenizer.encode(text))) == text


@given(st.text(max_size=60))
def test_the_pieces_make_the_text(text: str) -> None:
    for tokenizer in (byte_level(), byte_fallback()):
        assert "".join(streamed(tokenizer, tokenizer.encode(text))) == text


@given(st.text(st.sampled_from("aé€😀\ufffd"), max_size=60))
def test_replacement_characters_beside_others_make_the_text(text: str) -> None:
    for tokenizer in (byte_level(), byte_fallback()):
        assert "".join(streamed(tokenizer, tokenizer.encode(text))) == text


@given(st.lists(st.integers(0, byte_level().markup.get_vocab_size() - 1), max_size=80))
def test_any_tokens_make_what_they_decode_to(ids: list[int]) -> None:
    assert "".join(streamed(byte_level(), ids)) == byte_level().decode(ids)


@given(st.text(st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"])))
def test_never_half_a_character(text: str) -> None:
    for tokenizer in (byte_level(), byte_fallback()):
        pieces = streamed(tokenizer, tokenizer.encode(text))
        assert not any("\ufffd" in piece for piece in pieces)
        assert pieces[-1] == "", "valid text leaves nothing behind"


@given(st.text(st.sampled_from("aé€😀\ufffd"), max_size=60))
def test_at_most_three_tokens_are_held_back(text: str) -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode(text)
    stream, sent = TextStream(tokenizer), ""
    for place, token in enumerate(ids):
        sent += stream.push(token)
        old = tokenizer.decode(ids[: max(0, place - 2)])
        assert sent.startswith(old.rstrip("\ufffd"))
        assert len(sent) >= len(old) - 1, "of what is 3 tokens old only an unfinished character can be missing"


@pytest.mark.parametrize("text", ["river " * 300, "日本" * 300, "😀" * 300, "é" * 300, "aé€😀" * 100, "\ufffda" * 200])
def test_the_cost_of_a_token_does_not_grow(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for tokenizer in (byte_level(), byte_fallback()):
        longest, decode = 0, Tokenizer.decode

        def counted(self: Tokenizer, ids: list[int]) -> str:
            nonlocal longest
            longest = max(longest, len(ids))
            return decode(self, ids)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(Tokenizer, "decode", counted)
            pieces = streamed(tokenizer, tokenizer.encode(text))
        assert "".join(pieces) == text
        assert longest <= 24


def test_control_tokens_are_not_text() -> None:
    tokenizer = byte_level()
    assert "".join(streamed(tokenizer, [*tokenizer.encode("a"), tokenizer.end_of_turn, tokenizer.pad])) == "a"
