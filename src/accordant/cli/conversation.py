"""A conversation in the making, and its place in a file of demonstrations."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from accordant.data.jsonl import read_rows, write_records
from accordant.errors import AccordantError, BadRow
from accordant.records import Demonstration, Message


@dataclass
class Conversation:
    """What was said so far: `turns` are questions with their answers."""

    system: str = ""
    turns: list[tuple[str, str]] = field(default_factory=list)
    id: str = field(default_factory=lambda: f"chat-{secrets.token_hex(6)}")

    def messages(self) -> list[Message]:
        """As the renderer and the records take it."""
        said = [Message(role="system", content=self.system)] if self.system else []
        for question, answer in self.turns:
            said += [Message(role="user", content=question), Message(role="assistant", content=answer)]
        return said

    def save(self, path: Path) -> None:
        """Put it into a file of demonstrations, as a new row or in place of its own earlier one.

        Raises:
            AccordantError: when there is nothing to save, or the file holds something else and is left as it is.
        """
        if not self.turns:
            raise AccordantError("nothing was said yet, so there is nothing to save")
        if path.suffix != ".jsonl":
            raise AccordantError(f"{path} should end in .jsonl: the conversation is saved as JSON Lines")
        others = [row for row in _saved(path) if row.id != self.id]
        mine = Demonstration(id=self.id, messages=tuple(self.messages()), tag="chat")
        write_records(path, [*others, mine])


def _saved(path: Path) -> list[Demonstration]:
    found: list[Demonstration] = []
    for row in read_rows(path) if path.exists() else ():
        if isinstance(row, BadRow):
            raise row
        try:
            found.append(Demonstration.model_validate(row.fields))
        except ValueError:
            raise BadRow(path, row.line, "is no demonstration; choose another file") from None
    return found
