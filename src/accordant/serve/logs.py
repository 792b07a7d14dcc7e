"""Structured logs: one JSON object a line, with the id of the request, without what anybody said."""

import json
import logging
import re
import secrets
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accordant.serve.faults import problem
from accordant.serve.metrics import Metrics
from accordant.serve.stream import ReaderLeft

REQUEST_ID = "x-request-id"
request_id: ContextVar[str] = ContextVar("request_id", default="")
log = logging.getLogger("accordant.serve")


class JsonLines(logging.Formatter):
    """A record as one line of JSON; what is given as `extra={"facts": {...}}` becomes its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if request := request_id.get():
            line["request"] = request
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Write the service's log to stderr; everything else's from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level)


class Observed:
    """Gives each request an id (or takes the one that came with it), counts it, and writes one line about it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and look at what comes back; an error that nobody expected is one line, and a page in the log."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        name = given if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", given) else f"req_{secrets.token_urlsafe(12)}"
        token = request_id.set(name)
        began = time.monotonic()
        head: dict[str, Any] = {"status": 0, "seconds": 0.0}  # status 0: the reader left before there was one

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.update(status=message["status"], seconds=time.monotonic() - began)
                MutableHeaders(scope=message)[REQUEST_ID] = name
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ReaderLeft:
            pass
        except Exception:
            log.exception("a request failed")
            if head["status"]:
                raise  # the connection breaks off: what was sent cannot be taken back
            failed = problem(scope["path"], 500, f"the server failed at this request; its log says why ({name})")
            await failed(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requested(route, head["status"], head["seconds"])
            facts = {
                "method": scope["method"],
                "route": route,
                "status": head["status"],
                "seconds": round(time.monotonic() - began, 4),
            }
            log.info("request", extra={"facts": facts})
            request_id.reset(token)
