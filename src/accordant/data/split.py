"""Keeping training and measuring apart: a split by prompt, and a search for prompts that are nearly equal."""

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from accordant.records import Messages

_SHINGLE = 3


class _HasMessages(Protocol):
    @property
    def messages(self) -> Messages: ...


T = TypeVar("T", bound=_HasMessages)
Item = TypeVar("Item")
_Shingles = frozenset[tuple[str, ...]]


class NearDuplicate(NamedTuple):
    """Places in `left` and `right` of two like prompts, and their Jaccard similarity, at most 1."""

    left: int
    right: int
    similarity: float


def normalised_prompt(record: _HasMessages) -> str:
    """The first user turn in lower case and without punctuation (kept when it has nothing else)."""
    return normalised(next(message.content for message in record.messages if message.role == "user"))


def normalised(text: str) -> str:
    """`text` in lower case and without punctuation (kept when it has nothing else)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded)) or folded.strip()


def split_by_prompt(records: Sequence[T], holdout_share: float, seed: int) -> tuple[list[T], list[T]]:
    """Split into (train, held out); all records with the same normalised first user turn are on one side.

    A prompt's side depends on the prompt and the seed alone, so that adding, removing or reordering rows
    moves no other row across. `holdout_share` (0 to 1) is the expected share of prompts held out.
    """
    train: list[T] = []
    held_out: list[T] = []
    for record in records:
        hashed = hashlib.sha256(f"{seed}\n{normalised_prompt(record)}".encode()).digest()
        held = int.from_bytes(hashed[:8]) < holdout_share * 2**64
        (held_out if held else train).append(record)
    return train, held_out


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit` items, evenly spaced."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def near_duplicates(
    left: Sequence[_HasMessages], right: Sequence[_HasMessages], threshold: float
) -> list[NearDuplicate]:
    """Pairs of first user turns whose sets of three-word shingles have at least this Jaccard similarity.

    Two sets that are so alike must share one of the rarest shingles of each, so only those are looked up
    (Bayardo et al. 2007, "Scaling Up All Pairs Similarity Search"). `threshold` is above 0 and at most 1.
    """
    sets_left, sets_right = ([_shingles(record) for record in records] for records in (left, right))
    frequency = Counter(shingle for shingles in (*sets_left, *sets_right) for shingle in shingles)

    def rarest(shingles: _Shingles) -> list[tuple[str, ...]]:
        ordered = sorted(shingles, key=lambda shingle: (frequency[shingle], shingle))
        # Rounding must not shorten the prefix: a pair just at the threshold would be missed.
        return ordered[: len(ordered) - math.ceil(threshold * len(ordered) - 1e-9) + 1]

    places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, shingles in enumerate(sets_left):
        for shingle in rarest(shingles):
            places[shingle].append(place)
    found = []
    for place, shingles in enumerate(sets_right):
        for other in sorted({other for shingle in rarest(shingles) for other in places.get(shingle, ())}):
            similarity = len(shingles & sets_left[other]) / len(shingles | sets_left[other])
            if similarity >= threshold:
                found.append(NearDuplicate(other, place, similarity))
    return sorted(found)


def _shingles(record: _HasMessages) -> _Shingles:
    """Three words each; a prompt of fewer words is one shingle."""
    words = normalised_prompt(record).split()
    return frozenset(tuple(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1)))
