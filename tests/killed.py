"""Processes that are killed (SIGKILL) on purpose: at a moment chosen outside, or before a chosen file operation."""

import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["pytest", "torch._dynamo", "accordant.rounds.run", "accordant.testing", "accordant.store.migrate"]
)  # once for all
_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
_WAIT_SECONDS = 120


class Operation(NamedTuple):
    """The nth operation on files whose path begins so, or is relative (as when a tree of folders is removed)."""

    within: str
    number: int


def run_child(
    target: Callable[..., None],
    *arguments: Any,
    when: Callable[[], bool] | None = None,
    after: float | None = None,
    before: Operation | None = None,
) -> int | None:
    """Call `target` in a process of its own; the exit code is -SIGKILL where it was killed.

    Args:
        target: a function of a module.
        arguments: passed to it.
        when: not before this holds.
        after: kill it so many seconds after it begins, or after that.
        before: kill it when it is about to do this.
    """
    begun, begin = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child, args=(begin, before, target, arguments))
    process.start()
    begin.close()
    begun.recv()
    while when and process.is_alive() and not when():
        process.join(0.01)
    if after is not None:
        process.join(after)
        process.kill()
    process.join(_WAIT_SECONDS)
    return process.exitcode


def killed_before_each_operation(
    target: Callable[..., None], *arguments: Any, within: Path | str, every: int = 1
) -> Iterator[int | None]:
    """Run `target` again and again, killed before its first, second, ... operation (or every nth), until it ends."""
    for number in itertools.count(1, every):
        code = run_child(target, *arguments, before=Operation(str(within), number))
        yield code
        if code != -signal.SIGKILL:
            return


def _child(begin: Any, before: Operation | None, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    if before:
        _die_before(before)
    begin.send(None)
    target(*arguments)


def _die_before(operation: Operation) -> None:
    numbers = itertools.count(1)

    def concerned(value: object) -> bool:
        if not isinstance(value, str | os.PathLike):
            return False
        path = os.fspath(value)
        return isinstance(path, str) and (path.startswith(operation.within) or not Path(path).is_absolute())

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in _OPERATIONS and any(map(concerned, arguments[:2])) and next(numbers) == operation.number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
