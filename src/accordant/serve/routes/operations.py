"""For whoever runs the service: is it alive, does it take requests, how is it doing."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from accordant.serve.deps import Signed
from accordant.serve.service import Serving

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health(service: Serving) -> dict[str, Any]:
    """Whether the process lives."""
    return {"status": "ok", "checkpoint": service.model, "waiting": service.scheduler.waiting()}


@router.get("/ready")
async def ready(service: Serving, response: Response) -> dict[str, bool]:
    """Whether new requests are answered: both models are loaded, their thread lives, the service is not closing."""
    found = service.scheduler.ready and (service.moderation is None or service.moderation.ready)
    if not found:
        response.status_code = 503
    return {"ready": found}


@router.get("/metrics")
async def metrics(service: Serving, _: Signed) -> Response:
    """Figures for Prometheus."""
    service.metrics.waiting.set(service.scheduler.waiting())
    service.metrics.running.set(service.scheduler.running())
    return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)
