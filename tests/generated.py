"""Is everything that is generated up to date? `python -m tests.generated` compares, `--write` writes.

What is generated is committed, so that a user needs no generator and a reviewer sees what changed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO_DIRECTORIES = ("api/proto", "nodes/proto")


def _protocol_code() -> dict[str, bytes]:
    sources = [str(p.relative_to(ROOT)) for d in PROTO_DIRECTORIES for p in sorted((ROOT / d).glob("*.proto"))]
    with tempfile.TemporaryDirectory() as directory:
        outs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outs, *sources]
        subprocess.run(command, cwd=ROOT, check=True)
        out = Path(directory)
        return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.py*"))}


def _contract_reference() -> dict[str, bytes]:
    from contracts.reference import outcomes_text, text

    return {"docs/contracts.md": text().encode(), "docs/outcomes.md": outcomes_text().encode()}


def _payload_schemas() -> dict[str, bytes]:
    from contracts.json_schema import payload_schemas

    return {
        f"docs/schemas/{name}.json": (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
        for name, document in payload_schemas().items()
    }


def _diagrams() -> dict[str, bytes]:
    from contracts.catalogue import CONTRACTS
    from contracts.diagram import diagram
    from contracts.reference import diagram_name

    return {
        f"docs/diagrams/{diagram_name(contract, machine)}.svg": diagram(contract, machine).encode()
        for contract in CONTRACTS.values()
        for machine in contract.machines
    }


def _command_reference() -> dict[str, bytes]:
    from nodes.cli.reference import render

    return {"docs/commands.md": render().encode()}


def _metrics_reference() -> dict[str, bytes]:
    from nodes.metrics_reference import PAGE, text

    return {PAGE: text().encode()}


def _http_reference() -> dict[str, bytes]:
    from api.http_reference import PAGE, text

    return {PAGE: text().encode()}


def _format_tables() -> dict[str, bytes]:
    from api.wco.reference import PAGES, fill

    pages = {}
    for name, tables in PAGES.items():
        page = (ROOT / name).read_text(encoding="utf-8")
        for table, lines in tables.items():
            page = fill(page, table, lines())
        pages[name] = page.encode()
    return pages


def _verify_page_tables() -> dict[str, bytes]:
    from api.verify_tables import tables_js

    return {"api/verify/tables.js": tables_js().encode()}


GENERATORS: tuple[Callable[[], dict[str, bytes]], ...] = (
    _protocol_code,
    _contract_reference,
    _payload_schemas,
    _diagrams,
    _command_reference,
    _metrics_reference,
    _http_reference,
    _format_tables,
    _verify_page_tables,
)
# Folders in which nothing but what is generated may lie: a file that nothing writes any more is told of, and removed.
GENERATED_FOLDERS = ("docs/schemas", "docs/diagrams")


def main(arguments: list[str]) -> int:
    write = "--write" in arguments
    stale = []
    generated = {name: content for generate in GENERATORS for name, content in generate().items()}
    for folder in GENERATED_FOLDERS:
        for path in sorted((ROOT / folder).glob("*")):
            if str(path.relative_to(ROOT)) not in generated:
                stale.append(str(path.relative_to(ROOT)))
                if write:
                    path.unlink()
    for name, content in generated.items():
        path = ROOT / name
        if path.exists() and path.read_bytes() == content:
            continue
        stale.append(name)
        if write:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    for name in stale:
        print(f"{'written' if write else 'out of date'}: {name}")  # noqa: T201
    if stale and not write:
        print("run: make generate")  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
