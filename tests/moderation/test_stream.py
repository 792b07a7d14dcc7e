"""The streaming filter: for every cutting into pieces, nothing of a blocked span gets out in mode hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.moderation.policy import Verdict
from accordant.moderation.stream import Blocked, Event, Mode, Noticed, Released, Spans, StreamFilter
from accordant.testing.moderation import WordModerator

SMALL = Spans(overlap=12, shortest=4, longest=20)
WORDS = st.sampled_from(["go", "bad", "word", "ba", "d", ". ", "!\n", " ", "。", "x" * 25, "évil", "…", '." ', "\n"])
TEXTS = st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=80)
FORBIDDEN = ("bad", "d. word", "évil")


@st.composite
def pieces(draw: st.DrawFn) -> list[str]:
    """A text cut at random places."""
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


class Recorder:
    """An oracle that remembers what it was asked: a text is blocked when it holds a forbidden phrase."""

    def __init__(self, blocked: tuple[str, ...] = FORBIDDEN, warned: tuple[str, ...] = ()) -> None:
        self.moderator, self.asked = WordModerator(blocked, warned), []  # type: ignore[var-annotated]

    def __call__(self, text: str) -> Verdict:
        self.asked.append(text)
        return self.moderator.judge(text)


def run(cut: list[str], mode: Mode, judge: Recorder, spans: Spans = SMALL) -> list[Event]:
    filter = StreamFilter(judge, mode, spans, shown_instead="[withheld]")
    events = [event for piece in cut for event in filter.push(piece)]
    return events + filter.finish()


def shown(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Released))


@given(pieces())
def test_hold_lets_no_blocked_span_out(cut: list[str]) -> None:
    judge = Recorder()
    events, text = run(cut, "hold", judge), "".join(cut)
    out = shown(events)
    assert text.startswith(out)
    assert not any(phrase in out for phrase in FORBIDDEN)
    if any(phrase in text for phrase in FORBIDDEN):
        (block,) = [event for event in events if isinstance(event, Blocked)]
        assert events[-1] is block
        assert len(out) == block.released <= block.start, "nothing of the blocked span is out"
        assert text[block.start : block.end] == judge.asked[-1]
    else:
        assert out == text
        assert not any(isinstance(event, Blocked) for event in events)


@given(pieces())
def test_not_even_half_a_blocked_span_gets_out_at_any_moment(cut: list[str]) -> None:
    text = "".join(cut)
    judge = Recorder()
    filter = StreamFilter(judge, "hold", SMALL)
    out = 0
    for piece in cut:
        out += len(shown(filter.push(piece)))
        for phrase in FORBIDDEN:
            assert out <= text.find(phrase) or phrase not in text


@given(pieces(), st.sampled_from(["hold", "window", "audit"]))
def test_verdicts_do_not_depend_on_the_cutting(cut: list[str], mode: Mode) -> None:
    whole, pieced = Recorder(), Recorder()
    events = run(["".join(cut)], mode, whole)
    assert shown(run(cut, mode, pieced)) == shown(events)
    assert pieced.asked == whole.asked


@given(pieces(), st.integers(0, 80), st.integers(1, 12))
def test_every_short_stretch_lies_wholly_in_some_span(cut: list[str], start: int, length: int) -> None:
    judge, text = Recorder(blocked=()), "".join(cut)
    run(cut, "hold", judge)
    stretch = text[start : start + length]
    assert not stretch or any(stretch in asked for asked in judge.asked)


@given(pieces())
def test_what_is_harmless_comes_out_whole_in_every_mode(cut: list[str]) -> None:
    modes: tuple[Mode, ...] = ("hold", "window", "audit")
    for mode in modes:
        events = run(cut, mode, Recorder(blocked=()))
        assert shown(events) == "".join(cut)
        assert all(isinstance(event, Released) for event in events)


@given(pieces())
def test_window_lets_nothing_out_that_was_not_judged_once(cut: list[str]) -> None:
    judge = Recorder(blocked=())
    filter, out = StreamFilter(judge, "window", SMALL), ""
    for piece in cut:
        out += shown(filter.push(piece))
        assert not out or out.endswith(judge.asked[-1])


def test_window_lags_less_and_may_have_shown_a_part() -> None:
    cut = ["Once upon a time. ", "It was d. ", "word. ", "More of it. "]
    held = StreamFilter(Recorder(), "hold", SMALL)
    window = StreamFilter(Recorder(), "window", SMALL)
    assert shown(held.push(cut[0])) == ""
    assert shown(window.push(cut[0])) == cut[0]
    events = [event for piece in cut[1:] for event in window.push(piece)]
    assert isinstance(events[-1], Blocked)
    assert events[-1].released > events[-1].start, "the block concerns text that is out"
    assert events[-1].shown_instead
    assert events[-1].finish_reason == "content_filter"


def test_after_a_block_nothing_comes() -> None:
    filter = StreamFilter(Recorder(), "hold", SMALL)
    events = filter.push("this is bad. ") + filter.push("but this is not. ") + filter.finish()
    assert [type(event) for event in events] == [Blocked]
    assert filter.blocked


def test_audit_releases_at_once_and_reports_what_would_have_been_blocked() -> None:
    filter = StreamFilter(Recorder(), "audit", SMALL)
    assert filter.push("bad") == [Released("bad")]
    events = filter.push(" thing. well, well. ") + filter.finish()
    notices = [event for event in events if isinstance(event, Noticed)]
    assert [(notice.verdict.action, notice.start, notice.end) for notice in notices] == [("block", 0, 11)]
    assert not filter.blocked
    assert shown(events) == " thing. well, well. "


def test_a_warning_is_told_once_and_the_text_goes_on() -> None:
    cut = ["hm, well then. ", "hm, again it is. ", "and a third hm. "]
    events = run(cut, "hold", Recorder(blocked=(), warned=("hm",)))
    assert sum(isinstance(event, Noticed) for event in events) == 1
    assert shown(events) == "".join(cut)


@pytest.mark.parametrize(
    ("text", "border"),
    [
        ("One two. Three", 9),
        ("One two.", None),
        ('He said "no." Then', 14),
        ("A. Cdef. Gh", 9),
        ("line one\nline two", 9),
        ("これは文です。次", 7),
        ("a" * 25, 20),
        ("aaaa bbbb cccc dddd eeee", 20),
        ("version 3.14 of it", None),
    ],
)
def test_where_text_is_cut(text: str, border: int | None) -> None:
    assert SMALL.border(text, 0) == border
