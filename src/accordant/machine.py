"""What this machine can do: matmul rate, memory bandwidth, the best number of threads and number format."""

import contextlib
import ctypes
import gc
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from accordant.errors import AccordantError

Dtype = torch.dtype
"""By a name that no field of `Machine` has."""
_FAST_BFLOAT16 = 1.5
"""bfloat16 is used when it multiplies this much faster than float32; otherwise its rounding buys nothing."""


_KERNELS = 128
"""Compiled kernels that are kept: more than one forward and backward pass uses."""
_WORTH_A_THREAD = 0.75
"""One thread is used unless its rate is below this share of the best: on a busy machine each operator waits for the
slowest of several."""
_PRODUCT = {"cpu": (1024, 576, 1536), "cuda": (8192, 8192, 8192)}
"""Rows, inner size and columns of the product that is timed: as large as those of training on such a device."""
_COPIED = {"cpu": 2**27, "cuda": 2**30}
"""Bytes that are copied to measure the bandwidth: more than any cache holds."""


@dataclass(frozen=True)
class Machine:
    """Measured figures of the device that computes; rates in GFLOP/s, bandwidth and memory in GB.

    `device` is "cpu" or the name of a GPU.
    """

    cores: int
    threads: int
    float32_gflops: float
    bfloat16_gflops: float
    bandwidth_gb_per_s: float
    memory_gb: float
    processor: str
    torch: str
    device: str = "cpu"

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


def default_device() -> str:
    """Where models are put: "cuda" where torch finds a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def make_deterministic() -> None:
    """Let a GPU give the same bits for the same work, which a run that is resumed rests on.

    The gradient of its fused attention is otherwise summed in whatever order the blocks finish. An operator that has
    no such form warns and goes on.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def measure(seconds: float = 0.25) -> Machine:
    """Measure for up to `16 * seconds` and leave torch set to the best thread count found."""
    device = default_device()
    rates = _rates(seconds, device)
    return Machine(
        cores=available_cores(),
        threads=rates.threads,
        float32_gflops=round(rates.float32, 1),
        bfloat16_gflops=round(rates.bfloat16, 1),
        bandwidth_gb_per_s=round(_bandwidth(seconds, device), 1),
        memory_gb=round(_memory(device) / 1e9, 1),
        processor=processor(),
        torch=torch.__version__,
        device="cpu" if device == "cpu" else torch.cuda.get_device_name(),
    )


class _Rates(NamedTuple):
    """GFLOP/s with the best number of threads."""

    threads: int
    float32: float
    bfloat16: float


def _rates(seconds: float, device: str) -> _Rates:
    """Leaves torch set to the best number of threads."""
    cores = available_cores()
    # A GPU does the work itself; the host's one thread only says what comes next.
    counts = sorted(count for count in {1, 2, cores // 2, cores} if 0 < count <= cores) if device == "cpu" else [1]
    wide, narrow = (
        {count: _rate(dtype, count, seconds, device) for count in counts} for dtype in (torch.float32, torch.bfloat16)
    )
    best = _best_count({count: max(narrow[count], wide[count]) for count in counts})
    torch.set_num_threads(best)
    return _Rates(best, wide[best], narrow[best])


def _best_count(rates: Mapping[int, float]) -> int:
    """The number of threads with the highest rate, or 1 where that is hardly slower."""
    fastest = max(rates, key=lambda count: rates[count])
    return 1 if rates[1] > _WORTH_A_THREAD * rates[fastest] else fastest


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_gb() -> float:
    """The most memory that this process has held so far, in GB."""
    with contextlib.suppress(OSError):  # Linux counts into getrusage what the parent held when it began this process
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e9, 2)
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


def _repeat(call: Callable[[], object], seconds: float, device: str) -> float:
    """Median seconds of one call, until its result is there."""

    def work() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _rate(dtype: torch.dtype, threads: int, seconds: float, device: str) -> float:
    torch.set_num_threads(threads)
    rows, inner, columns = _PRODUCT[device]
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(columns, inner, device=device).to(dtype)
    took = _repeat(lambda: torch.nn.functional.linear(left, right), seconds, device)
    return 2 * rows * inner * columns / took / 1e9


def _bandwidth(seconds: float, device: str) -> float:
    source = torch.ones(_COPIED[device] // 4, device=device)
    target = torch.empty_like(source)
    took = _repeat(lambda: target.copy_(source), seconds, device)
    return 2 * source.nbytes / took / 1e9


def _memory(device: str) -> int:
    """Bytes of the device's memory."""
    if device == "cuda":
        return torch.cuda.get_device_properties().total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def processor() -> str:
    """The name of this machine's processor."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def resolve_dtype(precision: str) -> torch.dtype:
    """The number format to run a model in: as named, or for `auto` the one that is measured to be faster.

    Measuring takes about 0.2 s and leaves torch set to the best number of threads.

    Raises:
        AccordantError: for another name.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise AccordantError(f"precision {precision!r}: must be auto, float32 or bfloat16")
    if precision == "auto":
        rates = _rates(0.02, default_device())
        precision = "bfloat16" if rates.bfloat16 > _FAST_BFLOAT16 * rates.float32 else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
