"""Commands for what a stopped validator has on its disk: `comity storage`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_count

_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)


@click.group()
def storage() -> None:
    """Look after what a stopped validator has on its disk.

    DIRECTORY is the validator's `data`. While the validator runs, every command ends with 3.
    """


def _stop(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


@storage.command("downgrade")
@click.argument("directory", type=_DIRECTORY)
def downgrade(directory: Path) -> None:
    """Rewrite DIRECTORY for the release before this one, which knows no checksums.

    Nothing of it is lost; the present release rewrites it again when it is next started on it. Exit status: 0 done, 1 a
    record is damaged and nothing is given away, 3 it is in use or cannot be written.
    """
    from ledger.errors import UnknownDurableState
    from ledger.store import StoreUnavailable
    from nodes.checked_stores import take_back

    try:
        with progress_count("records rewritten") as on_rewritten:
            take_back(directory, on_rewritten)
    except StoreUnavailable as error:
        _stop(str(error), EXIT_UNAVAILABLE)
    except UnknownDurableState as error:
        _stop(str(error), EXIT_DOES_NOT_HOLD)
    click.echo(f"{directory}: is as the release before this one wants it")
