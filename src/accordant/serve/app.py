"""The web app: the page, the API, and what stands before both."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from accordant.serve.access import Access
from accordant.serve.alternatives import Alternatives
from accordant.serve.answers import Answers
from accordant.serve.dialogue import Dialogue
from accordant.serve.faults import say_every_fault_in_one_line
from accordant.serve.guard import Guard
from accordant.serve.limits import Limiter, StoredUsage, UsageCounts, UsageLog
from accordant.serve.logs import Observed
from accordant.serve.metrics import Metrics
from accordant.serve.moderation import Moderation
from accordant.serve.page_files import PageFiles
from accordant.serve.requests import About, Figure, Sample
from accordant.serve.routes import (
    accounts,
    chat_completions,
    completions,
    conversations,
    feedback,
    keys,
    labelling,
    models,
    moderations,
    operations,
    page,
    reviewing,
    runs,
)
from accordant.serve.routes import usage as usage_routes
from accordant.serve.samples import Samples
from accordant.serve.scheduler import Scheduler, Speaker
from accordant.serve.service import Service
from accordant.serve.settings import ServeSettings


def create_app(
    engine: Speaker,
    title: str = "Accordant",
    checkpoint_name: str = "model",
    facts: Mapping[str, str] | None = None,
    *,
    measured: Mapping[str, Figure] | None = None,
    samples: Sequence[Sample] = (),
    context: int = 2048,
    host: str = "127.0.0.1",
    settings: ServeSettings | None = None,
    access: Access | None = None,
    usage: UsageLog | None = None,
    moderation: Moderation | None = None,
) -> FastAPI:
    """The chat page and the API around one engine.

    Args:
        engine: makes the answers, in the app's one model thread.
        title: name of the service on the page.
        checkpoint_name: which model it is, on the page and as `model` in the API.
        facts: short facts on the model, label to text; `Parameters` appears in the page's opening sentence.
        measured: figures of the model's evaluation, by name.
        samples: what the model answered there.
        context: most tokens of a prompt and its answer together.
        host: the address that the server binds; the only name besides localhost that it answers to.
        settings: limits and times.
        access: how people are known, and the store; without one there are neither accounts nor stored conversations.
        usage: where it is counted what was used; by default in the store, or in memory where there is none.
        moderation: judges the words of users and of the model, everywhere; without it they are not judged.
    """
    settings = settings or ServeSettings()
    access = access or Access()
    answers = Answers(access.database) if access.database else None
    metrics = Metrics()
    if moderation:
        moderation.heard = metrics.judged
    scheduler = Scheduler(engine, settings.most_waiting, settings.most_waiting_each, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        writing = asyncio.create_task(answers.run()) if answers else None
        yield
        await run_in_threadpool(scheduler.close)
        if answers and writing:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            await answers.close()

    app = FastAPI(title=title, docs_url=None, redoc_url=None, lifespan=lifespan)
    service = Service(
        engine=engine,
        model=checkpoint_name,
        context=context,
        about=About(
            title=title,
            checkpoint=checkpoint_name,
            moderation=moderation.mode if moderation else "off",
            facts=dict(facts or {}),
            measured=dict(measured or {}),
        ),
        settings=settings,
        scheduler=scheduler,
        metrics=metrics,
        limiter=Limiter(),
        usage=usage or (StoredUsage(access.database) if access.database else UsageCounts()),
        moderation=moderation,
        database=access.database,
        samples=Samples(samples, moderation),
    )
    app.state.service, app.state.access = service, access
    app.add_middleware(Guard, host=host, request_seconds=settings.request_seconds, write_seconds=settings.write_seconds)
    app.add_middleware(Observed, metrics=metrics)
    say_every_fault_in_one_line(app)
    for routes in (operations, page, chat_completions, completions, models, moderations, runs):
        app.include_router(routes.router)
    if access.database and answers:
        app.state.dialogue = Dialogue(
            access.database, answers, service, engine.renderer, checkpoint_name, context, moderation
        )
        app.state.alternatives = Alternatives(access.database, service, settings.labelling)
        for routes in (accounts, conversations, feedback, keys, labelling, reviewing, usage_routes):
            app.include_router(routes.router)
    app.mount("/", PageFiles())
    return app
