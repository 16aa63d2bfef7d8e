"""`comity pass`: fetch a crossing pass, show it as a QR code, and verify it at a gate that has no network."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE
from nodes.cli.offline import read_policy, read_small_file, stop
from nodes.cli.verify import report

# What a QR code of version 40 holds as bytes, at the lowest level of error correction.
MAX_QR_BYTES = 2_953
QR_SCALE = 6


class _Time(click.ParamType[int]):
    """A time as people write it, with its zone: 2026-11-22T14:05:00Z."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"expected a time as 2026-11-22T14:05:00Z, got {value[:40]!r}", param, ctx)
        if at.tzinfo is None:
            self.fail(f"expected a time with its zone, as 2026-11-22T14:05:00Z, got {value[:40]!r}", param, ctx)
        return int(at.astimezone(UTC).timestamp())


TIME = _Time()


@click.group("pass")
def crossing_pass() -> None:
    """Fetch, show and verify crossing passes."""


@crossing_pass.command("fetch")
@click.argument("mrn")
@click.option("--gateway", required=True, metavar="URL", help="A gateway, as http://127.0.0.1:8080.")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="That participant's private key.")
@click.option("--as", "participant_id", metavar="ID", help="Participant that asks; needed for what is not open.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to put the .pass.")
@click.option("--qr", type=click.Path(path_type=Path, dir_okay=False), help="Where to put its QR code: .svg or .png.")
def fetch(mrn: str, gateway: str, key: Path | None, participant_id: str | None, out: Path, qr: Path | None) -> None:
    """Fetch a pass of a movement: both authorities say that it may go on, now and for the governed minutes.

    Exit status: 0 done, 1 there is none, and why, 2 misuse, 3 an authority or the gateway cannot be reached.
    """
    from nodes.cli.participant import open_client, write_new

    with open_client(gateway, participant_id, key) as client:
        data = client.crossing_pass(mrn)
    write_new(out, data)
    click.echo(f"{out}: {len(data)} bytes; verify with: comity pass verify {out} --policy POLICY")
    if qr is not None:
        _write_qr(data, qr)


@crossing_pass.command("show")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--qr", type=click.Path(path_type=Path, dir_okay=False), help="Where to put its QR code: .svg or .png.")
@click.option("--json", "as_json", is_flag=True, help="Print what it says as JSON.")
def show(file: Path, qr: Path | None, as_json: bool) -> None:
    """Show what a pass says, believed or not, and put it into a QR code.

    Nothing is verified: that is `comity pass verify`. Exit status: 0 it is a pass, 1 it is none, 2 misuse.
    """
    from contracts.crossing_pass import parse_pass
    from contracts.verifying_kinds import pass_view, time_text
    from ledger.errors import Malformed

    data = read_small_file(file)
    try:
        view = pass_view(parse_pass(data))
    except Malformed as error:
        stop(f"{file}: {error}", EXIT_DOES_NOT_HOLD)
    if as_json:
        click.echo(json.dumps({"file": str(file), "bytes": len(data), **view}, indent=2))
    else:
        click.echo(f"{file}: NOT VERIFIED, {len(data)} bytes")
        click.echo(f"  movement {view['mrn']}, {view['state']}, in the custody of {view['custody']}")
        click.echo(f"  {view['exit_post']} to {view['entry_post']}")
        click.echo(f"  vehicle {view['vehicle']}, truck {view['truck']}")
        click.echo(
            f"  containers {', '.join(view['containers']) or 'none'}; seals {', '.join(view['seals']) or 'none'}"
        )
        for each in view["declarations"]:
            click.echo(
                f"  declaration {each['ucr']} version {each['version']}: {each['status']}, {each['recognition']}"
            )
        click.echo(f"  as of {time_text(view['as_of_s'])}, counts until {time_text(view['until_s'])}")
    if qr is not None:
        _write_qr(data, qr)


@crossing_pass.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--policy", "policy_path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe."
)
@click.option("--at", "at_s", type=TIME, help="At another time than now, as 2026-11-22T14:05:00Z.")
@click.option("--vehicle", help="The vehicle before you: country and plate as KZ/123ABC02, or fleet/BKT-0001.")
@click.option("--container", "containers", multiple=True, help="A container on it; once for each.")
@click.option("--seal", "seals", multiple=True, help="A seal on it, intact; once for each.")
@click.option("--no-containers", is_flag=True, help="There is no container on it.")
@click.option("--no-seals", is_flag=True, help="There is no seal on it.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def verify(
    file: Path,
    policy_path: Path,
    at_s: int | None,
    vehicle: str | None,
    containers: tuple[str, ...],
    seals: tuple[str, ...],
    no_containers: bool,
    no_seals: bool,
    as_json: bool,
) -> None:
    """Decide at a gate, offline: may the truck before you pass?

    What you do not say that you see is not compared, and named as not checked. Exit status: 0 it may, 1 it may not, and
    why, 2 misuse, 3 a file cannot be read.
    """
    from contracts.verifying import Context
    from contracts.verifying_kinds import check_pass

    if (containers and no_containers) or (seals and no_seals):
        stop("--container and --no-containers, --seal and --no-seals exclude each other", EXIT_MISUSE)
    context = Context(
        read_policy(policy_path),
        int(time.time()) if at_s is None else at_s,
        vehicle=vehicle,
        containers=containers if containers or no_containers else None,
        seals=seals if seals or no_seals else None,
    )
    report([(file, check_pass(read_small_file(file), context))], as_json)


def _write_qr(data: bytes, path: Path) -> None:
    """The bytes themselves, in one code: a reader gives them back as they are."""
    import segno

    from nodes.cli.participant import write_new

    if path.suffix not in (".svg", ".png"):
        stop(f"{path}: expected a name that ends in .svg or .png", EXIT_MISUSE)
    if len(data) > MAX_QR_BYTES:
        stop(f"{path}: too large for one QR code: expected at most {MAX_QR_BYTES} bytes, got {len(data)}", EXIT_MISUSE)
    code = segno.make_qr(data, mode="byte", error="l", boost_error=True)
    drawn = BytesIO()
    code.save(drawn, kind=path.suffix[1:], scale=QR_SCALE)
    write_new(path, drawn.getvalue())
    click.echo(f"{path}: QR code of version {code.version}-{code.error}")
