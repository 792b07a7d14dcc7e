"""What the page tells of the model; the first thing before anybody is known."""

from fastapi import APIRouter

from accordant.serve.deps import Signed
from accordant.serve.requests import About, Sample
from accordant.serve.service import Serving

router = APIRouter(prefix="/api", tags=["page"])


@router.get("/about")
async def about(service: Serving) -> About:
    """What the page says of the model."""
    return service.about


@router.get("/about/samples")
async def samples(_: Signed, service: Serving) -> list[Sample]:
    """What the model answered when it was measured: the first of each kind, unchanged; empty where it was not."""
    return await service.samples.shown()
