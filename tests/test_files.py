import errno
import fcntl
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accordant.errors import AccordantError
from accordant.files import (
    digest,
    in_use,
    new_directory,
    only_one,
    read_json,
    read_rows,
    recover_directory,
    sha256,
    workspace,
    write_atomically,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    return fail


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "één")
    assert path.read_bytes() == "één".encode()
    write_atomically(path, b"\x00two")
    assert path.read_bytes() == b"\x00two"
    assert names(path.parent) == ["a.txt"]


def test_the_usual_permissions_hold(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "x")
        with new_directory(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


@pytest.mark.parametrize("place", [(os, "fsync"), (Path, "replace")])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str]
) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")
    monkeypatch.setattr(*place, full_disk)
    with pytest.raises(AccordantError, match="disk full while writing") as caught:
        write_atomically(path, "new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_other_failures_leave_the_old_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_with(errno.EACCES))
        with pytest.raises(AccordantError, match="not allowed to write while writing"):
            write_atomically(path, "new")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_with(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            write_atomically(path, "new")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "run" / "checkpoint"
    with new_directory(target) as new:
        assert not target.exists()
        (new / "deep").mkdir()
        (new / "deep" / "a").write_text("1")
    assert (target / "deep" / "a").read_text() == "1"
    with new_directory(target) as new:
        (new / "b").write_text("2")
        assert (target / "deep" / "a").read_text() == "1"
    assert names(target) == ["b"]
    assert names(target.parent) == ["checkpoint"]


@pytest.mark.parametrize("place", ["body", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    target = tmp_path / "checkpoint"
    with new_directory(target) as new:
        (new / "a").write_text("old")

    def make() -> None:
        with new_directory(target) as new:
            (new / "a").write_text("new")
            if place == "body":
                full_disk()

    if place == "fsync":
        monkeypatch.setattr(os, "fsync", full_disk)
    if place == "rename":
        monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(AccordantError, match="disk full while writing"):
        make()
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["checkpoint"]


def test_an_error_in_the_block_leaves_no_folder(tmp_path: Path) -> None:
    def make() -> None:
        with new_directory(tmp_path / "checkpoint") as new:
            (new / "a").write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make()
    assert names(tmp_path) == []


def test_a_replacement_cut_between_its_renames_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "checkpoint"
    with new_directory(target) as new:
        (new / "a").write_text("old")
    rename, calls = Path.rename, 0

    def cut(self: Path, other: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return rename(self, other)

    def replace() -> None:
        with new_directory(target) as new:
            (new / "a").write_text("new")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            replace()
    assert not target.exists(), "this is the state that a lost process leaves"
    recover_directory(target)
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["checkpoint"]


def test_recovery_clears_what_a_lost_process_left_of_this_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for left in (".model.old", ".model.0a1b2c3d", ".model.v2.old", ".model.v2.0a1b2c3d", ".model.secrets", ".models"):
        (tmp_path / left).mkdir()
    recover_directory(tmp_path / "model")
    assert names(tmp_path) == [".model.secrets", ".model.v2.0a1b2c3d", ".model.v2.old", ".models", "model"]
    recover_directory(tmp_path / "model.v2")
    assert names(tmp_path) == [".model.secrets", ".models", "model", "model.v2"]


def test_recovery_finds_what_was_really_left(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from accordant.files import new_directory\n"
        "with new_directory(Path(sys.argv[1])): os._exit(9)"
    )
    target = tmp_path / "model[1]"
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode == 9
    assert len(names(tmp_path)) == 1
    recover_directory(target)
    assert names(tmp_path) == []


def test_recovery_of_nothing_is_nothing(tmp_path: Path) -> None:
    recover_directory(tmp_path / "none" / "checkpoint")
    assert names(tmp_path) == []


def test_json_goes_and_comes(tmp_path: Path) -> None:
    value = {"ñ": [1, 2.5, None, "日本"], "deep": {"a": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "日本" in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a": 1', b"\xff\xfe\x00", b'{"a": "\xe2\x82"}', b"[" * 100_000, b"9" * 10_000],
    ids=["empty", "brace", "cut", "binary", "half a character", "deep", "huge number"],
)
def test_damaged_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(AccordantError, match="is not valid JSON") as caught:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_json_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match=r"a\.json is missing"):
        read_json(tmp_path / "a.json")


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # The test vector of FIPS 180-2, appendix B.1.
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
    assert digest([1, 2]) != digest([2, 1])


def test_the_workspace_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACCORDANT_HOME", raising=False)
    assert workspace() == tmp_path / "workspace"
    monkeypatch.setenv("ACCORDANT_HOME", "elsewhere")
    assert workspace() == tmp_path / "elsewhere"


HOLD = """
import sys
from pathlib import Path
from accordant.files import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(AccordantError, match=rf"in use by another run \(process {first.pid}\)"), only_one(folder):
            pytest.fail("both hold the folder")
        first.kill()
        first.wait()
    with only_one(folder):
        assert (folder / ".lock").read_text() == str(os.getpid()), "the lock went with the process that held it"
    with only_one(folder):
        pass


def test_failures_of_the_work_are_not_laid_on_the_lock(tmp_path: Path) -> None:
    def work() -> None:
        with only_one(tmp_path):
            full_disk()

    with pytest.raises(OSError, match="No space left"):
        work()


def test_the_lock_on_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", full_disk)
    with pytest.raises(AccordantError, match="disk full while locking"), only_one(tmp_path / "run"):
        pytest.fail("locked without a lock")


def test_rows_of_a_growing_file_come_once_each_however_it_is_cut(tmp_path: Path) -> None:
    path, rows = tmp_path / "metrics.jsonl", [{"step": step, "seconds": step / 7} for step in range(60)]
    whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert read_rows(path) == ([], "", True)
    place, found, draw = "", [], random.Random(0)
    with path.open("wb") as file:
        while file.tell() < len(whole):
            file.write(whole[file.tell() :][: draw.randrange(0, 90)])
            file.flush()
            read = read_rows(path, place)
            assert read.anew == (not found)
            place, found = read.place, found + read.rows
            assert found == rows[: len(found)]
            assert whole[: file.tell()].count(b"\n") <= len(found) <= whole[: file.tell()].count(b"\n") + 1
    assert found == rows
    assert read_rows(path, place) == ([], place, False)


def test_a_file_that_was_rewritten_is_read_anew(tmp_path: Path) -> None:
    path, rows = tmp_path / "metrics.jsonl", [{"step": step, "seconds": step / 7} for step in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = read_rows(path).place
    kept = [*rows[:40], *({"step": step, "seconds": step / 3} for step in range(40, 70))]  # longer than it was
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    assert read_rows(path, place) == (kept, read_rows(path).place, True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    assert read_rows(path, place)[::2] == (rows[:5], True)
    for nonsense in ("7", "-", "x-y", "99999999999999-00000001", "-5-00000000"):
        assert read_rows(path, nonsense)[::2] == (rows[:5], True)


def test_looking_whether_a_folder_is_in_use_does_not_keep_a_run_from_it(tmp_path: Path) -> None:
    assert not in_use(tmp_path / "none")
    with only_one(tmp_path):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            in_use(tmp_path)
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(100):
            with only_one(tmp_path):
                pass
    finally:
        ended.set()
        looking.join()
    with (tmp_path / ".lock").open() as file:  # exactly the moment in which somebody looks
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.01, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with only_one(tmp_path):
            pass
