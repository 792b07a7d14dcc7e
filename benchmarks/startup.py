"""How long someone waits: for help, for the page of a served checkpoint, and for the first words of its answer.

    python -m benchmarks.startup [CHECKPOINT]

Each run is a fresh process, warm disk; medians of some. CHECKPOINT is the starter base unless it is named. Goals: help
in 0.3 s, page and first words in 3 s. Beside the seconds stand those in which a processor worked for it, which hardly
depend on what else the machine does. The parts of a start are such seconds, too, in a process of their own.
"""

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.paired import publish, say, spread

from accordant.files import workspace
from accordant.model.base import bring_base
from accordant.serve.run import name_of

TURNS = 5
COMMAND = [sys.executable, "-c", "from accordant.cli import main; main()"]
PATIENCE = 60.0
PARTS = """
import json, sys, time
from pathlib import Path
from typing import NamedTuple
parts, began = {}, 0.0
def done(name):
    global began
    parts[name] = time.process_time() - began
    began = time.process_time()
done("start Python")
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
words.close()
print(json.dumps(parts))
"""
"""In the order in which `accordant serve` and its first answer do it."""


class Waited(NamedTuple):
    """Seconds by the clock, and of a processor's work."""

    clock: float
    work: float


def run_help(*command: str) -> Waited:
    """`accordant COMMAND --help`."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*COMMAND, *command, "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Waited(time.perf_counter() - began, worked)


def worked(process: int) -> float:
    """Seconds that a processor has worked for a running process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(checkpoint: Path) -> dict[str, Waited]:
    """From the command to the page, and to the first words of an answer that is asked for at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.perf_counter()
    server = subprocess.Popen(
        [*COMMAND, "serve", str(checkpoint), "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        wait_for_page(server, port)
        page = Waited(time.perf_counter() - began, worked(server.pid))
        wait_for_words(port, name_of(checkpoint))
        return {"page": page, "first words": Waited(time.perf_counter() - began, worked(server.pid))}
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
            answer = connection.getresponse()
            if answer.status == 200:
                return
            raise RuntimeError(f"no page: status {answer.status}; `make web` builds it")
        except ConnectionError:
            time.sleep(0.005)
        finally:
            connection.close()
    server.kill()
    raise RuntimeError(f"no page in {PATIENCE:.0f} s: {server.communicate()[1].decode()}")


def wait_for_words(port: int, model: str) -> None:
    """Ask something and read up to the first words."""
    messages = [{"role": "user", "content": "Hello"}]
    question = {"model": model, "messages": messages, "max_tokens": 8, "seed": 1, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/v1/chat/completions", json.dumps(question), {"Content-Type": "application/json"})
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


def main() -> None:
    """Measure all and publish it."""
    checkpoint = Path(sys.argv[1]) if sys.argv[1:] else bring_base("starter", workspace() / "bases")
    waited: list[dict[str, Waited]] = []
    parts: list[dict[str, float]] = []
    for _ in range(TURNS + 1):
        waited.append({"help": run_help(), "doctor --help": run_help("doctor"), **serve(checkpoint)})
        parts.append(parts_of(checkpoint))
        say(", ".join(f"{name} {one.clock:.2f} s ({one.work:.2f})" for name, one in waited[-1].items()))
    found = {
        name: {kind: spread([getattr(turn[name], kind) for turn in waited[1:]]) for kind in Waited._fields}
        for name in waited[0]
    }
    of_parts = {name: spread([turn[name] for turn in parts[1:]]) for name in parts[0]}
    for name, figure in of_parts.items():
        say(f"  {name:36} {figure['median']:6.2f} s  [{figure['lowest']:.2f}, {figure['highest']:.2f}]")
    publish("startup", {"seconds": found, "parts": of_parts})


if __name__ == "__main__":
    main()
