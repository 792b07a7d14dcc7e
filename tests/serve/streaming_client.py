"""Drives an app as a server does, with a client that can leave: TestClient hands over whole bodies only."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from accordant.serve.events import Delta, Done, Waiting


class Client:
    """One streamed POST to /v1/chat/completions, read chunk by chunk."""

    def __init__(self, app: Any, body: dict[str, Any]) -> None:
        self._app, self._body = app, json.dumps(body).encode()
        self._gone = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._asked = False
        self.status = 0

    async def __aenter__(self) -> "Client":
        headers = [("host", "localhost"), ("content-type", "application/json"), ("content-length", len(self._body))]
        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(name.encode(), str(value).encode()) for name, value in headers],
        }
        self._task = asyncio.ensure_future(self._app(scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Close the connection and wait until the app has noticed."""
        self._gone.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(self._task, 60)

    async def chunk(self) -> bytes | None:
        return await asyncio.wait_for(self._chunks.get(), 60)

    async def events(self) -> AsyncIterator[Waiting | Delta | Done]:
        """What the chunks say, as the events that they were made of."""
        while raw := await self.chunk():
            if raw.endswith(b" ahead\n\n"):
                yield Waiting(ahead=int(raw.split()[1]))
            elif raw.startswith(b"data: {"):
                [choice] = json.loads(raw.removeprefix(b"data: "))["choices"]
                if text := choice["delta"].get("content"):
                    yield Delta(text=text)
                if finish := choice["finish_reason"]:
                    yield Done(finish=finish, prompt_tokens=0, answer_tokens=0, turns_left_out=0)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["body"]:
            self._chunks.put_nowait(message["body"])
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._chunks.put_nowait(None)
