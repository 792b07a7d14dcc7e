"""What stands before every request: whom the page answers to, how much it takes, and what a browser may do with it."""

import asyncio
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accordant.serve.faults import problem
from accordant.serve.requests import LARGEST_BODY

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


LARGEST_HEAD = 16_000
"""Bytes of all header lines."""


class Guard:
    """Refuses foreign Host headers, oversized and endless requests, and adds the security headers.

    A page elsewhere can point a name of its own at this machine (DNS rebinding) and would then be of the same origin
    as this server; its requests still carry that name as Host. An address cannot be pointed elsewhere, so a server
    bound to all addresses answers to any of them.
    """

    def __init__(self, app: ASGIApp, host: str, request_seconds: float, write_seconds: float) -> None:
        self.app, self._request_seconds, self._write_seconds = app, request_seconds, write_seconds
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._any_address = host in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or read the request and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            async with asyncio.timeout(self._write_seconds):  # who does not read does not keep the rest in memory
                await send(message)

        if refusal := self._refusal(scope):
            await refusal(scope, receive, send_guarded)
            return
        try:
            async with asyncio.timeout(self._request_seconds):
                first = await _whole(receive)
        except TimeoutError:
            said = f"the request took more than {self._request_seconds:.0f} s to arrive"
            late = problem(scope["path"], 408, said, headers={"Connection": "close"})
            await late(scope, receive, send_guarded)
            return
        if first["type"] == "http.request":  # else the client is gone
            await self.app(scope, _again(first, receive), send_guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        path, headers = scope["path"], Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > LARGEST_HEAD:
            return problem(path, 431, f"the request's headers have more than {LARGEST_HEAD} bytes")
        if "\x00" in path or b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
            return problem(path, 400, "the address has a NUL character, which no name or text here has")
        host = headers.get("host", "")
        if not self._answers_to(host):
            return problem(
                path, 400, f"this server does not answer to the host name {host[:100]!r}; open it by its address"
            )
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin is not None and origin.partition("://")[2] != host:
            return problem(path, 403, f"pages of {origin[:100]!r} may not change anything here")
        length = headers.get("content-length", "")
        if not length and "transfer-encoding" not in headers:
            return None  # then there is no body
        if not (length.isascii() and length.isdecimal()):
            return problem(path, 411, "the request does not say its Content-Length")
        if len(length) > 12 or int(length) > LARGEST_BODY:
            return problem(path, 413, f"the request has {length[:20]} bytes, at most {LARGEST_BODY} are taken")
        return None

    def _answers_to(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))


async def _whole(receive: Receive) -> Message:
    """All of a request's body as one message."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if not message.get("more_body"):
            return {"type": "http.request", "body": body, "more_body": False}


def _again(first: Message, receive: Receive) -> Receive:
    """Give the message that was read already, then what comes."""
    read = [first]

    async def receive_again() -> Message:
        return read.pop() if read else await receive()

    return receive_again


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
