"""`accordant serve`: one checkpoint, one port, one process."""

import contextlib
import errno
import gc
import logging
import os
import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from starlette.concurrency import run_in_threadpool

from accordant.errors import AccordantError
from accordant.serve.access import make_access
from accordant.serve.app import create_app
from accordant.serve.guard import LARGEST_HEAD
from accordant.serve.load import context_of, facts_of, load_engine, load_moderation, measured_of, samples_of
from accordant.serve.logs import log_to_stderr
from accordant.serve.page_files import UNBUILT, is_built
from accordant.serve.service import Service
from accordant.serve.settings import ServeSettings
from accordant.store.migrate import open_database

DEFAULT_PORT = 8000


def serve(
    checkpoint: Path,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    console: Console | None = None,
    title: str = "Accordant",
    database: str | None = None,
    accounts: bool | None = None,
    settings: ServeSettings | None = None,
) -> None:
    """Serve the chat page and the API until Ctrl-C.

    Args:
        checkpoint: folder in the hub's format.
        host: address to bind; beyond this machine it needs accounts and the secret `ACCORDANT_SECRET`.
        port: port to bind; 0 takes the first free one from 8000 on (a browser keeps conversations per port).
        console: told where the page is.
        title: name of the service on the page.
        database: URL of the store; None is the workspace's.
        accounts: whether people log in; None: where other machines can reach the page.
        settings: limits and times.

    Raises:
        AccordantError: when the port is taken, the address is not this machine's, the checkpoint or the store cannot be
            read, or other machines could reach it unprotected.
    """
    settings = settings or ServeSettings()
    with bind(host, port) as listener:
        store = open_database(database, settings.statement_seconds)
        access = make_access(store, host, accounts, os.environ.get("ACCORDANT_SECRET"))
        name = name_of(checkpoint)
        engine = load_engine(checkpoint, settings.answers_at_once)
        app = create_app(
            engine,
            title,
            name,
            facts_of(engine),
            measured=measured_of(checkpoint),
            samples=samples_of(checkpoint),
            context=context_of(engine),
            host=host,
            settings=settings,
            access=access,
            moderation=load_moderation(settings.moderation, engine),
        )
        if console:
            console.print(f"chat with {name} at {address(listener)} (Ctrl-C stops)", markup=False)
            console.print(f"moderation: {settings.moderation.mode}", highlight=False)
            if not is_built():
                console.print(UNBUILT, markup=False)
            console.print(f"API: base_url {address(listener)}/v1, model {name!r}", markup=False, highlight=False)
        gc.freeze()  # what is there now stays, and is not looked through between two tokens
        gc.enable()
        log_to_stderr(logging.INFO if settings.log_requests else logging.WARNING)
        run(app, listener)


def name_of(checkpoint: Path) -> str:
    """How a checkpoint is called on the page: its folder, or run and stage where a round made it."""
    path = checkpoint.resolve()
    return f"{path.parent.parent.name}/{path.parent.name}" if path.name == "checkpoint" else path.name


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on the port: a taken one is known before a model is loaded.

    Raises:
        AccordantError: when it is taken or cannot be bound.
    """
    if not 0 <= port <= 65535:
        raise AccordantError(f"cannot listen on port {port}: ports go from 1 to 65535 (0 takes any free one)")
    candidates = [port] if port else range(DEFAULT_PORT, DEFAULT_PORT + 100)
    for candidate in candidates:
        try:
            family, _, _, _, place = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            return socket.create_server(place[:2], family=family, backlog=128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and not port:
                continue
            raise AccordantError(_why_not(host, candidate, error)) from None
    raise AccordantError(f"ports {candidates[0]} to {candidates[-1]} on {host} are all taken; name another port")


def address(listener: socket.socket) -> str:
    """The URL of a bound socket, as a browser on this machine opens it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(app: FastAPI, listener: socket.socket) -> None:
    """Run an app of `create_app` until Ctrl-C or SIGTERM; answers in the making may end first."""
    with contextlib.suppress(KeyboardInterrupt):
        Server(app).run(sockets=[listener])


class Server(uvicorn.Server):
    """Lets the answers end first: an open stream would hold the shutdown up.

    Args:
        app: of `create_app`.
    """

    def __init__(self, app: FastAPI) -> None:
        self._service: Service = app.state.service
        config = uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            limit_concurrency=self._service.settings.connections,
            h11_max_incomplete_event_size=2 * LARGEST_HEAD,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was begun, then close."""
        scheduler, seconds = self._service.scheduler, self._service.settings.shutdown_seconds
        await run_in_threadpool(scheduler.finish, seconds, lambda: self.force_exit)
        await run_in_threadpool(scheduler.close)
        await super().shutdown(sockets)


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; stop what runs there, or choose another port (0 takes any free one)"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this process has; choose one above 1023"
    return f"cannot listen on {host}, port {port}: {error.strerror}"
