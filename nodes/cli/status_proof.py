"""`comity status-proof`: a record as it stands, or that there is none, as a file that anybody verifies offline."""

from __future__ import annotations

from pathlib import Path

import click

from nodes.cli.participant import gateway_option, open_client, signer_options, write_new

COLLECTIONS = {"declaration": "declarations", "movement": "movements", "participant": "participants"}


@click.command("status-proof")
@click.argument("sort", metavar="SORT", type=click.Choice(list(COLLECTIONS)))
@click.argument("name", metavar="UCR_MRN_OR_ID")
@gateway_option()
@signer_options
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to put the .status-proof."
)
def status_proof(sort: str, name: str, gateway: str, participant_id: str | None, key: Path | None, out: Path) -> None:
    """Fetch the proof of a record as it stands, or that there is none.

    SORT is declaration, movement or participant. `comity verify` checks the proof offline, and says as of when the
    record is. That there is no record is proven to customs and auditors only.
    """
    with open_client(gateway, participant_id, key) as client:
        write_new(out, client.status_proof(COLLECTIONS[sort], name))
    click.echo(f"{out}: verify with: comity verify {out} --policy POLICY")
