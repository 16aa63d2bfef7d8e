"""The verifying page as the gateway serves it: whole, open, and allowed nothing but its own files."""

from __future__ import annotations

import re

from api.problems import type_of
from api.routes.verify import MEDIA_TYPES, pages
from api.verify_tables import tables_js
from tests.api.conftest import Running


async def test_the_page_and_all_that_it_refers_to_is_served_with_its_type(running: Running) -> None:
    seen, waiting = set(), ["index.html"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = await running.http.get(f"/verify/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPES[name.rpartition(".")[2]])
        waiting += re.findall(r'(?:src|href)="([^"]+)"', answer.text) if name.endswith("html") else []
        waiting += re.findall(r'from "\./([^"]+)"', answer.text)
    assert seen == set(pages()), "a file that nothing refers to, or one that is missing"
    root = await running.http.get("/verify/")
    assert root.content == pages()["index.html"]
    moved = await running.http.get("/verify")
    assert (moved.status_code, moved.headers["location"]) == (308, "verify/")


async def test_nothing_but_its_own_files_is_allowed_to_the_page(running: Running) -> None:
    answer = await running.http.get("/verify/")
    for policy in (
        answer.headers["content-security-policy"],
        re.findall(r'content="(default-src[^"]+)"', answer.text)[0],
    ):
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "connect-src" not in policy, "default-src forbids it to speak to anybody"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for name, content in pages().items():
        text = content.decode()
        assert not re.search(r"https?://|fetch\(|XMLHttpRequest|WebSocket|innerHTML|eval\(|sendBeacon", text), name


async def test_a_file_that_is_not_of_the_page_is_not_served(running: Running) -> None:
    for name in ("package.json", "../http.py", "..%2fhttp.py", "nothing.js", "tables.js/"):
        answer = await running.http.get(f"/verify/{name}")
        assert (answer.status_code, answer.json()["type"]) == (404, type_of("not_found")), name


async def test_an_unchanged_file_is_not_sent_again(running: Running) -> None:
    first = await running.http.get("/verify/checks.js")
    again = await running.http.get("/verify/checks.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_tables_are_those_of_the_contracts() -> None:
    assert pages()["tables.js"].decode() == tables_js()
