"""What today's chat page asks."""

import secrets
from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from accordant.engine import Ask, Sampling
from accordant.serve.deps import Signed
from accordant.serve.events import encode
from accordant.serve.history import fit
from accordant.serve.job import Job
from accordant.serve.requests import About, ChatRequest
from accordant.serve.service import Serving
from accordant.serve.stream import JobStream, events

router = APIRouter(prefix="/api", tags=["page"])


@router.get("/about")
async def about(service: Serving) -> About:
    """What the page says of the model."""
    return service.about


@router.post("/chat", response_class=StreamingResponse)
async def chat(request: ChatRequest, service: Serving, principal: Signed) -> JobStream:
    """Answer the last message; the oldest turns that do not fit are left out."""
    room = service.context - request.max_tokens
    fitted = await run_in_threadpool(fit, service.engine.renderer, request.messages, room)
    seed = secrets.randbits(32) if request.seed is None else request.seed
    sampling = Sampling(request.temperature, request.top_p, request.max_tokens, seed=seed)
    left_out = fitted.turns_left_out
    said = [message.content for message in request.messages if message.role == "user"][left_out:]
    system = [message.content for message in request.messages if message.role == "system"]
    job = await service.begin([Ask(fitted.prompt, sampling)], principal, system + said, "messages", left_out)
    return JobStream(service.scheduler, job, _encoded(job))


async def _encoded(job: Job) -> AsyncIterator[bytes]:
    async for event in events(job):
        yield encode(event)
