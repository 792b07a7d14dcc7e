"""How much of a conversation the model reads: whole turns from the end, as many as fit."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Protocol

from accordant.errors import AccordantError
from accordant.records import Message


class Prompter(Protocol):
    """The part of `accordant.text.Renderer` that is used here."""

    def prompt(self, messages: Sequence[Message], /) -> list[int]:
        """Ids of a conversation up to where the assistant's next answer begins."""

    def words(self, text: str, /) -> list[int]:
        """Ids of text by itself, in which no control token is meant."""


class Fitted(NamedTuple):
    """Ids of the prompt, and how many of the oldest turns it leaves out."""

    prompt: list[int]
    turns_left_out: int


def fit(renderer: Prompter, messages: Sequence[Message], room: int) -> Fitted:
    """Leave out the fewest oldest turns (question with answer) so that the prompt has at most `room` tokens.

    A system message stays, and so does the last question.

    Raises:
        AccordantError: when those two alone are too long.
    """
    system = list(messages[:1]) if messages[0].role == "system" else []
    spoken = list(messages[len(system) :])
    turns = len(spoken) // 2

    @cache
    def prompt(left_out: int) -> list[int]:
        return renderer.prompt(system + spoken[2 * left_out :])

    def fits(left_out: int) -> bool:
        return len(prompt(left_out)) <= room

    fewest = 0 if fits(0) else bisect_left(range(turns), True, lo=min(1, turns), key=fits)
    if not fits(fewest):
        raise AccordantError(
            f"the last message{' with the system message' if system else ''} is {len(prompt(fewest))} tokens long, "
            f"but only {max(room, 0)} fit; shorten it or ask for a shorter answer (max_tokens)",
            "too_long",
        )
    return Fitted(prompt(fewest), fewest)
