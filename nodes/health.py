"""The small HTTP port of a validator, read only: `/healthz`, `/readyz`, `/storage`, `/metrics`.

`/healthz` answers 200 as long as the event loop turns. `/readyz` answers 200 when the validator takes part, 503 with
the reason in plain words when it does not. `/storage` says in JSON how the disk is and how far the scrub has come. Only
`GET`; a request line over 4 KiB or slower than five seconds is cut off. For an operator's network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from nodes.config import Address

MAX_REQUEST_LINE_BYTES = 4096
MAX_HEADER_LINES = 100
REQUEST_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 64


class HealthServer:
    def __init__(
        self,
        address: Address,
        readiness: Callable[[], tuple[bool, str]],
        metrics: Callable[[], bytes],
        storage: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._address = address
        self._readiness = readiness
        self._metrics = metrics
        self._storage = storage
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(
            self._serve, self._address.host, self._address.port, limit=MAX_REQUEST_LINE_BYTES
        )

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    def answer(self, target: str) -> tuple[str, str, bytes]:
        """Status line, content type and body for a path."""
        path = target.partition("?")[0]
        if path == "/healthz":
            return "200 OK", "text/plain; charset=utf-8", b"ok\n"
        if path == "/readyz":
            ready, state = self._readiness()
            return (
                ("200 OK" if ready else "503 Service Unavailable"),
                "text/plain; charset=utf-8",
                f"{state}\n".encode(),
            )
        if path == "/storage":
            return "200 OK", "application/json", json.dumps(self._storage(), indent=2).encode() + b"\n"
        if path == "/metrics":
            return "200 OK", "text/plain; version=0.0.4; charset=utf-8", self._metrics()
        return "404 Not Found", "text/plain; charset=utf-8", b"there are /healthz, /readyz, /storage and /metrics\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MAX_CONNECTIONS:
                return
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                status, kind, body = await self._read(reader)
                head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                head += "Connection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
            pass  # whoever asked is gone or speaks no HTTP; there is nobody to tell
        finally:
            self._open -= 1
            with contextlib.suppress(OSError):
                writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
        words = (await reader.readline()).decode("latin-1").split()
        for _ in range(MAX_HEADER_LINES):
            if await reader.readline() in (b"\r\n", b"\n", b""):
                break
        if len(words) != 3 or words[0] != "GET":
            return "405 Method Not Allowed", "text/plain; charset=utf-8", b"only GET\n"
        return self.answer(words[1])
