"""A real server on a free port, in a thread, for real clients."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from accordant.serve.run import Server, address, bind


@contextlib.contextmanager
def live(app: FastAPI) -> Iterator[str]:
    """Its address, while the block runs."""
    with bind("127.0.0.1", 0) as listener:
        server = Server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until = time.monotonic() + 60
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield address(listener)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(condition: Any, seconds: float = 5) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
