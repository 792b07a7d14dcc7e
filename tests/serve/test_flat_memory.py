"""Memory stays flat whatever lengths prompts have; in a process of its own, because kernels are kept for all."""

import subprocess
import sys

import pytest

PROGRAM = """
import random, resource, sys
from pathlib import Path
from accordant.engine import Ask, Sampling
from accordant.serve.load import load_engine
from accordant.testing import save_tiny_checkpoint

engine = load_engine(save_tiny_checkpoint(Path(sys.argv[1])), rows=4)
draw = random.Random(1)
sizes = []

def source(room):
    sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if len(sizes) > 400 or not room:
        return []
    return [engine.request(Ask([3] * draw.randint(5, 400), Sampling(max_tokens=1)))]

for _ in engine.serve(source):
    pass
print(sizes[-1] - sizes[len(sizes) // 2])
"""


@pytest.mark.slow
def test_prompts_of_every_length_leave_nothing_behind(tmp_path: object) -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 50, "MB over the second half of 400 prompts"
