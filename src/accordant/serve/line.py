"""The line in front of the model: bounded, and fair between those who stand in it."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Full(Exception):
    """No room in the line."""


class Line(Generic[Item]):
    """Everybody has a queue; the queues are served in turn, one item each.

    Who asks for much waits behind himself: somebody with one item waits for at most one item of each other.

    Args:
        most: items that may wait in all.
        most_each: items of one person that may wait, so that nobody fills the line alone.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._queues: OrderedDict[str, deque[Item]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, who: str, item: Item) -> None:
        """Stand in line.

        Raises:
            Full: when too many wait already, or too many of `who`.
        """
        if len(self) >= self._most or len(self._queues.get(who, ())) >= self._most_each:
            raise Full
        self._queues.setdefault(who, deque()).append(item)

    def first(self) -> Item | None:
        """Whose turn it is."""
        return next(iter(self._queues.values()))[0] if self._queues else None

    def pop(self) -> Item:
        """Take the first; its person's next item comes after one of everybody else."""
        who, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._queues[who] = queue
        return item

    def remove(self, item: Item) -> bool:
        """Leave the line; whether `item` stood in it."""
        for who, queue in self._queues.items():
            if item in queue:
                queue.remove(item)
                if not queue:
                    del self._queues[who]
                return True
        return False

    def clear(self) -> list[Item]:
        """Empty it; returns who stood there, in the order of their turns."""
        everybody = list(self)
        self._queues.clear()
        return everybody

    def __iter__(self) -> Iterator[Item]:
        """All, in the order in which they will be taken if nobody else comes."""
        queues = [iter(queue) for queue in self._queues.values()]
        while queues:
            still = []
            for queue in queues:
                for item in queue:
                    yield item
                    still.append(queue)
                    break
            queues = still
