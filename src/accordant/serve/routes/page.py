"""What the page asks before anybody is known."""

from fastapi import APIRouter

from accordant.serve.requests import About
from accordant.serve.service import Serving

router = APIRouter(prefix="/api", tags=["page"])


@router.get("/about")
async def about(service: Serving) -> About:
    """What the page says of the model."""
    return service.about
