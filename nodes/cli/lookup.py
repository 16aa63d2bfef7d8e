"""`comity find`: from any identifier to the declarations and movements that it belongs to."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE
from nodes.cli.participant import gateway_option, open_client, signer_options

# As in api.lookup.ASKED, which the light install does not have; tests hold the two against each other.
KINDS = ("ucr", "number", "kz_number", "cn_number", "mrn", "container", "seal", "vehicle", "truck", "participant")
MAX_FOUND = 100_000


@click.command()
@click.argument("identifier")
@gateway_option()
@signer_options
@click.option("--kind", type=click.Choice(KINDS), help="What IDENTIFIER is, if its form is not to be guessed.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_FOUND), default=100, show_default=True, help="Show so many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def find(
    identifier: str,
    gateway: str,
    participant_id: str | None,
    key: Path | None,
    kind: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find the declarations and movements that IDENTIFIER belongs to, newest first.

    IDENTIFIER is a UCR, a declaration number of either country, an MRN, a container, a seal, a vehicle (CC/PLATE or
    fleet/ID) or a participant. Only what the participant that asks may see is found.

    Exit status: 0 found, 1 nothing is there that may be seen, or the gateway refused, 2 misuse, 3 not available.
    """
    if participant_id is None:
        click.echo("error: say who asks with --as and --key: a gateway shows a caller what it may see", err=True)
        raise SystemExit(EXIT_MISUSE)
    with open_client(gateway, participant_id, key) as client:
        found = list(islice(client.find(identifier, kind=kind or "", page_items=min(limit, 100)), limit + 1))
    more = len(found) > limit
    del found[limit:]
    if as_json:
        click.echo(json.dumps({"found": found, "more": more}, indent=2, ensure_ascii=False))
    else:
        for each in found:
            _print(each)
        if more:
            click.echo(f"there are more than {limit}: ask for more with --limit")
        if not found:
            click.echo(f"nothing that {participant_id} may see mentions {identifier}", err=True)
    raise SystemExit(EXIT_HOLDS if found else EXIT_DOES_NOT_HOLD)


def _print(each: dict[str, Any]) -> None:
    by = each["found_by"]
    click.echo(f"{each['key']}: {each['state']}")
    click.echo(f"  found by {by['kind']} {by['identifier']}, entries {each['first_entry']} to {each['last_entry']}")
    for name, value in each["identifiers"].items():
        for text in _texts(value):
            click.echo(f"  {name} {text}")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name} {text}" for name, text in value.items() if text]
    if isinstance(value, list):
        return [text for each in value for text in (_carried(each) if isinstance(each, dict) else [str(each)])]
    return [str(value)] if value else []


def _carried(each: dict[str, Any]) -> list[str]:
    numbers = "".join(f", {country} {number}" for country, number in each["numbers"].items() if number)
    return [f"{each['ucr']} version {each['version']}{numbers}"]
