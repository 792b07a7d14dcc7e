"""Machine code that is kept: compiled once, loaded without the compiler, compiled again where it cannot be used."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from accordant.kernels import compiled

NOBODY = 65534
WORK = """
import os, sys, torch
from accordant import kernels
x = torch.arange(40.0).view(1, 40)
assert torch.equal(kernels.rms_norm(x, x, 1e-5)[0], kernels.rms_norm(x[0], x[0], 1e-5)[0][None])
assert torch.allclose(kernels.swiglu(x, x), torch.nn.functional.silu(x) * x)
print("compiled" if "numba" in sys.modules else "loaded")
"""
"""What a process does that needs the loops; says whether it had to compile them."""


def process(cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", WORK],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(running: subprocess.Popen[str]) -> str:
    out, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    return out.strip()


@pytest.fixture(scope="module")
def code() -> bytes:
    """What the compiler gives; the only time that it runs here, unless this machine has kept it."""
    compiled.loops_for(torch.float32)
    file = compiled._cache_folder() / f"{compiled._key(torch.float32)}.o"
    return file.read_bytes()[32:] if file.is_file() else compiled._compiled(torch.float32)


class Compiler:
    """Stands in for the compiler; counts how often it was asked."""

    def __init__(self, code: bytes) -> None:
        self.code, self.asked = code, 0

    def __call__(self, dtype: torch.dtype) -> bytes:
        assert dtype == torch.float32
        self.asked += 1
        return self.code


@pytest.fixture
def compiler(code: bytes, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    stand_in = Compiler(code)
    monkeypatch.setattr(compiled, "_compiled", stand_in)
    return stand_in


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the code is to be kept; it is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "accordant"


def works() -> bool:
    """Whether a new process would get loops; this one does not ask those that it has."""
    loops = compiled.loops_for.__wrapped__(torch.float32)
    return gates(loops, torch.float32)


def gates(loops: compiled.Loops, dtype: torch.dtype) -> bool:
    x = torch.arange(40, dtype=dtype)
    out = torch.zeros_like(x)
    loops.swiglu(x.data_ptr(), x.data_ptr(), out.data_ptr(), 40)
    return torch.allclose(out, torch.nn.functional.silu(x) * x, rtol=1e-2)


def test_code_is_kept_with_its_digest_and_not_compiled_twice(folder: Path, compiler: Compiler) -> None:
    assert works()
    assert compiler.asked == 1
    [file] = folder.iterdir()
    assert file.suffix == ".o"
    assert file.read_bytes() == hashlib.sha256(compiler.code).digest() + compiler.code
    assert works()
    assert compiler.asked == 1


def test_without_another_word_code_is_kept_at_home(
    tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert works()
    assert len(list((tmp_path / ".cache" / "accordant").iterdir())) == 1


def test_a_second_process_does_not_need_the_compiler(folder: Path, compiler: Compiler) -> None:
    """numba costs a second and 100 MB, which is why the code is kept."""
    assert works()
    assert said(process(folder.parent)) == "loaded"


@pytest.mark.slow
def test_a_first_process_compiles(folder: Path) -> None:
    assert said(process(folder.parent)) == "compiled"
    assert len(list(folder.iterdir())) == 1
    assert said(process(folder.parent)) == "loaded"


@pytest.mark.slow
def test_two_processes_that_compile_at_once(folder: Path) -> None:
    both = [process(folder.parent), process(folder.parent)]
    assert [said(one) for one in both] == ["compiled", "compiled"]
    assert len(list(folder.iterdir())) == 1, "nothing half written is left"
    assert said(process(folder.parent)) == "loaded"


@pytest.mark.slow
def test_what_the_compiler_gives_for_bfloat16_is_loops() -> None:
    assert gates(compiled.Loops(compiled._compiled(torch.bfloat16), torch.bfloat16), torch.bfloat16)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "part of the digest": lambda data: data[:10],
    "the digest alone": lambda data: data[:32],
    "the digest of nothing": lambda data: hashlib.sha256(b"").digest(),
    "cut": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "with another byte": lambda data: data + b"\0",
    "a bit of the digest": lambda data: flipped(data, 3),
    "a bit of the code": lambda data: flipped(data, len(data) // 2),
    "the code alone": lambda data: data[32:],
    "another file": lambda data: b"no code at all" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_code_is_replaced(folder: Path, compiler: Compiler, damage: str) -> None:
    assert works()
    [file] = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    assert works()
    assert compiler.asked == 2
    assert file.read_bytes() == whole
    assert list(folder.iterdir()) == [file]
    assert works()
    assert compiler.asked == 2


def test_a_folder_in_the_place_of_the_code(folder: Path, compiler: Compiler) -> None:
    (folder / f"{compiled._key(torch.float32)}.o" / "inside").mkdir(parents=True)
    assert works()
    assert compiler.asked == 1


def test_a_cache_that_is_a_file(tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert works()
    assert works()
    assert compiler.asked == 2
    assert (tmp_path / "file").read_text() == "mine"


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom the modes of files bind: root may do all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the code is to be kept, in a folder that every user can look into; pytest's own are its user's alone."""
    key = compiled._key(torch.float32)
    monkeypatch.setattr(compiled, "_key", lambda dtype: key)  # reads files that not every user may read
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", name)
        kept = Path(name) / "accordant"
        kept.mkdir()
        yield kept
        kept.chmod(0o700)


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["nobody writes", "nobody looks"])
def test_a_cache_without_rights(open_folder: Path, compiler: Compiler, mode: int) -> None:
    """As in a container that runs under another user than it was made for."""
    open_folder.chmod(mode)
    with without_rights():
        assert works()
        assert works()
    assert compiler.asked == 2
    open_folder.chmod(0o700)
    assert list(open_folder.iterdir()) == []


