"""Conversations as other formats write them: lists of turns under several names, or one transcript."""

import re
from collections.abc import Sequence
from typing import Any

from accordant.records import Candidate, Comparison, Message, Messages, Role

Turn = tuple[Role, str]

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")


def turns_of(value: Any) -> list[Turn]:
    """Turns from a list of {role, content}, {from, value} or {role, text}, or from one such object.

    Raises:
        ValueError: with the 1-based number of the turn at fault.
    """
    listed = [value] if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise ValueError(f"expected a list of turns, found {listed!r:.40}")
    return [_turn(number, turn) for number, turn in enumerate(listed, start=1)]


def _turn(number: int, turn: Any) -> Turn:
    if not isinstance(turn, dict):
        raise ValueError(f"turn {number} is {turn!r:.40}, expected an object")
    said_by = turn.get("role", turn.get("from"))
    if not isinstance(said_by, str) or said_by.lower() not in _ROLES:
        raise ValueError(f"turn {number} is said by {said_by!r:.40}, expected one of {', '.join(_ROLES)}")
    said = next((turn[name] for name in ("content", "value", "text") if name in turn), None)
    if isinstance(said, list):
        said = _joined_parts(number, said)
    if not isinstance(said, str):
        raise ValueError(f"turn {number} has no text in 'content', 'value' or 'text'")
    return _ROLES[said_by.lower()], said


def _joined_parts(number: int, parts: list[Any]) -> str:
    """The text of OpenAI's content parts; a part that is not text cannot be read."""
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise ValueError(f"turn {number} holds something other than text")
    return "".join(part["text"] for part in parts)


def is_transcript(value: Any) -> bool:
    """Whether `value` is a string in hh-rlhf's form, which begins with the human's turn."""
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def transcript(text: str) -> list[Turn]:
    """Turns of "\\n\\nHuman: ...\\n\\nAssistant: ...", the form of hh-rlhf's published files."""
    _, *pieces = _SPEAKER.split(text.strip())
    return [(_ROLES[who.lower()], words.strip()) for who, words in zip(pieces[::2], pieces[1::2], strict=True)]


def prompt_turns(value: Any) -> list[Turn]:
    """A prompt given as turns, as a transcript (its empty last answer is left off), or as plain words."""
    if not isinstance(value, str):
        return turns_of(value)
    if not is_transcript(value):
        return [("user", value)]
    turns = transcript(value)
    return turns[:-1] if turns[-1] == ("assistant", "") else turns


def messages(turns: Sequence[Turn]) -> Messages:
    """Turns as messages; an empty system turn, which some formats always write, is left off.

    Raises:
        ValueError: with the 1-based number of an empty turn.
    """
    kept = [(role, text) for role, text in turns if role != "system" or text.strip()]
    for number, (role, text) in enumerate(kept, start=1):
        if not text.strip():
            raise ValueError(f"turn {number} ({role}) is empty")
    return tuple(Message(role=role, content=text) for role, text in kept)


def pair(id: str, chosen: list[Turn], rejected: list[Turn], tie: bool, tag: str) -> Comparison:
    """The comparison of two dialogues that differ in the assistant's last answer only.

    Raises:
        ValueError: when they part earlier: then the judgement is of two conversations, not of two answers.
    """
    if not chosen or not rejected or chosen[-1][0] != "assistant" or rejected[-1][0] != "assistant":
        raise ValueError("'chosen' and 'rejected' must each end with an answer of the assistant")
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("'chosen' and 'rejected' part before the last answer")
    return Comparison(
        id=id,
        messages=messages(chosen[:-1]),
        candidates=(Candidate(content=chosen[-1][1]), Candidate(content=rejected[-1][1])),
        ranking=((0, 1),) if tie else ((0,), (1,)),
        tag=tag,
    )
