"""All benchmarks that have a goal, one after the other, and what each of them found last.

    python -m benchmarks.run [NAME ...]        OMP_NUM_THREADS=2 for two threads

One thread by default: on a shared machine two wait for each other and measure the neighbours. One that fails does not
stop the others, but the exit status is 1 then. At the end docs/benchmarks.md gets the new figures.
"""

import json
import os
import subprocess
import sys
from typing import Any

import torch
from benchmarks import figures
from benchmarks.paired import say

from accordant.files import workspace
from accordant.model.base import bring_base


def commands() -> dict[str, list[str]]:
    """Arguments of each benchmark, in the order in which they are run."""
    starter = str(bring_base("starter", workspace() / "bases"))
    on_cpu: dict[str, list[str]] = {
        "startup": [],
        "rollout": [],
        "ppo": [starter],
        "sft": [starter],
        "reward": [starter],
        "scaling": [],
    }
    return on_cpu | ({"gpu": []} if torch.cuda.is_available() else {})


def last_line(name: str, arguments: list[str]) -> dict[str, Any] | None:
    """Run one; what it printed last, or None where it failed."""
    say(f"== {name}")
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        say(f"{name} failed with exit status {done.returncode}")
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(names: list[str]) -> int:
    """Run those that are named, or all; returns the exit status."""
    known = commands()
    found = {name: last_line(name, known[name]) for name in names or known}
    for name, result in found.items():
        print(f"\n{name}")
        for row in figures.rows(result) if result else [figures.Row("failed", "")]:
            print(f"  {row.what:56} {row.figure}")
    figures.write()
    return int(None in found.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