def test_kept_code_that_may_not_be_read(open_folder: Path, compiler: Compiler) -> None:
    assert works()
    [file] = open_folder.iterdir()
    open_folder.chmod(0o755)
    file.chmod(0)
    with without_rights():
        assert works()
    assert compiler.asked == 2


def test_a_user_without_a_home(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")  # what `Path.home` says where there is none

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert works()
    assert compiler.asked == 1


def test_the_name_changes_with_all_that_the_code_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = compiled._key(torch.float32)
    keys = {usual, compiled._key(torch.bfloat16)}
    sources = shutil.copytree(compiled._LOOPS, tmp_path / "loops", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "_LOOPS", sources)
    assert compiled._key(torch.float32) == usual, "where the sources lie does not matter"
    changed = [file for file in sources.iterdir() if file.suffix == ".py"]
    assert len(changed) > 5
    for file in changed:
        text = file.read_text()
        file.write_text(text + "# ")
        keys.add(compiled._key(torch.float32))
        file.write_text(text)
    assert compiled._key(torch.float32) == usual
    monkeypatch.setattr(compiled, "_SIGNATURES", compiled._SIGNATURES | {"gate.swiglu": "nnnn i"})
    keys.add(compiled._key(torch.float32))
    monkeypatch.setattr(compiled.llvm, "get_host_cpu_name", lambda: "another")
    keys.add(compiled._key(torch.float32))
    monkeypatch.setattr(compiled.importlib.metadata, "version", lambda package: "0.0")
    keys.add(compiled._key(torch.float32))
    assert len(keys) == 5 + len(changed)


def test_other_loops_of_an_earlier_release_are_not_taken(
    folder: Path, compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert works()
    sources = shutil.copytree(compiled._LOOPS, tmp_path / "loops")
    (sources / "norm.py").write_text((sources / "norm.py").read_text() + "\n")
    monkeypatch.setattr(compiled, "_LOOPS", sources)
    assert works()
    assert compiler.asked == 2
    assert len(list(folder.iterdir())) == 2


def test_each_loop_takes_what_is_said_of_it() -> None:
    every = set()
    for dtype in (torch.float32, torch.bfloat16):
        loops = compiled.loops_for(dtype)
        for place, kinds in compiled._signatures(dtype).items():
            loop = getattr(loops, place.split(".")[1])
            kinds = kinds.replace(" ", "")
            kept = {"i": ctypes.c_int64, "r": ctypes.c_double}
            assert list(loop.argtypes) == [kept.get(kind, ctypes.c_void_p) for kind in kinds]
            every.add(place)
    assert every | compiled._NEEDS.keys() == compiled._SIGNATURES.keys()
    with pytest.raises(AttributeError, match="no loop has the name swigloo"):
        loops.swigloo  # noqa: B018


def test_a_loop_whose_instruction_a_processor_lacks_is_not_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {**compiled.llvm.get_host_cpu_features(), "avx512bf16": False}
    monkeypatch.setattr(compiled, "_signatures", compiled._signatures.__wrapped__)
    monkeypatch.setattr(compiled.llvm, "get_host_cpu_features", lambda: Features(lacking))
    assert not any(compiled.has_loop("tiles.tiled_product", dtype) for dtype in (torch.float32, torch.bfloat16))
    loops = compiled.loops_for.__wrapped__(torch.bfloat16)
    assert gates(loops, torch.bfloat16)
    with pytest.raises(AttributeError, match="no loop has the name tiled_product"):
        loops.tiled_product  # noqa: B018
    lacking["avx512bf16"] = True
    assert compiled.has_loop("tiles.tiled_product", torch.bfloat16)
    assert not compiled.has_loop("tiles.tiled_product", torch.float32)


class Features(dict[str, bool]):
    """As llvmlite tells them."""

    def flatten(self) -> str:
        return ",".join(f"{'+' if has else '-'}{name}" for name, has in sorted(self.items()))


def test_loops_are_the_same_object_each_time() -> None:
    assert compiled.loops_for(torch.float32) is compiled.loops_for(torch.float32)
    assert compiled.loops_for(torch.float32) is not compiled.loops_for(torch.bfloat16)
