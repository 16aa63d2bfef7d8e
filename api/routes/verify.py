"""The page that verifies in the browser, and the modules it is made of: static files, open to everybody.

Nothing is sent to the gateway: files are read and checked where the page is open. Who does not want to take the page
from a gateway takes it from a checkout (`api/verify`) and serves it from the own machine.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from api.problems import Problem
from api.routes.common import problems

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}

router = APIRouter(tags=["verify"])


@cache
def pages() -> dict[str, bytes]:
    """The files of the page, by name."""
    folder = files("api") / "verify"
    names = sorted(each.name for each in folder.iterdir() if each.name.rpartition(".")[2] in MEDIA_TYPES)
    return {name: (folder / name).read_bytes() for name in names}


@router.get("/verify", include_in_schema=False)
async def get_verify() -> Response:
    # Relative: whatever path a proxy puts the gateway under stays in front.
    return RedirectResponse("verify/", 308)


@router.get(
    "/verify/{name:path}",
    operation_id="getVerifyPage",
    summary="The page that verifies proofs, passes and certificates in the browser",
    description="Static files; `/verify/` is the page. It sends nothing: what is dropped on it stays where it is.",
    response_class=Response,
    responses={
        200: {
            "description": "A file of the page",
            "content": {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>…"}},
        },
        304: {
            "description": "Not modified",
            "content": {"text/html": {"schema": {"type": "string"}, "example": ""}},
        },
        **problems("not_found"),
    },
)
async def get_verify_page(
    request: Request, name: Annotated[str, Path(description="Name of the file.", examples=["index.html"])]
) -> Response:
    name = name or "index.html"
    content = pages().get(name)
    if content is None:
        raise Problem("not_found")
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={**HEADERS, "ETag": tag})
    return Response(content, 200, {**HEADERS, "ETag": tag}, media_type=MEDIA_TYPES[name.rpartition(".")[2]])
