"""`comity restore`: a validator from a verified archive."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_bar, read_policy, stop


@click.command()
@click.argument("archive", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="validator.toml of a validator that has not started yet.",
)
@click.option(
    "--policy", "policy_path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was restored as JSON.")
def restore(archive: Path, config_path: Path, policy_path: Path, as_json: bool) -> None:
    """Give a new validator the ledger that is in ARCHIVE, verified and executed again.

    The validator is one that `comity validator init` made and that has not started yet. Everything is checked on the
    way: the checkpoint under the policy, every hash and signature, every block executed again to the state root that
    it records. Nothing is in place before all of it holds.

    Started, it serves records and proofs up to the archive's checkpoint, with nobody else there. Once a change of the
    membership has let it in, it fetches from the others what came since, and refuses a history that does not contain
    the archive's.

    Exit status: 0 restored, 1 the archive does not hold, 2 misuse, 3 not available (a file, the disk).
    """
    from ledger.errors import LedgerError, Misuse
    from ledger.store import StoreUnavailable
    from nodes.config import ConfigError, load_validator_config
    from nodes.environment import Environment
    from nodes.identity import load_identity
    from nodes.restoring import restore as make_ledger

    policy = read_policy(policy_path)
    if not archive.is_dir():
        stop(f"{archive}: there is no such directory", EXIT_UNAVAILABLE)
    try:
        config = load_validator_config(config_path)
        identity = load_identity(config)
        with progress_bar("entries") as progress:
            done = make_ledger(
                archive,
                config,
                identity,
                policy,
                open_store=Environment().open_store,
                threads=max(1, (os.cpu_count() or 1) - 1),
                progress=progress,
            )
    except (ConfigError, Misuse) as error:
        stop(str(error), EXIT_MISUSE)
    except StoreUnavailable as error:
        stop(str(error), EXIT_UNAVAILABLE)
    except LedgerError as error:
        replaced = getattr(error, "code", "") == "log_signature_missing"
        hint = f". If a log key was replaced since {policy_path} was written: comity governance policy writes it anew"
        stop(f"{archive}: {error}{hint if replaced else ''}", EXIT_DOES_NOT_HOLD)
    except OSError as error:
        stop(f"{error.filename or archive}: {error.strerror or error}", EXIT_UNAVAILABLE)
    if as_json:
        shown = {
            "validator": config.name,
            "origin": done.checkpoint.origin,
            "size": done.checkpoint.size,
            "root": done.checkpoint.root.hex(),
            "height": done.height,
            "statements": done.statements,
        }
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(
        f"{config.name}: {done.checkpoint.size} entries up to height {done.height}, root {done.checkpoint.root.hex()}"
    )
    click.echo(f"  comity validator run --config {config_path}")
