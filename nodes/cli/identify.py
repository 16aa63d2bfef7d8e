"""`comity identify`: what kind of identifier a text is, and which character is wrong. No network, the light install."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from contracts.identifiers import IdentifierError
from contracts.identify import KINDS, MAX_TEXT_CHARS, Identification, Kind, identify
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE

# Of what a text is not, so many kinds are explained, if more than so many characters were right; --kind explains any.
MAX_EXPLAINED = 3
NEAR_CHARS = 4
MAX_LINES = 100_000


@click.command("identify")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Check the form of this kind alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def identify_command(texts: tuple[str, ...], kind: str | None, as_json: bool) -> None:
    """Say what kinds of identifier TEXT is, with its parts, and what is wrong with it as another.

    Only form and check digits are judged, as the contracts judge them. TEXT may be - for lines of standard input.

    Exit status: 0 every TEXT is an identifier (of the kind asked for), 1 some TEXT is none, 2 misuse.
    """
    wanted: list[str] = []
    for text in texts:
        wanted += [line.rstrip("\n") for line in sys.stdin] if text == "-" else [text]
    if len(wanted) > MAX_LINES:
        click.echo(f"error: too many: expected at most {MAX_LINES} texts, got {len(wanted)}", err=True)
        raise SystemExit(EXIT_MISUSE)
    for text in wanted:
        if len(text) > MAX_TEXT_CHARS:
            click.echo(f"error: too long: expected at most {MAX_TEXT_CHARS} characters, got {len(text)}", err=True)
            raise SystemExit(EXIT_MISUSE)
    found = [identify(text, (kind,) if kind else ()) for text in wanted]
    if as_json:
        click.echo(json.dumps([_document(each) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            _print(each)
    raise SystemExit(EXIT_HOLDS if all(each.readings for each in found) else EXIT_DOES_NOT_HOLD)


def _document(found: Identification) -> dict[str, Any]:
    return {
        "text": found.text,
        "readings": [
            {"kind": reading.kind.name, "certain": reading.kind.certain, "parts": reading.parts}
            for reading in found.readings
        ],
        "meant": [{"kind": kind.name, "canonical": spelled} for kind, spelled in found.meant],
        "errors": [
            {"kind": kind.name, "character": error.position, "expected": error.expected, "got": error.got}
            for kind, error in found.errors
        ],
    }


def _print(found: Identification) -> None:
    click.echo(found.text)
    for reading in found.readings:
        parts = "  ".join(f"{name} {value}" for name, value in reading.parts.items())
        click.echo(f"  is a {reading.kind.title}" + (f": {parts}" if parts else ""))
    for kind, spelled in found.meant:
        click.echo(f"  would be a {kind.title}, written {spelled}")
    for kind, error in _worth_explaining(found):
        pointer = " " * (error.position - 1) + "^"
        click.echo(f"  is no {kind.title} ({kind.form}):")
        click.echo(f"    {found.text}")
        click.echo(f"    {pointer} character {error.position}: expected {error.expected}, got {error.got}")


def _worth_explaining(found: Identification) -> list[tuple[Kind, IdentifierError]]:
    """What the text came near to, where it is nothing that its form alone makes sure of."""
    if any(reading.kind.certain for reading in found.readings):
        return []
    near = [each for each in found.errors if each[0].certain and each[1].position > NEAR_CHARS]
    return (near or ([] if found.readings else list(found.errors)))[:MAX_EXPLAINED]
