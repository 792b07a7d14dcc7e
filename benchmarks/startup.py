"""How long someone waits: for help, for the page of a served checkpoint, and for the first words of its answer.

    python -m benchmarks.startup [CHECKPOINT]

Each run is a fresh process, warm disk; medians of some. CHECKPOINT is the starter base unless it is named. Goals: help
in 0.3 s, page and first words in 3 s. The parts of a start are timed in a process of their own, one after the other.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.paired import publish, say, spread

from accordant.files import workspace
from accordant.model.base import bring_base

TURNS = 7
COMMAND = [sys.executable, "-c", "from accordant.cli import main; main()"]
PATIENCE = 60.0
PARTS = """
import json, sys, time
from pathlib import Path
parts, began = {}, time.perf_counter()
def done(name):
    global began
    parts[name] = time.perf_counter() - began
    began = time.perf_counter()
from accordant.cli import commands; done("import the command line")
import torch; done("import torch")
from accordant.serve import run; done("import the server and the engine")
from accordant.machine import default_device, resolve_dtype
from accordant.model.hub import load_transformer
from accordant.text import Renderer
renderer = Renderer.load(Path(sys.argv[1])); done("read the tokenizer")
dtype = resolve_dtype("auto"); done("choose the number format")
model = load_transformer(Path(sys.argv[1]), dtype, default_device()); done("read the weights")
from accordant.engine import Engine, Sampling
from accordant.records import Message
prompt = renderer.prompt([Message(role="user", content="Hello")])
words = Engine(model, renderer).stream(prompt, Sampling(max_tokens=2, seed=1)); next(words); done("first token")
print(json.dumps(parts))
"""
"""In the order in which `accordant serve` and its first answer do it."""


def run_help(*command: str) -> float:
    """Seconds of `accordant COMMAND --help`."""
    began = time.perf_counter()
    subprocess.run([*COMMAND, *command, "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


def serve(checkpoint: Path) -> tuple[float, float]:
    """Seconds from the command to the page, and to the first words of an answer that is asked for at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.perf_counter()
    server = subprocess.Popen(
        [*COMMAND, "serve", str(checkpoint), "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        wait_for_page(server, port)
        page = time.perf_counter() - began
        wait_for_words(port)
        return page, time.perf_counter() - began
    finally:
        server.terminate()
        server.wait()


def wait_for_page(server: subprocess.Popen[bytes], port: int) -> None:
    """Ask until the page comes."""
    until = time.perf_counter() + PATIENCE
    while time.perf_counter() < until and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        except ConnectionError:
            time.sleep(0.005)
        finally:
            connection.close()
    server.kill()
    raise RuntimeError(f"no page: {server.communicate()[1].decode()}")


def wait_for_words(port: int) -> None:
    """Ask something and read up to the first words."""
    question = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "seed": 1}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/api/chat", json.dumps(question), {"Content-Type": "application/json"})
    for line in connection.getresponse():
        if b'"delta"' in line:
            connection.close()
            return
    raise RuntimeError("the answer has no words")


def parts_of(checkpoint: Path) -> dict[str, float]:
    """Seconds of each part of a start."""
    done = subprocess.run([sys.executable, "-c", PARTS, str(checkpoint)], check=True, capture_output=True, text=True)
    parts: dict[str, float] = json.loads(done.stdout)
    return parts


def repeated(measure: Callable[[], dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median, lowest and highest of each figure over the turns, after one that does not count."""
    measure()
    turns = [measure() for _ in range(TURNS)]
    return {name: spread([turn[name] for turn in turns]) for name in turns[0]}


def main() -> None:
    """Measure all and publish it."""
    checkpoint = Path(sys.argv[1]) if sys.argv[1:] else bring_base("starter", workspace() / "bases")
    os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
    seconds = repeated(lambda: {"help": run_help(), "doctor --help": run_help("doctor")})
    seconds |= repeated(lambda: dict(zip(("page", "first words"), serve(checkpoint), strict=True)))
    parts = repeated(lambda: parts_of(checkpoint))
    for title, figures in (("from the command", seconds), ("parts of a start", parts)):
        say(title)
        for name, figure in figures.items():
            say(f"  {name:36} {figure['median']:6.2f} s  [{figure['lowest']:.2f}, {figure['highest']:.2f}]")
    publish("startup", {"goals": {"help": 0.3, "page": 3.0, "first words": 3.0}, "seconds": seconds, "parts": parts})


if __name__ == "__main__":
    main()
