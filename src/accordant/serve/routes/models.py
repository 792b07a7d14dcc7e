"""GET /v1/models, and what cannot be had: embeddings."""

from typing import Annotated

from fastapi import APIRouter, Path

from accordant.serve.deps import Signed
from accordant.serve.faults import Fault
from accordant.serve.openai.answers import Model, ModelList
from accordant.serve.openai.fields import check_model
from accordant.serve.service import Service, Serving

router = APIRouter(prefix="/v1", tags=["openai"])


@router.get("/models")
async def list_models(service: Serving, _: Signed) -> ModelList:
    """The one model."""
    return ModelList(data=[_model(service)])


@router.get("/models/{name:path}")
async def get_model(name: Annotated[str, Path()], service: Serving, _: Signed) -> Model:
    """It again, by its name."""
    check_model(name, service.model)
    return _model(service)


@router.post("/embeddings")
async def embeddings(_: Signed) -> None:
    """Refused: no model here makes embeddings."""
    raise Fault("this server makes no embeddings: it serves a chat model alone", None, "not_supported", 404)


def _model(service: Service) -> Model:
    return Model(id=service.model, created=service.created)
