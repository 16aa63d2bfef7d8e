"""The page about HTTP says what the routes say of themselves, of every one of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from api.http_reference import PAGE, anchor, description, lines, operations, problem_codes
from api.problems import PROBLEMS

DOCUMENT = description()
OPERATIONS = list(operations(DOCUMENT))
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]


@cache
def page() -> str:
    return "\n".join(lines(DOCUMENT)).rstrip() + "\n"


def section(method: str, path: str) -> str:
    """What the page says of one operation: from its heading to the next."""
    _, _, after = page().partition(f"### {method} {path}\n")
    return after.partition("\n## ")[0].partition("\n### ")[0]


def test_the_page_in_docs_is_up_to_date() -> None:
    written = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")
    assert written == page(), "write it again: make generate"


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_every_operation_has_its_section_with_all_that_it_says_of_itself(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    said = section(method, path)
    assert operation["operationId"] in said
    for parameter in operation.get("parameters", ()):
        row = next(line for line in said.splitlines() if line.startswith(f"| `{parameter['name']}` |"))
        assert ("required" in row) == bool(parameter.get("required"))
        assert row.count("|") - row.count("\\|") == 6, "a row of five columns"
    for media_type in operation.get("requestBody", {}).get("content", {}):
        assert f"| `{media_type}` |" in said
    for status, answer in operation["responses"].items():
        good = [name for name in answer["content"] if name != "application/problem+json"]
        assert (f"| {status} |" in said) == bool(good)
    assert all(f"`{code}`" in said for code in problem_codes(operation))
    assert ("Anybody, without a token" in said) == ("security" not in operation)
    assert "```" in said, "an example of an answer"


def test_every_link_of_the_page_to_itself_leads_to_a_heading() -> None:
    headings = {anchor("", line.lstrip("# ")).lstrip("-") for line in page().splitlines() if line.startswith("#")}
    links = [part.partition(")")[0] for part in page().split("](#")[1:]]
    assert len(links) > len(OPERATIONS)
    assert set(links) <= headings


def test_every_problem_is_on_the_page_once() -> None:
    table = page().partition("## Problems\n")[2]
    assert [line.split("|")[3].strip() for line in table.splitlines() if line.startswith("| `urn:")] == [
        f"`{code}`" for code in PROBLEMS
    ]


def test_the_page_has_no_operation_that_there_is_not() -> None:
    told = [line.removeprefix("### ") for line in page().splitlines() if line.startswith("### ")]
    assert sorted(told) == sorted(NAMES)
