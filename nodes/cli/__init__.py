"""The command line, `comity`.

Exit status, the same for every command: 0 holds or done, 1 does not hold or was refused, 2 misuse, 3 something that
is needed is not available (a gateway, a file, an extra that is not installed).

Commands import what they need when they run, so that `verify` and `audit` work on the light install, where there is no
gRPC, no FastAPI and no LevelDB.
"""

from __future__ import annotations

import importlib
import traceback
from typing import Any, Final

import click

EXIT_HOLDS: Final = 0
EXIT_DOES_NOT_HOLD: Final = 1
EXIT_MISUSE: Final = 2
EXIT_UNAVAILABLE: Final = 3

# name -> (module, attribute, short help). The short help stands here so that `comity --help` imports nothing.
_COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "attachment": ("nodes.cli.attachments", "attachment", "Leave and fetch what statements refer to by hash."),
    "audit": ("nodes.cli.audit", "audit", "Audit a whole archive offline."),
    "certificate": ("nodes.cli.certificates", "certificate", "Make a CA, or a certificate for a node."),
    "crossing": ("nodes.cli.crossing", "crossing", "Make and print the certificate of a crossing."),
    "demo": ("nodes.cli.demo", "demo", "Run the main job: two authorities, a corridor, a proof."),
    "disclosure": ("nodes.cli.envelope", "disclosure", "Show single private fields to a third party."),
    "dwell": ("nodes.cli.dwell", "dwell_command", "Show how long passages took, from an archive."),
    "enrol": ("nodes.cli.participant", "enrol", "Enrol a participant's key on the ledger."),
    "envelope": ("nodes.cli.envelope", "envelope", "Seal private fields to both authorities, and open them."),
    "evidence": ("nodes.cli.evidence", "evidence", "List, show, make and verify evidence against signers."),
    "export": ("nodes.cli.exports", "export", "Export the archive, or one subject of it as EPCIS or WCO."),
    "find": ("nodes.cli.lookup", "find", "Find the declarations and movements of an identifier."),
    "gateway": ("nodes.cli.operator", "gateway", "Run a gateway."),
    "identify": ("nodes.cli.identify", "identify_command", "Say what kind of identifier a text is."),
    "import": ("nodes.cli.imports", "import_", "Import declarations from WCO Data Model XML."),
    "governance": ("nodes.cli.governance", "governance", "Propose and approve what both authorities decide."),
    "keys": ("nodes.cli.participant", "keys", "Make and show keys."),
    "membership": ("nodes.cli.membership", "membership", "Change who belongs to the order."),
    "mirror": ("nodes.cli.mirror", "mirror", "Keep an archive up to date from a gateway."),
    "network": ("nodes.cli.operator", "network", "Set up a network."),
    "pass": ("nodes.cli.crossing_pass", "crossing_pass", "Fetch, show and verify crossing passes."),
    "proof": ("nodes.cli.participant", "proof", "Fetch the proof of a statement."),
    "restore": ("nodes.cli.restore", "restore", "Give a new validator the ledger of a verified archive."),
    "sign": ("nodes.cli.participant", "sign", "Sign a statement."),
    "status-proof": ("nodes.cli.status_proof", "status_proof", "Fetch the proof of a record as it stands."),
    "status": ("nodes.cli.participant", "status", "Say how a network is doing."),
    "storage": ("nodes.cli.storage", "storage", "Check, repair or take back what a validator has on its disk."),
    "submit": ("nodes.cli.participant", "submit", "Send signed statements to a gateway."),
    "telemetry": ("nodes.cli.attachments", "telemetry", "Make and verify telemetry batches."),
    "validator": ("nodes.cli.operator", "validator", "Run a validator."),
    "verify": ("nodes.cli.verify", "verify", "Verify any proof offline, whatever it is."),
}

# Which extra brings the modules that a command may find missing.
_EXTRA_OF: Final[dict[str, str]] = {
    "grpc": "node",
    "plyvel": "node",
    "google": "node",
    "prometheus_client": "node",
    "structlog": "node",
    "fastapi": "gateway",
    "uvicorn": "gateway",
    "starlette": "gateway",
    "httpx": "client",
    "jwt": "client",
    "uvloop": "node",
    "lxml": "wco",
    "reportlab": "certificate",
    "segno": "certificate",
    "ttf_opensans": "certificate",
    "fontTools": "certificate",
    "pylopdf_fonts_zh_cn": "certificate",
    "distributed": "dask",
    "dask": "dask",
    "httptools": "gateway",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is not a command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        from nodes.cli.terminal import plain_streams

        with plain_streams():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, _, short) in sorted(_COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="comity")
def comity() -> None:
    """A ledger by which two customs authorities recognise each other's decisions.

    Exit status: 0 holds or done, 1 does not hold or refused, 2 misuse, 3 not available.
    """


def main() -> None:
    """Entry point. A missing extra is named instead of shown as a traceback."""
    from nodes.cli.terminal import plain_streams

    # What is said before a command begins and after it failed may hold what it got from outside, too.
    with plain_streams():
        _run()


def _run() -> None:
    try:
        comity()
    except ModuleNotFoundError as error:
        top = (error.name or "").split(".")[0]
        if top not in _EXTRA_OF:
            raise
        extra = _EXTRA_OF[top]
        click.echo(
            f"error: this needs {top}, which the light install does not have: "
            f"install this checkout with its extra `{extra}` (pip install '.[{extra}]')",
            err=True,
        )
        raise SystemExit(EXIT_UNAVAILABLE) from error
    except Exception as error:
        # Python would end with 1, which means "does not hold" here: a bug of ours says nothing about what was checked.
        traceback.print_exc()
        click.echo("error: this is a bug in comity; nothing can be concluded from it", err=True)
        raise SystemExit(EXIT_UNAVAILABLE) from error
