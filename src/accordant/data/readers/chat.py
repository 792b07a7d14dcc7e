"""Lists of turns: OpenAI's `messages` (role, content) and ShareGPT's `conversations` (from, value)."""

from collections.abc import Iterable

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, need, optional_text, tag
from accordant.data.readers.turns import Turn, messages, turns_of
from accordant.records import Demonstration


def _reader(format: str, name: str) -> Reader[Demonstration]:
    def fits(fields: Fields) -> bool:
        return isinstance(fields.get(name), list) and not {"chosen", "candidates"} & set(fields)

    def read(fields: Fields, id: str) -> Iterable[Demonstration]:
        if fields.get("label") is False:
            raise ValueError("the answer is marked as a bad one (label is false)")
        turns: list[Turn] = [("system", optional_text(fields, "system")), *turns_of(need(fields, name))]
        # A last word that nobody answered teaches nothing.
        while turns[-1][0] == "user":
            turns.pop()
        yield Demonstration(id=id, messages=messages(turns), tag=tag(fields))

    return Reader(format, fits, read)


openai = _reader("openai-chat", "messages")
sharegpt = _reader("sharegpt", "conversations")
