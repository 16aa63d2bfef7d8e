"""The command in docs/verify.md serves the page as a browser needs it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time

from api.routes.verify import pages
from tests.nodes.test_documented_commands import ROOT, documented_commands


def test_the_page_is_served_by_the_command_that_the_document_gives() -> None:
    (words,) = documented_commands(ROOT / "docs" / "verify.md")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *(str(port) if word == "8090" else word for word in words[1:])]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name, content in pages().items():
            assert fetched(port, name) == (200, content)
    finally:
        server.terminate()
        server.wait(15)


def fetched(port: int, name: str) -> tuple[int, bytes]:
    deadline = time.monotonic() + 15
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", f"/{name}")
            answer = connection.getresponse()
            assert name.endswith(("html", "css")) or "javascript" in answer.headers["content-type"], name
            return answer.status, answer.read()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()
