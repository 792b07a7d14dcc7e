"""Message trees of OpenAssistant (Köpf et al. 2023): messages and replies, the assistant's ranked by people.

A row is a tree: {"prompt": {"role", "text", "replies": [...]}} as published, or the first message itself.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import groupby

from pydantic import AliasChoices, BaseModel, Field

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, numbered
from accordant.data.readers.turns import Turn, messages, turns_of
from accordant.records import Candidate, Comparison, Demonstration


class _Node(BaseModel):
    """A message and the replies to it; `rank` 0 is the best, None is unranked."""

    role: str
    text: str = Field(validation_alias=AliasChoices("text", "content"))
    rank: float | None = None
    deleted: bool | None = None
    review_result: bool | None = None
    model_name: str | None = None
    replies: list["_Node"]

    @property
    def turn(self) -> Turn:
        return turns_of({"role": self.role, "content": self.text})[0]

    def standing_replies(self) -> "list[_Node]":
        """The replies not deleted, not rejected in review, and not said by the same side again."""
        return [
            reply
            for reply in self.replies
            if not reply.deleted and reply.review_result is not False and reply.turn[0] != self.turn[0]
        ]


def _root(fields: Fields) -> _Node:
    return _Node.model_validate(fields.get("prompt", fields))


def _rank(node: _Node) -> float:
    """For sorting: what nobody ranked comes after all that was."""
    return math.inf if node.rank is None else node.rank


def _best_path(node: _Node) -> list[_Node]:
    """From `node` down: the best-ranked reply, and where ranks do not decide, the longest dialogue."""
    paths = [_best_path(reply) for reply in node.standing_replies()]
    return [node, *min(paths, key=lambda path: (_rank(path[0]), -len(path)), default=[])]


def _read_demonstrations(fields: Fields, id: str) -> Iterable[Demonstration]:
    """One path a tree, so that no message is trained on twice."""
    turns = [node.turn for node in _best_path(_root(fields))]
    if turns[-1][0] == "user":
        turns.pop()
    if not turns:
        raise ValueError("nobody replied to the first message of this tree")
    yield Demonstration(id=id, messages=messages(turns))


def _read_comparisons(fields: Fields, id: str) -> Iterable[Comparison]:
    """One comparison for each message with two or more ranked replies; equal ranks are ties."""
    found = list(_ranked_replies(_root(fields), []))
    if not found:
        raise ValueError("no message of this tree has two ranked replies")
    for place, (turns, replies) in enumerate(found):
        tiers = groupby(range(len(replies)), key=lambda index: _rank(replies[index]))
        yield Comparison(
            id=numbered(id, len(found), place),
            messages=messages(turns),
            candidates=tuple(Candidate(content=reply.text, model=reply.model_name) for reply in replies),
            ranking=tuple(tuple(members) for _, members in tiers),
        )


def _ranked_replies(node: _Node, before: list[Turn]) -> Iterator[tuple[list[Turn], list[_Node]]]:
    turns = [*before, node.turn]
    ranked = sorted((reply for reply in node.standing_replies() if reply.rank is not None), key=_rank)
    if len(ranked) > 1 and turns[-1][0] == "user":
        yield turns, ranked
    for reply in node.standing_replies():
        yield from _ranked_replies(reply, turns)


def _fits(fields: Fields) -> bool:
    root = fields.get("prompt", fields)
    return isinstance(root, dict) and isinstance(root.get("replies"), list)


demonstrations = Reader("oasst-trees", _fits, _read_demonstrations)
comparisons = Reader("oasst-trees", _fits, _read_comparisons)
