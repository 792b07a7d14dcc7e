import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from accordant.cli.visible import visible


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        if before in "\n\t":
            assert after == before
        elif unicodedata.category(before) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(before) in (
            *("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"),
        ):
            assert unicodedata.category(after) == "So"
    assert visible(shown) == shown


def test_escape_sequences_become_readable() -> None:
    assert visible("\x1b]0;title\x07\x1b[2Jdone\r\x9b1m") == "␛]0;title␇␛[2Jdone␍\ufffd1m"
    assert visible("naïve 🙂 👩‍🚀 שלום\n") == "naïve 🙂 👩‍🚀 שלום\n"
