"""The filter of a streamed answer: pieces of text in, events out, with no knowledge of engine or network.

The text is cut at borders (ends of sentences). At each border a span is judged that reaches back over at least
`overlap` characters before the sentence, to a border. From this follow, for every way in which the text is cut into
pieces:

- The spans, and so the verdicts, are the same.
- Anything of at most `overlap` characters lies wholly inside some judged span.
- In mode `hold`, what is released lies before the start of every span still to come: a block never concerns text
  that is already out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from accordant.moderation.policy import Action, Verdict
from accordant.records import Category

Mode = Literal["hold", "window", "audit"]
"""hold: text is released once every span that it is part of was judged; window: once the first one was, so that a
block may come after some of its span; audit: at once, and verdicts are only reported."""

SHOWN_INSTEAD = "The rest of this answer was withheld by the moderation filter."

_SENTENCE_END = re.compile(r"""[.!?…]+["'”’)\]]*\s|\n|[。！？]""")


@dataclass(frozen=True)
class Released:
    """Text that may be shown."""

    text: str


@dataclass(frozen=True)
class Noticed:
    """A flagged span that does not end the stream, told once for each category and action.

    `start` and `end` count characters of the whole answer.
    """

    verdict: Verdict
    start: int
    end: int


@dataclass(frozen=True)
class Blocked:
    """The end of the stream: a span was blocked, of which `released` characters of the answer may show a part."""

    verdict: Verdict
    start: int
    end: int
    released: int
    shown_instead: str
    finish_reason: Literal["content_filter"] = "content_filter"


Event = Released | Noticed | Blocked


@dataclass(frozen=True)
class Spans:
    """How text is cut, in characters.

    Args:
        overlap: how far a span reaches back before the newest sentence, at least.
        shortest: a border comes so many characters after the last one, at least: a judgement has its price.
        longest: and at most; a longer sentence is cut at a space, or where there is none, anywhere.
    """

    overlap: int = 200
    shortest: int = 40
    longest: int = 400

    def border(self, text: str, last: int) -> int | None:
        """The next border after `last`; None while what is there does not settle it."""
        earliest, latest = last + self.shortest, last + self.longest
        for match in _SENTENCE_END.finditer(text, last):
            if earliest <= match.end() <= latest:
                return match.end()
        if len(text) < latest:
            return None
        space = text.rfind(" ", earliest, latest)
        return space + 1 if space >= 0 else latest


DEFAULT_SPANS = Spans()


class StreamFilter:
    """Judges one answer while it is made.

    Args:
        judge: verdict on a text, such as `Moderator.judge` for the model's side.
        mode: when text is released.
        spans: how it is cut.
        shown_instead: what to show for what was withheld.
    """

    def __init__(
        self,
        judge: Callable[[str], Verdict],
        mode: Mode = "hold",
        spans: Spans = DEFAULT_SPANS,
        shown_instead: str = SHOWN_INSTEAD,
    ) -> None:
        self.judge, self.mode, self.spans, self.shown_instead = judge, mode, spans, shown_instead
        self.blocked = False
        self._text = ""
        self._borders = [0]
        self._released = 0
        self._noticed: set[tuple[Category, Action]] = set()

    def push(self, piece: str) -> list[Event]:
        """What the next piece of the answer sets free; nothing after a block."""
        if self.blocked:
            return []
        self._text += piece
        events = self._release(len(self._text)) if self.mode == "audit" else []
        while not self.blocked and (border := self.spans.border(self._text, self._borders[-1])) is not None:
            events += self._judge(border)
        return events

    def finish(self) -> list[Event]:
        """The last events, once the answer is complete."""
        events: list[Event] = []
        if not self.blocked and self._borders[-1] < len(self._text):
            events += self._judge(len(self._text))
        if not self.blocked:
            events += self._release(len(self._text))
        return events

    def _judge(self, border: int) -> list[Event]:
        """Judge the span that ends at `border`, which becomes the last border."""
        start = self._start_of_span(self._borders[-1])
        verdict = self.judge(self._text[start:border])
        self._borders.append(border)
        if verdict.action == "block" and self.mode != "audit":
            self.blocked = True
            return [Blocked(verdict, start, border, self._released, self.shown_instead)]
        events: list[Event] = []
        found = {(category, verdict.actions[category]) for category in verdict.categories}
        if not found <= self._noticed:
            self._noticed |= found
            events.append(Noticed(verdict, start, border))
        return events + self._release(border if self.mode == "window" else self._start_of_span(border))

    def _start_of_span(self, sentence: int) -> int:
        """Where the span of the sentence that begins at this border begins."""
        return next((b for b in reversed(self._borders) if b <= sentence - self.spans.overlap), 0)

    def _release(self, end: int) -> list[Event]:
        """The text up to `end` that is not out yet."""
        text, self._released = self._text[self._released : end], max(self._released, end)
        return [Released(text)] if text else []
