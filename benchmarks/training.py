"""What the benchmarks of training have in common: the command line, the peer's settings, and how work is counted."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.paired import Work, compare_apart, publish

from accordant.machine import keep_freed_memory, peak_memory_gb
from accordant.model import ModelConfig
from accordant.progress import SILENT
from accordant.train.loop import Stage

PEERS = {"trl": torch.bfloat16, "trl_float32": torch.float32}
"""TRL keeps weights, gradients and moments in the dtype that a model is loaded in. In bfloat16 it is fastest, and
rounds small updates away; in float32, under bfloat16 autocast, it keeps what we keep: float32 weights and moments."""


def main(name: str, parser: argparse.ArgumentParser, work_of: Callable[[str, argparse.Namespace], Work]) -> None:
    """Compare ours and the peers in processes of their own; such a process is this module with `--alone NAME`.

    Args:
        name: of the module, and of the benchmark.
        parser: with the benchmark's own arguments.
        work_of: sets a program up by its name; its work returns the units that were done, and may have further figures
            of the last run in an attribute `figures`.
    """
    parser.add_argument("--turns", type=int, default=3, help="how often each program runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alone", help="run only this program, here, and print its figures")
    parser.add_argument("--programs", nargs="+", default=["ours", *PEERS], help="which to compare")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        print(json.dumps(_figures(work_of(arguments.alone, arguments), arguments.threads)))
        return
    command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:], "--alone"]
    result = compare_apart({program: [*command, program] for program in arguments.programs}, arguments.turns)
    settings = {
        key: value.name if isinstance(value, Path) else value
        for key, value in vars(arguments).items()
        if key not in ("alone", "programs")
    }
    publish(name, {"settings": settings, **result})


def _figures(work: Work, threads: int) -> dict[str, float]:
    """One run after one to warm up; with the matmul rate of the same minute, to compare model FLOPs with.

    Both rates are by processor time, so that neither counts the time that others had the core.
    """
    work()
    began, began_cpu = time.perf_counter(), time.process_time()
    units = work()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    figures: dict[str, float] = dict(getattr(work, "figures", {}))
    peak = peak_memory_gb()
    if "gflop" in figures:
        figures["gflops"] = figures.pop("gflop") * threads / cpu_seconds
        figures["matmul_gflops"] = threads * matmul_gflops()
        figures["share_of_matmul"] = figures["gflops"] / figures["matmul_gflops"]
    times = {"rate": units / seconds, "seconds": seconds, "cpu_seconds": cpu_seconds}
    return times | {"peak_memory_gb": peak} | figures


class Epochs:
    """A stage of ours as a program to compare; a run is one epoch, and `figures` are added to its result."""

    def __init__(self, stage: Stage, steps: int, tokens: int, figures: dict[str, float]) -> None:
        self.stage, self.steps, self.tokens, self.figures = stage, steps, tokens, figures
        self.done = 0

    def __call__(self) -> float:
        """One epoch of `steps` steps; the tokens in it."""
        for _ in range(self.steps):
            self.stage.advance(self.done, SILENT)
            self.done += 1
        return self.tokens


def matmul_gflops(seconds: float = 1.0) -> float:
    """The bfloat16 matmul rate as `accordant.machine` measures it, but in GFLOP to a second of processor time."""
    rows, inner, columns = 1024, 576, 1536
    left, right = torch.randn(rows, inner, dtype=torch.bfloat16), torch.randn(columns, inner, dtype=torch.bfloat16)
    products, began = 0, time.process_time()
    while (passed := time.process_time() - began) < seconds:
        torch.nn.functional.linear(left, right)
        products += 1
    return 2e-9 * rows * inner * columns * products / passed


def prepare_ours() -> None:
    """What every command of ours does first."""
    keep_freed_memory()


def model_gflop(config: ModelConfig, tokens: int, words: int = 0) -> float:
    """Work of training that no implementation can leave out, in GFLOP.

    6 N for each token (Kaplan et al. 2020, section 2.1), with N the weights of the layers: 2 forward, 4 backward. The
    embedding is looked up and not counted; the output head is, 6 times its weights for each word that is predicted.
    Attention's own products are left out, and so is whatever is computed twice.
    """
    size, heads = config.hidden_size, config.head_size
    attention = 2 * size * heads * (config.heads + config.kv_heads)
    layers = config.layers * (attention + 3 * size * config.mlp_size)
    return 6e-9 * (layers * tokens + config.vocab_size * size * words)


def trl_settings(dtype: torch.dtype, learning_rate: float) -> dict[str, Any]:
    """Arguments of every trainer: nothing but training, and no forward pass twice to save memory."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "use_cpu": True,
        "bf16": dtype == torch.float32,
        "gradient_checkpointing": False,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
