"""POST /v1/moderations."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator, Field
from starlette.concurrency import run_in_threadpool

from accordant.serve.deps import Signed
from accordant.serve.faults import Fault
from accordant.serve.openai.chat import TextPart
from accordant.serve.openai.fields import Body, Words, check_model
from accordant.serve.service import Judgement, Serving

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
    moderator = service.moderator
    if moderator is None:
        raise Fault("no moderation classifier is set up on this server", None, "not_supported", 404)
    if body.model is not None:
        check_model(body.model, moderator.name)
    judged = [await run_in_threadpool(moderator.judge, text) for text in body.input]
    return {
        "id": f"modr-{secrets.token_urlsafe(16)}",
        "model": moderator.name,
        "results": [_result(one) for one in judged],
    }


def _result(judgement: Judgement) -> dict[str, Any]:
    return {
        "flagged": any(judgement.flags.values()),
        "categories": dict(judgement.flags),
        "category_scores": dict(judgement.scores),
        "category_applied_input_types": {category: ["text"] for category in judgement.scores},
    }
