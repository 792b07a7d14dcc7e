"""How much one forward and backward pass works on, and what is done where memory does not suffice for it: half.

A stage's gradients and scores are sums over its passes, so they do not depend on how its work is cut into passes, up to
the order of those sums. Where an allocation fails, what was gathered is therefore forgotten and gathered again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from accordant.errors import AccordantError
from accordant.machine import return_freed_memory

R = TypeVar("R")
_NAME = "micro_batch_tokens"


class OutOfMemory(AccordantError):
    """An allocation failed in a pass, here or in another process.

    Args:
        cause: what the allocator said, as one line.
        lengths: tokens of each sequence (or ranking) of the pass; none where it was no pass.
    """

    def __init__(self, cause: str, lengths: Sequence[int] = ()) -> None:
        super().__init__(f"memory does not suffice ({cause}); `accordant plan RECIPE` shows what takes it")
        self.cause, self.lengths = cause, list(lengths)

    def __reduce__(self) -> tuple[type["OutOfMemory"], tuple[str, list[int]]]:
        """It goes from process to process."""
        return type(self), (self.cause, self.lengths)


@contextmanager
def noticing_memory(lengths: Sequence[int] = ()) -> Iterator[None]:
    """Raise `OutOfMemory` where an allocation fails within this context, on the CPU or on a GPU.

    Args:
        lengths: tokens of each sequence (or ranking) of the pass that it holds.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(sign in str(error) for sign in _SIGNS):
            raise OutOfMemory(" ".join(str(error).split())[:160] or "MemoryError", lengths) from None
        raise


_SIGNS = ("DefaultCPUAllocator: can't allocate", "DefaultCPUAllocator: not enough memory", "std::bad_alloc")
"""How torch's allocator on the CPU says it, on Linux and macOS, on Windows, and what its kernels throw themselves."""


class MicroBatches:
    """The most tokens of one pass, for the rest of a stage: what the recipe says, halved each time that was too much.

    Args:
        most_tokens: to begin with.
        tell: hears of each halving, in one line.
    """

    def __init__(self, most_tokens: int, tell: Callable[[str], object] = lambda line: None) -> None:
        self.most_tokens, self.tell = most_tokens, tell
        self._at_first = most_tokens

    @classmethod
    def of(cls, bound: "int | MicroBatches") -> "MicroBatches":
        """`bound` itself, or one that begins with so many tokens."""
        return bound if isinstance(bound, MicroBatches) else cls(bound)

    def attempt(self, work: Callable[[], R], forget: Callable[[], object] = lambda: None) -> R:
        """The result of `work`, done again with smaller passes as often as memory does not suffice for one.

        Args:
            work: cuts itself in passes of `most_tokens`, each within `noticing_memory`; of several processes, all
                learn of it when one fails (as with `Workers.map`).
            forget: drops what a failed attempt has gathered.

        Raises:
            AccordantError: one line, when memory does not suffice for a pass with a single sequence.
        """
        while True:
            try:
                return work()
            except OutOfMemory as error:
                cause, lengths = error.cause, error.lengths
            # Only here, where the error and its frames are gone, are the activations of the pass free.
            forget()
            return_freed_memory()
            self._halve(cause, lengths)

    def _halve(self, cause: str, lengths: Sequence[int]) -> None:
        tokens = sum(lengths)
        if len(lengths) < 2:
            raise AccordantError(
                f"memory does not suffice for one sequence of {tokens:,} tokens ({cause}); lower max_tokens or "
                "max_answer_tokens, take a smaller base or more memory (`accordant plan RECIPE` shows what takes it)"
            )
        self.most_tokens = min(self.most_tokens, tokens) // 2
        self.tell(
            f"memory does not suffice for a pass of {tokens:,} tokens ({cause}); it is done again in smaller ones, and "
            f"{_NAME} is {self.most_tokens:,} for the rest of the stage"
        )

    def to_json(self) -> dict[str, int]:
        """For a run's record: less than in its recipe where memory did not suffice."""
        return {_NAME: self.most_tokens}

    def tensors(self) -> dict[str, Tensor]:
        """What a stage's state needs to go on with the same passes: nothing, unless they were halved."""
        return {_NAME: torch.tensor(self.most_tokens)} if self.most_tokens < self._at_first else {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave; an earlier state does not make passes larger again."""
        self.most_tokens = min(self.most_tokens, int(tensors.get(_NAME, self.most_tokens)))
