"""Machine code of the loops: compiled once, kept in the user's cache, and loaded without the compiler.

numba writes the vector instructions of this very processor, but needs a second and 100 MB before the first call;
object code that was kept needs neither (docs/decisions/0023-loops-compiled-by-numba.md).
"""

import contextlib
import ctypes
import hashlib
import importlib
import importlib.metadata
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from llvmlite import binding as llvm

from accordant.errors import AccordantError
from accordant.files import write_atomically

_LOOPS = Path(__file__).parent / "loops"
_SIGNATURES = {
    "norm.rms_norm": "nnnf ii r",
    "norm.rms_norm_backward": "nnfnnf ii",
    "gate.swiglu": "nnn i",
    "gate.swiglu_backward": "nnnnn i",
    "rotation.rotate": "nnnn iiii r",
    "tiles.tiled_product": "iiiii iiii",
    "softmax.softmax": "nlnf iiiii",
    "softmax.softmax_backward": "nn ii",
    "decode.decode_attention": "nnnnnlnnnffl iiiiii r",
}
"""Module and name of each loop, and its arguments: addresses of a model's numbers (n), of float32 (f) or int64 (l);
integers (i) and reals (r)."""
DTYPES = {torch.bfloat16: "uint16", torch.float32: "float32"}
"""Of the models that there are loops for, and what their numbers are to numba."""
_NEEDS = {"tiles.tiled_product": "avx512bf16", "decode.decode_attention": "avx512bf16"}
"""What a processor must have for a loop, which is then there for bfloat16 alone."""
_C: dict[str, Any] = dict.fromkeys("nfl", ctypes.c_void_p) | {"i": ctypes.c_int64, "r": ctypes.c_double}


class Loops:
    """The loops for models of one dtype, each a method that takes what `_SIGNATURES` says.

    Nobody checks what lies at the addresses; `kernels` does that for its callers.
    """

    def __init__(self, code: bytes, dtype: torch.dtype) -> None:
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()  # for memset and its like
        signatures = {place.partition(".")[2]: kinds.replace(" ", "") for place, kinds in _signatures(dtype).items()}
        for name in ("numba_gil_ensure", "numba_gil_release"):  # called where a loop raises, which none can
            builder.import_symbol(name, ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value)
        for name in signatures:
            builder.export_symbol(name)
        self._code = builder.link(llvm.create_lljit_compiler(_processor()), "loops")
        for name, kinds in signatures.items():
            setattr(self, name, ctypes.CFUNCTYPE(None, *(_C[kind] for kind in kinds))(self._code[name]))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no loop has the name {name}")


@cache
def loops_for(dtype: torch.dtype) -> Loops:
    """The loops for models of `dtype` (bfloat16 or float32); compiles them where nobody has yet, in some seconds."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    code = _kept(dtype)
    if not code:
        code = _compiled(dtype)
        _keep(dtype, code)
    return Loops(code, dtype)


def has_loop(place: str, dtype: torch.dtype) -> bool:
    """Whether this processor has the loop for numbers of `dtype`."""
    return place in _signatures(dtype)


@cache
def _signatures(dtype: torch.dtype) -> dict[str, str]:
    has = llvm.get_host_cpu_features()
    there = {place for place, feature in _NEEDS.items() if dtype == torch.bfloat16 and has.get(feature)}
    return {place: kinds for place, kinds in _SIGNATURES.items() if place in there or place not in _NEEDS}


def _kept(dtype: torch.dtype) -> bytes:
    """What an earlier process compiled; nothing where that is damaged or out of reach."""
    with contextlib.suppress(OSError, RuntimeError):  # the last where there is no home
        content = _file(dtype).read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return content[32:]
    return b""


def _keep(dtype: torch.dtype, code: bytes) -> None:
    """Keep it for the next process, which compiles again where that cannot be done."""
    with contextlib.suppress(OSError, RuntimeError, AccordantError):
        write_atomically(_file(dtype), hashlib.sha256(code).digest() + code)


def _file(dtype: torch.dtype) -> Path:
    return _cache_folder() / f"{_key(dtype)}.o"


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accordant"


def _key(dtype: torch.dtype) -> str:
    """Changes with all that the code depends on: the loops, how they are compiled, by what and for which processor.

    And with the signatures of this very process, whose sources another release may have replaced since it began.
    """
    versions = [importlib.metadata.version(package) for package in ("numba", "llvmlite", "numpy")]
    processor = [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    sources = [file.read_text() for file in (Path(__file__), *sorted(_LOOPS.glob("*.py")))]
    parts = [str(dtype), str(_SIGNATURES), *versions, *processor, *sources]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _processor() -> Any:
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(llvm.get_host_cpu_name(), features, opt=3, reloc="pic", codemodel="small")


def _compiled(dtype: torch.dtype) -> bytes:
    """Object code of all loops."""
    from numba import cfunc, types
    from numba.core.compiler import Compiler

    from accordant.kernels.loops.numbers import FAST

    class Apart(Compiler):  # type: ignore[misc]
        """Lets the compiler assume that no two arguments overlap."""

        def define_pipelines(self) -> Any:
            self.state.flags.noalias = True
            return super().define_pipelines()

    number = getattr(types, DTYPES[dtype])
    pointed = {"n": number, "f": types.float32, "l": types.int64}
    kinds = {kind: types.CPointer(of) for kind, of in pointed.items()} | {"i": types.int64, "r": types.float64}
    whole = llvm.parse_assembly("")
    for place, arguments in _signatures(dtype).items():
        module, _, name = place.partition(".")
        loop = getattr(importlib.import_module(f"accordant.kernels.loops.{module}"), name)
        signature = types.void(*(kinds[kind] for kind in arguments.replace(" ", "")))
        compiled = cfunc(signature, fastmath=FAST, error_model="numpy", pipeline_class=Apart)(loop)
        own = llvm.parse_assembly(compiled.inspect_llvm())
        own.get_function(compiled.native_name).name = name
        whole.link_in(own)
    return bytes(_processor().emit_object(whole))
