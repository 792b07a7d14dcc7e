"""The web app: the page, the API, and what stands before both."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from accordant.serve.faults import say_every_fault_in_one_line
from accordant.serve.guard import Guard
from accordant.serve.limits import Limiter, UsageCounts, UsageLog
from accordant.serve.logs import Observed
from accordant.serve.metrics import Metrics
from accordant.serve.principal import Keys
from accordant.serve.requests import About
from accordant.serve.routes import chat_completions, completions, models, moderations, operations, page
from accordant.serve.scheduler import Scheduler, Speaker
from accordant.serve.service import Moderator, Service
from accordant.serve.settings import ServeSettings

PAGE = Path(__file__).with_name("page")


def create_app(
    engine: Speaker,
    title: str = "Accordant",
    checkpoint_name: str = "model",
    facts: Mapping[str, str] | None = None,
    *,
    context: int = 2048,
    host: str = "127.0.0.1",
    settings: ServeSettings | None = None,
    keys: Keys | None = None,
    usage: UsageLog | None = None,
    moderator: Moderator | None = None,
) -> FastAPI:
    """The chat page and the API around one engine.

    Args:
        engine: makes the answers, in the app's one model thread.
        title: name of the service on the page.
        checkpoint_name: which model it is, on the page and as `model` in the API.
        facts: short facts on the model, label to text; `Parameters` appears in the page's opening sentence.
        context: most tokens of a prompt and its answer together.
        host: the address that the server binds; the only name besides localhost that it answers to.
        settings: limits and times.
        keys: who may ask; without them everybody who reaches the server.
        usage: where it is counted what was used; in memory by default.
        moderator: judges texts for /v1/moderations.
    """
    settings = settings or ServeSettings()
    metrics = Metrics()
    scheduler = Scheduler(engine, settings.most_waiting, settings.most_waiting_each, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(scheduler.close)

    app = FastAPI(title=title, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = Service(
        engine=engine,
        model=checkpoint_name,
        context=context,
        about=About(title=title, checkpoint=checkpoint_name, facts=dict(facts or {})),
        settings=settings,
        scheduler=scheduler,
        metrics=metrics,
        limiter=Limiter(lambda _: settings.limits),
        usage=usage or UsageCounts(),
        keys=keys,
        moderator=moderator,
    )
    app.add_middleware(Guard, host=host, request_seconds=settings.request_seconds, write_seconds=settings.write_seconds)
    app.add_middleware(Observed, metrics=metrics)
    say_every_fault_in_one_line(app)
    for routes in (operations, page, chat_completions, completions, models, moderations):
        app.include_router(routes.router)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app
