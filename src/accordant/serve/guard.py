"""What stands before every request: whom the page answers to, how much it takes, and what a browser may do with it."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accordant.serve.requests import LARGEST_BODY

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal in the one shape that all refusals have."""
    return JSONResponse({"error": {"message": message}}, status, headers)


class Guard:
    """Refuses foreign Host headers and oversized bodies, and adds the security headers.

    A page elsewhere can point a name of its own at this machine (DNS rebinding) and would then be of the same origin
    as this server; its requests still carry that name as Host. An address cannot be pointed elsewhere, so a server
    bound to all addresses answers to any of them.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._any_address = host in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._answers_to(host):
            return problem(400, f"this server does not answer to the host name {host[:100]!r}; open it by its address")
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return problem(403, f"pages of {origin[:100]!r} may not change anything here")
        # Without either header a request has no body, such as a browser's DELETE.
        length = headers.get("content-length", "" if "transfer-encoding" in headers else "0")
        if not length.isdecimal():
            return problem(411, "the request does not say its Content-Length")
        if int(length) > LARGEST_BODY:
            return problem(413, f"the request has {length} bytes, at most {LARGEST_BODY} are taken")
        return None

    def _answers_to(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
