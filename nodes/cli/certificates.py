"""`comity certificate`: a new CA for an authority, and a new certificate for one of its nodes.

For what ends or was lost. A CA counts once both authorities have decided so (`comity governance propose --ca`); the
certificate of a node is that authority's own affair. Nothing is overwritten: what is made is put in place by hand.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import NoReturn

import click

from nodes.cli import EXIT_MISUSE
from nodes.cli.participant import write_new

_FOLDER = click.Path(path_type=Path, file_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
_PRIVATE = 0o600


def _misuse(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(EXIT_MISUSE)


def _folder(directory: Path, *names: str) -> None:
    """Make it, unless one of these is there: no pair of files is ever left half."""
    for name in names:
        if (directory / name).exists():
            _misuse(f"{directory / name}: is there already; nothing is overwritten")
    directory.mkdir(parents=True, exist_ok=True)


@click.group()
def certificate() -> None:
    """Make a CA for an authority, or a certificate for one of its nodes."""


@certificate.command("ca")
@click.argument("directory", type=_FOLDER)
@click.option("--authority", required=True, metavar="NAME", help="The authority whose it is to be.")
@click.option("--country", required=True, metavar="CODE", help="Its ISO 3166 country, two capital letters.")
@_JSON
def certificate_ca(directory: Path, authority: str, country: str, as_json: bool) -> None:
    """Make a CA in DIRECTORY: ca.pem and ca.key. It counts once both authorities have decided so.

    Prints the SHA-256 of the certificate, which the operators of both sides read to each other.
    """
    from nodes import certificates

    if len(country) != 2 or not country.isascii() or not country.isupper():
        _misuse(f"--country: expected two capital letters, got {country!r}")
    _folder(directory, "ca.pem", "ca.key")
    ca = certificates.create_authority(authority, country, datetime.datetime.now(datetime.UTC))
    write_new(directory / "ca.key", ca.key_pem, _PRIVATE)
    write_new(directory / "ca.pem", ca.certificate_pem)
    digest = certificates.certificate_sha256(ca.certificate_pem).hex()
    if as_json:
        click.echo(json.dumps({"certificate": str(directory / "ca.pem"), "sha256": digest}, indent=2))
        return
    click.echo(f"{directory / 'ca.pem'}: sha-256 {digest}")
    click.echo(
        f"propose it with: comity governance propose … --ca {authority}={directory / 'ca.pem'} --overlap SECONDS"
    )


@certificate.command("node")
@click.argument("directory", type=_FOLDER)
@click.option("--name", required=True, help="The node's name, as the others know it.")
@click.option(
    "--ca", "ca_directory", required=True, type=_FOLDER, help="Folder with the authority's ca.pem and ca.key."
)
@click.option("--address", "addresses", multiple=True, metavar="HOST", help="A gateway's further names or addresses.")
@_JSON
def certificate_node(directory: Path, name: str, ca_directory: Path, addresses: tuple[str, ...], as_json: bool) -> None:
    """Make a certificate of the CA for the node NAME in DIRECTORY: certificate.pem and certificate.key.

    Put both in the place of the node's, together, and start it again.
    """
    from nodes import certificates
    from nodes.cli.offline import read_small_file
    from nodes.config import ConfigError
    from nodes.network import check_node_name

    try:
        check_node_name(name)
        ca = certificates.load_authority(
            read_small_file(ca_directory / "ca.pem"), read_small_file(ca_directory / "ca.key")
        )
    except (ConfigError, ValueError) as error:
        _misuse(str(error))
    _folder(directory, "certificate.pem", "certificate.key")
    now = datetime.datetime.now(datetime.UTC)
    made, key = certificates.issue(ca, name, now, extra_names=addresses)
    write_new(directory / "certificate.key", key, _PRIVATE)
    write_new(directory / "certificate.pem", made)
    ends = (now + certificates.NODE_LIFETIME).date().isoformat()
    if as_json:
        click.echo(
            json.dumps({"certificate": str(directory / "certificate.pem"), "name": name, "ends": ends}, indent=2)
        )
        return
    click.echo(f"{directory / 'certificate.pem'}: of {name}, ends {ends}")
