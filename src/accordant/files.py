"""Files that are either wholly there or not there at all, digests, and the lock on a workspace."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from accordant.errors import AccordantError


def workspace() -> Path:
    """The folder for bases and runs: `$ACCORDANT_HOME`, else `workspace` under the current folder."""
    return Path(os.environ.get("ACCORDANT_HOME") or "workspace").absolute()


def runs_folder() -> Path:
    """Where runs are kept in the workspace."""
    return workspace() / "runs"


def data_folder() -> Path:
    """Where data that were built from judgements are kept in the workspace."""
    return workspace() / "data"


def manifests_folder() -> Path:
    """Where it is kept which judgements were ever built into data."""
    return workspace() / "manifests"


@contextlib.contextmanager
def explain_os_errors(doing: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into one line that says what was being done."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise AccordantError(
                f"disk full while {doing}; what was saved before is intact: free some space and run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise AccordantError(f"not allowed to write while {doing}: {error.filename}") from error
        raise


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `data` beside `path`, fsync, then rename over it: a reader never sees half a file."""
    with new_file(path) as temporary, temporary.open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a new, empty file that replaces `path` when the block ends well and is removed when it does not."""
    with explain_os_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` when the block ends well and is removed when it does not."""
    with explain_os_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as opened:
                        os.fsync(opened.fileno())
            _replace_directory(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_directory(new: Path, target: Path) -> None:
    """A rename cannot replace a full folder, so the old one steps aside first and goes last."""
    aside = target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    new.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def recover_directory(target: Path) -> None:
    """Finish a replacement that was cut between its two renames: the old folder takes its place again."""
    aside = target.with_name(f".{target.name}.old")
    if aside.exists() and not target.exists():
        aside.rename(target)
    ours = re.compile(re.escape(f".{target.name}.") + "(old|[0-9a-f]{8})")
    for left in target.parent.glob(".*"):
        if ours.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a damaged one is an AccordantError with its name and the place."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AccordantError(f"{path} is missing") from None
    except (ValueError, RecursionError) as error:
        raise AccordantError(f"{path} is not valid JSON ({error}); delete or mend it") from None


class Rows(NamedTuple):
    """What was read of a file of JSON Lines.

    Attributes:
        rows: one for each line.
        place: where the next reading goes on.
        anew: whether these are the rows from the first on, and not those after a place.
    """

    rows: list[dict[str, Any]]
    place: str
    anew: bool


def read_rows(path: Path, place: str = "") -> Rows:
    """The whole lines of a file that may be growing, after `place`, which an earlier reading gave.

    A line that is still being written is left for the next time. Where the file was rewritten since, as a round does
    that goes back to an earlier state, all rows are read anew. A file that is not there has none.
    """
    try:
        with path.open("rb") as file:
            start = _start_of(file, place)
            file.seek(start)
            lines = file.read().split(b"\n")
            rows, end = [], start
            for line in lines:
                try:
                    rows += [json.loads(line)] if line else []
                except ValueError:
                    break
                end += len(line) + 1
            end = min(end, file.tell())  # the last line may have no line break yet
            return Rows(rows, f"{end}-{_trace(file, end)}", start == 0)
    except FileNotFoundError:
        return Rows([], "", True)


_TRACED = 512
"""Bytes before a place by which it is known again: metrics have the time of a step, so no two lines are alike."""


def _start_of(file: BinaryIO, place: str) -> int:
    """The offset of `place`; 0 where what stood before it is no longer there."""
    offset, _, trace = place.partition("-")
    if not offset.isdecimal() or int(offset) > os.fstat(file.fileno()).st_size:
        return 0
    return int(offset) if trace == _trace(file, int(offset)) else 0


def _trace(file: BinaryIO, offset: int) -> str:
    start = max(0, offset - _TRACED)
    file.seek(start)
    return f"{zlib.crc32(file.read(offset - start)):08x}"


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; a second one gets a clear line at once instead of a mixed-up run.

    The lock is the kernel's (flock), so it is gone with the process however that ends.
    """
    with contextlib.ExitStack() as held:
        with explain_os_errors(f"locking {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context((folder / ".lock").open("a+"))
            if not _lock(file.fileno()):
                file.seek(0)
                raise AccordantError(
                    f"{folder} is in use by another run (process {file.read().strip() or 'unknown'}); "
                    "wait for it, stop it, or set ACCORDANT_HOME to another folder"
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def in_use(folder: Path) -> bool:
    """Whether a process holds `folder` by `only_one`."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock(file: int) -> bool:
    """Take the lock; `in_use` holds it for a moment, which must not keep a run from starting."""
    for last in (False, False, True):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not last:
                time.sleep(0.02)
    return False
