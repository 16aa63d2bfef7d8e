"""HTTP/1.1 over one kept-alive connection, just enough for the load generator.

A general client costs about as much CPU time a request as the gateway it is to measure, on the same two cores.
No redirects, no chunked requests, no TLS, one request at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class HttpConnection:
    """Raises ValueError for an answer it cannot read, OSError or IncompleteReadError for a connection that broke."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> HttpConnection:
        reader, writer = await asyncio.open_connection(host, port)
        return cls(f"{host}:{port}", reader, writer)

    async def request(self, method: str, target: str, body: bytes = b"", headers: str = "") -> Answer:
        """`headers` is ready to send: each line ends in CR LF."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n{length}{headers}\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        return Answer(int(head[9:12]), await self._body(head))

    async def _body(self, head: bytes) -> bytes:
        fields = {}
        for line in head.split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        if fields.get(b"transfer-encoding") == b"chunked":
            return await self._chunks()
        length = int(fields.get(b"content-length", b"0"))
        if length > MAX_BODY_BYTES:
            raise ValueError(f"body too large: limit {MAX_BODY_BYTES} bytes, got {length}")
        return await self._reader.readexactly(length)

    async def _chunks(self) -> bytes:
        parts = []
        while True:
            length = int(await self._reader.readuntil(b"\r\n"), 16)
            if length > MAX_BODY_BYTES:
                raise ValueError(f"chunk too large: limit {MAX_BODY_BYTES} bytes, got {length}")
            parts.append(await self._reader.readexactly(length))
            await self._reader.readexactly(2)
            if length == 0:
                return b"".join(parts)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
