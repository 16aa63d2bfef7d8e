"""`docs/http.md`: every operation of the gateway over HTTP, written from the description that the gateway serves.

`make generate` writes the page, `python -m tests.generated` checks it. It is read out of the OpenAPI description and of
nothing else: who may, parameters, bodies, answers with an example of each, and problems. What a route does not say
about itself is not on the page, and `tests/api/test_http_reference.py` holds it against the routes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from api.config import GatewayConfig, RequestLimits
from api.core import Gateway
from api.http import create_app
from api.problems import CONTENT_TYPE, PROBLEMS, TYPE_PREFIX, type_of
from api.validators import ValidatorPool

PAGE = "docs/http.md"
MAX_EXAMPLE_LINES = 60
MAX_LISTED_VALUES = 24
_SCHEMA_REF = "#/components/schemas/"
_INTRODUCTION = """# The gateway over HTTP

Written by `make generate` from the description that the gateway serves at `GET /openapi.json`; do not edit by hand.

{description}

**Times** end in `_ms` (Unix milliseconds) or `_s` (Unix seconds), masses in `_g`, positions in `_udeg`. **Bytes** in
JSON are lower-case base16, but for `statement`, which is base64. Who asks too often, or while the gateway has too much
to do, is answered 429 or 503 with `Retry-After`.

**Many at once.** There is one way to submit many statements: a CBOR sequence (RFC 8742), one COSE_Sign1 behind the
other, as `application/cbor-seq` to [`POST /v1/statements`](#post-v1statements); {most} of them in {most_bytes} bytes
at most, unless the operator has set other limits. Each has a result of its own, in order, and one that is refused holds
up none behind it.
`multipart/form-data` is not taken: a statement is signed bytes with nothing beside them, so parts would carry no more
than the sequence does. For a stream without an end devices use gRPC ([architecture](architecture.md)).

"""


def description() -> dict[str, Any]:
    """The description of a gateway that talks to nobody."""

    async def build() -> dict[str, Any]:
        config = GatewayConfig("gateway", "kz-kgd", "comity.example", ())
        return create_app(Gateway(config, ValidatorPool((), None))).openapi()

    return asyncio.run(build())


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and what is said of it, in the order of the routes."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def anchor(method: str, path: str) -> str:
    """What a heading of an operation is called in a link, as renderers of Markdown spell it."""
    kept = (c for c in f"{method} {path}".lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _form(schema: Mapping[str, Any]) -> str:
    """What a value looks like, in a few words."""
    if "$ref" in schema:
        return f"`{str(schema['$ref']).removeprefix(_SCHEMA_REF)}`"
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " or ".join(dict.fromkeys(_form(each) for each in alternatives if each.get("type") != "null"))
    if "enum" in schema:
        values = [f"`{value}`" for value in schema["enum"]]
        return ", ".join(values[:MAX_LISTED_VALUES]) + (", …" if len(values) > MAX_LISTED_VALUES else "")
    if "const" in schema:
        return f"`{schema['const']}`"
    words = [str(schema.get("type", "anything"))]
    if schema.get("type") == "array":
        words.append(f"of {_form(schema.get('items', {}))}")
    limits = [
        (schema.get("minimum"), "from {}"),
        (schema.get("maximum"), "to {}"),
        (schema.get("minLength"), "at least {} characters"),
        (schema.get("maxLength"), "at most {} characters"),
        (schema.get("pattern"), "`{}`"),
    ]
    words += [text.format(value) for value, text in limits if value is not None]
    return " ".join(words).replace("|", "\\|")


def _who(operation: Mapping[str, Any]) -> str:
    if operation.get("security"):
        return "A participant, with a token. What is not the participant's to see answers 404."
    return "Anybody, without a token."


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    parameters = operation.get("parameters", ())
    if not parameters:
        return
    yield "| parameter | in | | form | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for each in parameters:
        schema = each.get("schema", {})
        needed = "required" if each.get("required") else "optional"
        if schema.get("default") is not None:
            needed = f"`{schema['default']}` if not given"
        meaning = each.get("description") or schema.get("description", "")
        yield f"| `{each['name']}` | {each['in']} | {needed} | {_form(schema)} | {_one_line(meaning)} |"
    yield ""


def _body(operation: Mapping[str, Any]) -> Iterator[str]:
    body = operation.get("requestBody")
    if body is None:
        return
    yield f"**Body.** {_one_line(body.get('description', ''))}".rstrip()
    yield ""
    yield "| type | for example |"
    yield "| --- | --- |"
    for media_type, content in body["content"].items():
        shown = content.get("example")
        shown = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
        yield f"| `{media_type}` | {'`' + _one_line(shown[:120]) + '`' if shown and shown != 'null' else ''} |"
    yield ""


def _examples(content: Mapping[str, Any]) -> list[Any]:
    examples = [each["value"] for each in content.get("examples", {}).values()]
    return [content["example"], *examples] if "example" in content else examples


def _shown(value: Any) -> list[str]:
    """An example as lines of a block of code, cut where it grows long."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    lines = text.rstrip("\n").split("\n")
    return lines if len(lines) <= MAX_EXAMPLE_LINES else [*lines[:MAX_EXAMPLE_LINES], "…"]


def _answers(operation: Mapping[str, Any]) -> Iterator[str]:
    good = {
        status: answer
        for status, answer in operation["responses"].items()
        if any(media_type != CONTENT_TYPE for media_type in answer.get("content", {}))
    }
    yield "| answer | type | meaning |"
    yield "| --- | --- | --- |"
    for status, answer in good.items():
        types = ", ".join(f"`{name}`" for name in answer["content"] if name != CONTENT_TYPE)
        meaning = "; ".join(
            part for part in answer.get("description", "").split("; ") if not part.startswith(f"`{TYPE_PREFIX}")
        )
        yield f"| {status} | {types} | {_one_line(meaning)} |"
    yield ""
    for status, answer in good.items():
        for media_type, content in answer["content"].items():
            examples = _examples(content) if media_type != CONTENT_TYPE else []
            if examples:
                yield f"For example {status}, `{media_type}`:"
                yield ""
                yield "```json" if "json" in media_type else "```text"
                yield from _shown(examples[0])
                yield "```"
                yield ""


def problem_codes(operation: Mapping[str, Any]) -> list[str]:
    """The problems that an operation says it may answer with, in the order of their status."""
    codes: list[str] = []
    for _, answer in sorted(operation["responses"].items()):
        codes += answer.get("content", {}).get(CONTENT_TYPE, {}).get("examples", {})
    return codes


def _problems(operation: Mapping[str, Any]) -> Iterator[str]:
    by_status: dict[int, list[str]] = {}
    for code in problem_codes(operation):
        by_status.setdefault(PROBLEMS[code].status, []).append(f"`{code}`")
    if by_status:
        yield "[Problems](#problems):"
        yield ""
        for status, codes in by_status.items():
            yield f"- {status}: {', '.join(codes)}"
        yield ""


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}"
    yield ""
    yield f"{_one_line(operation['summary'])}. {_one_line(operation.get('description', ''))}".rstrip()
    yield ""
    yield f"**Who may.** {_who(operation)} In clients: `{operation['operationId']}`."
    yield ""
    yield from _parameters(operation)
    yield from _body(operation)
    yield from _answers(operation)
    yield from _problems(operation)


