"""The web app: the page, what it asks, and answers streamed as they are written."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from accordant.engine import Sampling
from accordant.errors import AccordantError
from accordant.serve.access import Access
from accordant.serve.answers import Answers, Moderate
from accordant.serve.deps import Signed
from accordant.serve.dialogue import Dialogue
from accordant.serve.events import PING, Delta, Done, Error, Event, Waiting, encode
from accordant.serve.guard import Guard, problem
from accordant.serve.history import Prompter, fit
from accordant.serve.requests import About, ChatRequest, explain
from accordant.serve.routes import accounts, conversations, keys
from accordant.serve.worker import Busy, Job, Speaker, Worker
from accordant.store.database import Changed, NotFound, Unusable

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")
PING_SECONDS = 10.0


class Engine(Speaker, Protocol):
    """What the app needs of `accordant.engine.Engine`."""

    @property
    def renderer(self) -> Prompter:
        """Turns conversations into prompts."""


def create_app(
    engine: Engine,
    title: str = "Accordant",
    checkpoint_name: str = "",
    facts: Mapping[str, str] | None = None,
    *,
    context: int = 2048,
    host: str = "127.0.0.1",
    most_waiting: int = 8,
    access: Access | None = None,
    moderate: Moderate | None = None,
) -> FastAPI:
    """The chat page and its API around one engine.

    Args:
        engine: makes the answers, in the app's one worker thread.
        title: name of the service on the page.
        checkpoint_name: which model it is.
        facts: short facts on the model, label to text; `Parameters` appears in the page's opening sentence.
        context: most tokens of a prompt and its answer together.
        host: the address that the server binds; the only name besides localhost that it answers to.
        most_waiting: how many requests may wait for the one that is answered.
        access: how people are known, and the store; without one there are neither accounts nor stored conversations.
        moderate: judges the words of users and of the model.
    """
    worker = Worker(engine, most_waiting)
    about = About(title=title, checkpoint=checkpoint_name, facts=dict(facts or {}))
    access = access or Access()
    answers = Answers(access.database, moderate) if access.database else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        writing = asyncio.create_task(answers.run()) if answers else None
        yield
        await run_in_threadpool(worker.close)
        if answers and writing:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            await answers.close()

    app = FastAPI(title=title, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.worker, app.state.access = worker, access
    app.add_middleware(Guard, host=host)
    _say_every_fault_in_one_line(app)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "checkpoint": checkpoint_name, "waiting": worker.waiting()}

    @app.get("/api/about")
    async def tell_about() -> About:
        return about

    @app.post("/api/chat", response_class=StreamingResponse)
    async def chat(request: ChatRequest, _: Signed) -> AnswerStream:
        room = context - request.max_tokens
        fitted = await run_in_threadpool(fit, engine.renderer, request.messages, room)
        seed = secrets.randbits(32) if request.seed is None else request.seed
        sampling = Sampling(request.temperature, request.top_p, request.max_tokens, seed=seed)
        return AnswerStream(worker, Job(fitted.prompt, sampling, fitted.turns_left_out))

    def start(prompt: list[int], sampling: Sampling, turns_left_out: int, client: str) -> _InLine:
        return _InLine(worker, Job(prompt, sampling, turns_left_out))

    if access.database and answers:
        app.state.dialogue = Dialogue(
            access.database, answers, start, engine.renderer, checkpoint_name, context, moderate
        )
        for routes in (accounts, conversations, keys):
            app.include_router(routes.router)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


class _InLine:
    """A job of the worker, as stored answers see it."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._worker, self._job = worker, job
        self._pieces = 0
        if ahead := worker.submit(job):
            job.tell(Waiting(ahead=ahead))

    async def event(self) -> Event:
        event = await self._job.event()
        self._pieces += isinstance(event, Delta)
        return event

    def leave(self) -> None:
        self._worker.drop(self._job)
        prompt, left_out = len(self._job.prompt), self._job.turns_left_out
        ended = Done(finish="cancelled", prompt_tokens=prompt, answer_tokens=self._pieces, turns_left_out=left_out)
        self._job.tell(ended)


class AnswerStream(StreamingResponse):
    """The events of one job; when the reader goes away, for whatever reason, the job is dropped."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._worker, self._job = worker, job
        self._ahead = worker.submit(job)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(self._events(), headers=headers, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the answer is over or the reader is gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._worker.drop(self._job)

    async def _events(self) -> AsyncIterator[bytes]:
        if self._ahead:
            yield encode(Waiting(ahead=self._ahead))
        while True:
            try:
                event = await asyncio.wait_for(self._job.event(), PING_SECONDS)
            except TimeoutError:
                yield PING
                continue
            yield encode(event)
            if isinstance(event, Done | Error):
                return


def _say_every_fault_in_one_line(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, explain(error.errors()))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return problem(503, str(error))

    @app.exception_handler(NotFound)
    async def not_found(_: Request, error: NotFound) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(Changed)
    async def changed(_: Request, error: Changed) -> JSONResponse:
        return problem(409, str(error))

    @app.exception_handler(Unusable)
    async def unusable(_: Request, error: Unusable) -> JSONResponse:
        log.error("%s", error)
        return problem(503, "the server cannot reach its database; its log says why")

    @app.exception_handler(AccordantError)
    async def refused(_: Request, error: AccordantError) -> JSONResponse:
        return problem(400, str(error))

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers)
