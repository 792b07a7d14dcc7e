"""What is measured of the machine, and what follows from it."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch

from accordant import machine
from accordant.errors import AccordantError
from accordant.machine import Machine, available_cores, measure, peak_memory_gb, resolve_dtype

PLAIN = Machine(
    cores=2,
    threads=1,
    float32_gflops=100.0,
    bfloat16_gflops=120.0,
    bandwidth_gb_per_s=10.0,
    memory_gb=8.0,
    processor="any",
    torch="any",
)


def test_bfloat16_is_used_only_where_it_pays() -> None:
    assert not PLAIN.bfloat16_is_fast
    assert PLAIN.gflops(PLAIN.dtype("auto")) == 100.0
    assert PLAIN.gflops(PLAIN.dtype("bfloat16")) == 120.0
    fast = dataclasses.replace(PLAIN, bfloat16_gflops=400.0)
    assert fast.bfloat16_is_fast
    assert fast.gflops(fast.dtype("auto")) == 400.0
    assert fast.dtype("float32") is torch.float32


def test_measuring_sets_the_threads_it_found_best() -> None:
    before = torch.get_num_threads()
    try:
        found = measure(seconds=0.01)
        assert 1 <= found.threads <= available_cores()
        assert torch.get_num_threads() == found.threads
        assert min(found.float32_gflops, found.bfloat16_gflops, found.bandwidth_gb_per_s, found.memory_gb) > 0
    finally:
        torch.set_num_threads(before)


def test_a_run_takes_its_machine_back_from_its_record() -> None:
    before = torch.get_num_threads()
    try:
        again = Machine(**PLAIN.to_json())  # type: ignore[arg-type]
        again.use()
        assert again == PLAIN
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_each_process_uses_its_share_of_the_cores() -> None:
    before = torch.get_num_threads()
    wide = dataclasses.replace(PLAIN, cores=8, threads=3)
    try:
        for processes, threads in ((1, 3), (2, 3), (4, 2), (20, 1)):
            wide.use(processes)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_precision_by_name() -> None:
    assert resolve_dtype("float32") is torch.float32
    assert resolve_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(AccordantError, match="precision 'half': must be auto"):
        resolve_dtype("half")


def test_peak_memory_counts_what_was_held() -> None:
    before = peak_memory_gb()
    held = torch.ones(60_000_000)
    assert peak_memory_gb() >= before
    assert peak_memory_gb() > held.numel() * 4 / 1e9


def test_peak_memory_is_not_that_of_whoever_began_the_process() -> None:
    held = torch.ones(250_000_000)
    own = "from accordant.machine import peak_memory_gb; print(peak_memory_gb())"
    said = subprocess.run([sys.executable, "-c", own], check=True, capture_output=True, text=True, timeout=60).stdout
    assert 0.01 < float(said) < held.numel() * 4 / 1e9


@pytest.mark.parametrize(
    ("rates", "best"), [({1: 100.0}, 1), ({1: 100.0, 2: 120.0}, 1), ({1: 100.0, 2: 190.0, 8: 400.0}, 8)]
)
def test_more_threads_must_be_a_third_faster_than_one(rates: dict[int, float], best: int) -> None:
    assert machine._best_count(rates) == best


def test_a_gpu_computes_the_same_bits_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        machine.make_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