def _all_problems() -> Iterator[str]:
    yield "## Problems"
    yield ""
    yield f"Every problem is a document of RFC 9457, `{CONTENT_TYPE}`, whose `type` never changes:"
    yield ""
    yield "| type | status | code | title |"
    yield "| --- | --- | --- | --- |"
    for code, row in PROBLEMS.items():
        more = f". {_one_line(row.description)}" if row.description else ""
        yield f"| `{type_of(code)}` | {row.status} | `{code}` | {_one_line(row.title)}{more} |"
    yield ""


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    limits = RequestLimits()
    yield _INTRODUCTION.format(
        description=document["info"]["description"].strip(),
        most=limits.sequence_max_statements,
        most_bytes=limits.sequence_max_bytes,
    ).rstrip()
    yield ""
    tags: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for method, path, operation in operations(document):
        tags.setdefault(operation["tags"][0], []).append((method, path, operation))
    yield "| operation | | who may |"
    yield "| --- | --- | --- |"
    for method, path, operation in operations(document):
        who = "participant" if operation.get("security") else "anybody"
        yield f"| [`{method} {path}`](#{anchor(method, path)}) | {_one_line(operation['summary'])} | {who} |"
    yield ""
    for tag, of_tag in tags.items():
        yield f"## {tag.capitalize()}"
        yield ""
        for method, path, operation in of_tag:
            yield from _operation(method, path, operation)
    yield from _all_problems()


def text() -> str:
    """The page."""
    return "\n".join(lines(description())).rstrip() + "\n"
