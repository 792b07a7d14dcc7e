"""POST /v1/moderations."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator, Field
from starlette.concurrency import run_in_threadpool

from accordant.moderation.policy import openai_shape
from accordant.serve.deps import Signed
from accordant.serve.faults import Fault
from accordant.serve.openai.chat import TextPart
from accordant.serve.openai.fields import Body, Words, check_model
from accordant.serve.service import Serving

router = APIRouter(prefix="/v1", tags=["openai"])


def _texts(value: object) -> object:
    """One text or several; parts of type text count as one text each."""
    if isinstance(value, list):
        return [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part for part in value]
    return [value]


class ModerationRequest(Body):
    """Every field that OpenAI documents."""

    input: Annotated[
        list[Words], Field(min_length=1, max_length=64), BeforeValidator(_texts, str | list[str] | list[TextPart])
    ]
    model: str | None = None


@router.post("/moderations")
async def create(body: ModerationRequest, service: Serving, _: Signed) -> dict[str, Any]:
    """Which categories each text falls into."""
    if service.moderation is None:
        raise Fault("no moderation classifier is set up on this server", None, "not_supported", 404)
    moderator = await service.moderation.moderator()
    if body.model is not None:
        check_model(body.model, moderator.name)
    judged = [await run_in_threadpool(moderator.judge, text) for text in body.input]
    return openai_shape(judged, moderator.name, f"modr-{secrets.token_urlsafe(16)}")
