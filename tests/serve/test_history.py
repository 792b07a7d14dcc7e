import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.errors import AccordantError
from accordant.records import Message
from accordant.serve.history import fit
from accordant.testing.scripted import WordRenderer

RENDERER = WordRenderer()


def conversation(system: int, sizes: list[int]) -> list[Message]:
    """Messages of so many words each; `system` 0 leaves the system message off."""
    said = [Message(role="system", content="s " * system)] if system else []
    roles = ("user", "assistant")
    return said + [Message(role=roles[i % 2], content="w " * size) for i, size in enumerate(sizes)]


@given(
    system=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=15).filter(lambda sizes: len(sizes) % 2 == 1),
    room=st.integers(0, 120),
)
def test_fewest_whole_turns_are_left_out(system: int, sizes: list[int], room: int) -> None:
    # Each message costs its words and one more, so the answer can be counted from the end without any renderer.
    fixed = (system + 1 if system else 0) + sizes[-1] + 1
    turns = [a + b + 2 for a, b in zip(sizes[:-1:2], sizes[1:-1:2], strict=True)]
    if fixed > room:
        with pytest.raises(AccordantError, match=r"only .* fit"):
            fit(RENDERER, conversation(system, sizes), room)
        return
    kept = 0
    while kept < len(turns) and fixed + sum(turns[len(turns) - kept - 1 :]) <= room:
        kept += 1
    prompt, left_out = fit(RENDERER, conversation(system, sizes), room)
    assert left_out == len(turns) - kept
    assert len(prompt) == fixed + sum(turns[len(turns) - kept :])


def test_the_system_message_is_never_cut() -> None:
    class Spy(WordRenderer):
        seen: list[list[Message]] = []  # noqa: RUF012

        def prompt(self, messages, /):  # type: ignore[no-untyped-def]
            self.seen.append(list(messages))
            return super().prompt(messages)

    spy = Spy()
    assert fit(spy, conversation(2, [3, 3, 3, 3, 3]), 15).turns_left_out == 1
    assert all(messages[0].role == "system" and messages[1].role == "user" for messages in spy.seen)
