"""One answer preferred to another: hh-rlhf in both its forms, and the forms that grew out of it.

`chosen` and `rejected` are last answers (strings, turns) or whole dialogues (transcripts, lists of turns).
What goes before them is in `prompt`, `messages`, `conversations`, or `instruction` and `input`.
hh-rlhf: Bai et al. 2022, "Training a Helpful and Harmless Assistant", github.com/anthropics/hh-rlhf.
"""

from collections.abc import Iterable
from typing import Any

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, need, need_text, optional_text, tag, with_context
from accordant.data.readers.turns import Turn, is_transcript, pair, prompt_turns, transcript, turns_of
from accordant.records import Comparison, Demonstration, Message


def _before(fields: Fields) -> list[Turn]:
    """What was said before the two answers, as far as it stands in a field of its own."""
    system: list[Turn] = [("system", optional_text(fields, "system"))] if fields.get("system") else []
    for name in ("prompt", "messages", "conversations"):
        if name in fields:
            return system + prompt_turns(fields[name])
    if "instruction" in fields:
        request = with_context(need_text(fields, "instruction"), optional_text(fields, "input"))
        return [*system, ("user", request)]
    return []


def _dialogue(before: list[Turn], value: Any) -> list[Turn]:
    """The whole dialogue that ends in one of the two answers."""
    if isinstance(value, str):
        return transcript(value) if not before and is_transcript(value) else [*before, ("assistant", value)]
    turns = turns_of(value)
    return turns if turns and turns[0][0] != "assistant" else before + turns


def _read(fields: Fields, id: str) -> Iterable[Comparison]:
    before = _before(fields)
    chosen, rejected = (_dialogue(before, need(fields, name)) for name in ("chosen", "rejected"))
    yield pair(id, chosen, rejected, _flag(fields.get("tie", False)), tag(fields))


def _flag(value: Any) -> bool:
    """True and false as JSON and CSV write them."""
    known = {"true": True, "1": True, "false": False, "0": False, "": False, "none": False}
    if str(value).lower() not in known:
        raise ValueError(f"field 'tie' is {value!r:.40}, expected true or false")
    return known[str(value).lower()]


def _is_pair(fields: Fields) -> bool:
    return {"chosen", "rejected"} <= set(fields)


def _is_hh(fields: Fields) -> bool:
    prompt = fields.get("prompt", fields.get("chosen"))
    return _is_pair(fields) and (is_transcript(prompt) or isinstance(fields.get("prompt"), list))


def preferred(reader: Reader[Comparison]) -> Reader[Demonstration]:
    """Read the best answer of each comparison as a demonstration; a tie at the top is that row's error."""

    def read(fields: Fields, id: str) -> Iterable[Demonstration]:
        for comparison in reader.read(fields, id):
            if len(comparison.ranking[0]) > 1:
                raise ValueError("no single best answer to learn from: the answers are tied")
            best = comparison.candidates[comparison.ranking[0][0]]
            if not best.content.strip():
                raise ValueError("the preferred answer is empty")
            answer = Message(role="assistant", content=best.content)
            yield Demonstration(id=id, messages=(*comparison.messages, answer), tag=comparison.tag)

    return Reader(reader.format, reader.fits, read)


hh = Reader("hh-rlhf", _is_hh, _read)
preferences = Reader("preferences", _is_pair, _read)
