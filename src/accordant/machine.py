"""What this machine can do: matmul rate, memory bandwidth, the best number of threads and number format."""

import ctypes
import gc
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import torch

from accordant.errors import AccordantError

Dtype = torch.dtype
"""By a name that no field of `Machine` has."""
_FAST_BFLOAT16 = 1.5
"""bfloat16 is used when it multiplies this much faster than float32; otherwise its rounding buys nothing."""


_KERNELS = 128
"""Compiled kernels that are kept: more than one forward and backward pass uses."""
_WORTH_A_THREAD = 0.75
"""More threads must be this much faster than one: on a busy machine each operator waits for the slowest of them."""


@dataclass(frozen=True)
class Machine:
    """Measured figures; rates in GFLOP/s for a (1024 x 576) @ (576 x 1536) product, bandwidth in GB/s."""

    cores: int
    threads: int
    float32_gflops: float
    bfloat16_gflops: float
    bandwidth_gb_per_s: float
    memory_gb: float
    processor: str
    torch: str

    @property
    def bfloat16_is_fast(self) -> bool:
        """Whether bfloat16 arithmetic pays here."""
        return self.bfloat16_gflops > _FAST_BFLOAT16 * self.float32_gflops

    def dtype(self, precision: Literal["auto", "float32", "bfloat16"]) -> Dtype:
        """The number format that a recipe names, or for `auto` the one that pays here."""
        if precision == "auto":
            precision = "bfloat16" if self.bfloat16_is_fast else "float32"
        return torch.bfloat16 if precision == "bfloat16" else torch.float32

    def gflops(self, dtype: Dtype) -> float:
        """The rate in that number format."""
        return self.bfloat16_gflops if dtype == torch.bfloat16 else self.float32_gflops

    def use(self, processes: int = 1) -> None:
        """Set torch to the best thread count, or to this process's share of the cores where that is less."""
        torch.set_num_threads(min(self.threads, max(1, self.cores // processes)))

    def to_json(self) -> dict[str, object]:
        """All figures, for a run's record."""
        return asdict(self)


def measure(seconds: float = 0.25) -> Machine:
    """Measure for about `16 * seconds` and leave torch set to the best thread count found."""
    cores = available_cores()
    counts = sorted({1, 2, cores // 2, cores} - {0}) if cores > 1 else [1]
    counts = [count for count in counts if count <= cores]
    rates = {count: _rate(torch.bfloat16, count, seconds) for count in counts}
    wide = {count: _rate(torch.float32, count, seconds) for count in counts}
    best = max(counts, key=lambda count: max(rates[count], wide[count]))
    torch.set_num_threads(best)
    return Machine(
        cores=cores,
        threads=best,
        float32_gflops=round(wide[best], 1),
        bfloat16_gflops=round(rates[best], 1),
        bandwidth_gb_per_s=round(_bandwidth(seconds), 1),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        processor=processor(),
        torch=torch.__version__,
    )


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_gb() -> float:
    """The most memory that this process has held so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def keep_freed_memory() -> None:
    """Tell glibc to reuse freed memory instead of returning it after every operator.

    Each tensor is otherwise fresh pages from the kernel, which cost a forward pass a third of its time
    (docs/log.md). The largest still come and go by themselves, and one arena serves all threads: kept apart, the
    free pieces grew to twice the memory. Does nothing where the C library is another one.

    And tell oneDNN, and torch's own layer above it, to keep fewer compiled kernels: no two batches have the same number
    of tokens, each number has kernels of its own, and a thousand of them in either cache held over a gigabyte. Must
    come before the first product.
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, str(_KERNELS))
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold, arenas = -1, -3, -8
        libc = ctypes.CDLL(None)
        libc.mallopt(arenas, 1)
        libc.mallopt(mmap_threshold, 32 * 1024 * 1024)
        libc.mallopt(trim_threshold, 2**31 - 1)


def return_freed_memory() -> None:
    """Give what `keep_freed_memory` has gathered back to the system, where one stage ends and another begins."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    trim_freed_memory()


def trim_freed_memory() -> None:
    """The same within a stage, without the half second that a search for unreachable objects takes."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _repeat(work: Callable[[], object], seconds: float) -> float:
    """Median seconds of one call."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _rate(dtype: torch.dtype, threads: int, seconds: float) -> float:
    torch.set_num_threads(threads)
    rows, inner, columns = 1024, 576, 1536
    left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
    took = _repeat(lambda: torch.nn.functional.linear(left, right), seconds)
    return 2 * rows * inner * columns / took / 1e9


def _bandwidth(seconds: float) -> float:
    source = torch.ones(32 * 1024 * 1024)
    target = torch.empty_like(source)
    took = _repeat(lambda: target.copy_(source), seconds)
    return 2 * source.numel() * 4 / took / 1e9


def processor() -> str:
    """The name of this machine's processor."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def resolve_dtype(precision: str) -> torch.dtype:
    """The number format to run a model in: as named, or for `auto` the one that is measured to be faster.

    Raises:
        AccordantError: for another name.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise AccordantError(f"precision {precision!r}: must be auto, float32 or bfloat16")
    if precision == "auto":
        precision = "bfloat16" if measure(0.05).bfloat16_is_fast else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
