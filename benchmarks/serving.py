"""How fast answers are served to 1, 8, 32 and 128 clients: tokens a second, time to the first token and between tokens.

Against llama.cpp's server (package xllamacpp) on the same weights, with as many threads and places, in turn:

    accordant export CHECKPOINT model.gguf --dtype f16
    python -m benchmarks.serving CHECKPOINT --gguf model.gguf --threads 1

Every answer has exactly `--tokens` tokens: neither may end it. llama.cpp has its fastest settings here: float16 and
flash attention (its prebuilt wheel has no kernels for bfloat16); ours chooses its number format by measuring.
"""

import argparse
import asyncio
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch
from benchmarks.load import Seen, clients, percentiles, stopped_at_the_end
from benchmarks.paired import compare, publish, say

PLACES = 16
CONTEXT = 1024


def serve_ours(checkpoint: Path, port: int, threads: int) -> None:
    """Accordant's server, until it is stopped."""
    from accordant.serve.app import create_app
    from accordant.serve.load import context_of, load_engine
    from accordant.serve.run import bind, run
    from accordant.serve.settings import ServeSettings

    torch.set_num_threads(threads)
    engine = load_engine(checkpoint, PLACES)
    torch.set_num_threads(threads)
    settings = ServeSettings(answers_at_once=PLACES, most_waiting=256)
    say(f"ours: {engine.model.lm_head.weight.dtype}")
    run(
        create_app(engine, checkpoint_name="model", context=min(CONTEXT, context_of(engine)), settings=settings),
        bind("127.0.0.1", port),
    )


def serve_llama(gguf: Path, port: int, threads: int) -> None:
    """llama.cpp's server, until it is stopped."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(gguf)
    settings.n_parallel, settings.n_ctx = PLACES, PLACES * CONTEXT
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.hostnames, settings.port, settings.n_threads_http = ["127.0.0.1"], port, 160
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    settings.verbosity = -1
    server = xllamacpp.Server(settings)
    say(f"llama.cpp: {server.listening_address}")
    while True:
        time.sleep(3600)


def start(kind: str, path: Path, port: int, threads: int) -> "subprocess.Popen[bytes]":
    """A server in a process of its own, ready to answer."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving",
        str(path),
        "--serve",
        kind,
        "--port",
        str(port),
        "--threads",
        str(threads),
    ]
    process = subprocess.Popen(command)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
            return process
        except OSError:
            assert process.poll() is None, f"{kind} did not start"
            time.sleep(0.1)
    raise TimeoutError(kind)


def end_of_turn(checkpoint: Path) -> int:
    """The token that ends an answer, which a bias forbids."""
    from accordant.text import Renderer

    return Renderer.load(checkpoint).tokenizer.end_of_turn


def main() -> None:
    """Parse, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--serve", choices=["ours", "llama"])
    parser.add_argument("--port", type=int, default=18100)
    given = parser.parse_args()
    if given.serve:
        {"ours": serve_ours, "llama": serve_llama}[given.serve](given.checkpoint, given.port, given.threads)
        return
    body: dict[str, Any] = {"model": "model", "max_tokens": given.tokens, "temperature": 0.7, "seed": 1}
    bodies = {
        "ours": (given.port, body | {"logit_bias": {str(end_of_turn(given.checkpoint)): -100}}),
        "llama.cpp": (given.port + 1, body | {"ignore_eos": True, "top_k": 0, "top_p": 1, "min_p": 0}),
    }
    asked = 0

    def work(name: str, count: int, seen: list[Seen]) -> float:
        nonlocal asked
        port, own = bodies[name]
        requests = max(1, 8 // count)
        seen.append(asyncio.run(clients(port, count, requests, own, asked)))
        asked += count * requests
        assert seen[-1].tokens == count * requests * given.tokens, (name, seen[-1].tokens)
        return seen[-1].tokens

    results = {}
    with (
        stopped_at_the_end(start("ours", given.checkpoint, given.port, given.threads)),
        stopped_at_the_end(start("llama", given.gguf, given.port + 1, given.threads)),
    ):
        for count in given.clients:
            say(f"{count} clients")
            seen: dict[str, list[Seen]] = {name: [] for name in bodies}
            found = compare(
                lambda count=count, seen=seen: work("ours", count, seen["ours"]),
                {"llama.cpp": lambda count=count, seen=seen: work("llama.cpp", count, seen["llama.cpp"])},
                given.turns,
                warm_ups=1 if count == min(given.clients) else 0,
            )
            for name, runs in seen.items():
                found[name] = {
                    "first_token_ms": percentiles([value for run in runs for value in run.first]),
                    "between_tokens_ms": percentiles([value for run in runs for value in run.gaps]),
                }
            say(f"  {found}")
            results[str(count)] = found
    publish("serving", {"tokens": given.tokens, "places": PLACES, "weights": given.gguf.name, "clients": results})


if __name__ == "__main__":
    main()
