"""Every fault in one line, in the shape that its surface has: OpenAI's under /v1, a plain `error.message` elsewhere."""

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from accordant.errors import AccordantError
from accordant.serve.moderation import Unjudged
from accordant.serve.requests import explain, field_of
from accordant.serve.scheduler import Closing, Refused
from accordant.store.database import Changed, NotFound, Unusable

log = logging.getLogger("accordant.serve")

OPENAI = "/v1/"
DATABASE, FILTER = "database_unavailable", "filter_unavailable"


class Fault(AccordantError):
    """A request that cannot be answered, with its status, and what OpenAI's API says of it besides."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message, code)
        self.param, self.status = param, status


def problem(
    path: str,
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A refusal in the shape that refusals have at `path`."""
    error: dict[str, str | None] = {"message": message, **({"code": code} if code else {})}
    if path.startswith(OPENAI):
        error |= openai_error(status, message, param, code)
    return JSONResponse({"error": error}, status, headers)


def openai_error(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, str | None]:
    """The content of `error` in OpenAI's shape."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = "server_error" if status >= 500 else kinds.get(status, "invalid_request_error")
    return {"message": message, "type": kind, "param": param, "code": code}


def say_every_fault_in_one_line(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        path, faults = request.url.path, error.errors()
        if not path.startswith(OPENAI):
            return problem(path, 422, explain(faults, error.body))
        kind = faults[0]["type"]
        code = kind if kind in ("unsupported_parameter", "unsupported_value") else None
        return problem(path, 400, explain(faults, error.body), field_of(faults[0], error.body), code)

    @app.exception_handler(Refused)
    async def refused_for_now(request: Request, error: Refused) -> JSONResponse:
        path, status = request.url.path, 503 if isinstance(error, Closing) else 429
        code = "rate_limit_exceeded" if path.startswith(OPENAI) and status == 429 else error.code
        request.app.state.service.metrics.refused.labels(type(error).__name__).inc()
        return problem(path, status, str(error), None, code, {"Retry-After": str(error.retry_after)})

    @app.exception_handler(NotFound)
    async def not_found(request: Request, error: NotFound) -> JSONResponse:
        return problem(request.url.path, 404, str(error))

    @app.exception_handler(Changed)
    async def changed(request: Request, error: Changed) -> JSONResponse:
        return problem(request.url.path, 409, str(error), None, error.code)

    @app.exception_handler(Unusable)
    async def unusable(request: Request, error: Unusable) -> JSONResponse:
        log.error("%s", error)
        return problem(request.url.path, 503, "the server cannot reach its database; its log says why", None, DATABASE)

    @app.exception_handler(Unjudged)
    async def unjudged(request: Request, error: Unjudged) -> JSONResponse:
        return problem(request.url.path, 503, str(error), None, FILTER)

    @app.exception_handler(Fault)
    async def fault(request: Request, error: Fault) -> JSONResponse:
        return problem(request.url.path, error.status, str(error), error.param, error.code)

    @app.exception_handler(AccordantError)
    async def refused(request: Request, error: AccordantError) -> JSONResponse:
        return problem(request.url.path, 400, str(error), None, error.code)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        path, status = request.url.path, error.status_code
        code = {401: "invalid_api_key", 404: "unknown_url"}.get(status) if path.startswith(OPENAI) else None
        return problem(path, status, str(error.detail), None, code, error.headers)
