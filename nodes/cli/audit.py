"""`comity audit`: a whole archive, offline, on the light install."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.plain_text import plain
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_bar, read_policy, stop

if TYPE_CHECKING:
    from ledger.audit import AuditReport, Spread
    from ledger.audit_saved import SavedAudit

_file = click.Path(path_type=Path, dir_okay=False)
_folder = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("directory", metavar="ARCHIVE", type=_folder)
@click.option("--policy", "policy_path", required=True, type=_file, help="Whom to believe.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=lambda: os.cpu_count() or 1,
    show_default="one a core",
    help="Processes that check signatures and hashes.",
)
@click.option("--dask", "dask", metavar="ADDRESS", help="Check signatures and hashes on this Dask cluster instead.")
@click.option("--since", "since_path", type=_file, help="Go on from an earlier audit, which left this file.")
@click.option("--save", "save_path", type=_file, help="Leave here what the next audit needs, if there is no fault.")
@click.option("--html", "html_path", type=_file, help="Write the report as a page to read and print.")
@click.option("--evidence", "evidence_path", type=_folder, help="Write bundles of evidence, where faults are proofs.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def audit(
    directory: Path,
    policy_path: Path,
    jobs: int,
    dask: str | None,
    since_path: Path | None,
    save_path: Path | None,
    html_path: Path | None,
    evidence_path: Path | None,
    as_json: bool,
) -> None:
    """Audit a whole archive offline: every hash, signature and block record, and every block executed again.

    All faults are reported, each with its entry or file. The file that --save writes is the auditor's own, as the
    policy is: an audit that goes on with --since believes it that what came before had no fault, and nothing else.

    Exit status: 0 everything holds, 1 it does not, 2 misuse, 3 a file cannot be read or written.
    """
    from contracts.audit_figures import Figures
    from contracts.replay import ContractReplay
    from ledger.audit import Save, audit_archive
    from ledger.errors import Misuse
    from ledger.store import StoreUnavailable

    policy = read_policy(policy_path)
    if not directory.is_dir():
        stop(f"{directory}: there is no such directory", EXIT_UNAVAILABLE)
    program = this_program()
    since = None if since_path is None else _since(since_path, program, policy)
    figures = None if html_path is None else Figures()
    try:
        with _spread(dask) as spread, progress_bar("entries") as progress:
            report = audit_archive(
                directory,
                policy,
                ContractReplay(),
                jobs,
                progress,
                since=since,
                save=None if save_path is None else Save(save_path, program),
                spread=spread,
                observe=None if figures is None else figures.observe,
            )
    except Misuse as error:
        stop(str(error), EXIT_MISUSE)
    except StoreUnavailable as error:
        stop(str(error), EXIT_UNAVAILABLE)
    except OSError as error:
        stop(f"{save_path}: {error.strerror or error}", EXIT_UNAVAILABLE)
    bundles = [] if evidence_path is None else _write_evidence(evidence_path, directory, policy, report, since)
    if html_path is not None and figures is not None:
        from nodes.audit_page import Heading, audit_page

        heading = Heading(str(directory), str(policy_path), sha256(policy).hexdigest(), program)
        _write(html_path, audit_page(report, figures, heading))
    if as_json:
        shown = report.as_dict()
        if evidence_path is not None:
            shown["evidence"] = bundles
        click.echo(json.dumps(shown, indent=2))
    else:
        _print(directory, report)
        for line in bundles:
            click.echo(f"evidence: {line}")
        if save_path is not None:
            said = "what the next audit needs" if report.holds else "nothing was saved, as there are faults"
            click.echo(f"{save_path}: {said}")
    raise SystemExit(EXIT_HOLDS if report.holds else EXIT_DOES_NOT_HOLD)


def this_program() -> str:
    """The release, and what its rules really are: a digest of the modules that read, check and execute."""
    from importlib.metadata import version

    import contracts
    import ledger

    digest = sha256()
    for package in (ledger, contracts):
        for folder in sorted(package.__path__):
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{path.relative_to(folder)}\n".encode() + sha256(path.read_bytes()).digest())
    return f"comity {version('comity')} {digest.hexdigest()[:32]}"


def _since(path: Path, program: str, policy: bytes) -> SavedAudit:
    from ledger.audit_saved import SavedAudit
    from ledger.errors import Malformed, Misuse

    try:
        since = SavedAudit(path)
        since.check_goes_with(program, policy)
    except (Malformed, Misuse) as error:
        stop(str(error), EXIT_MISUSE)
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)
    return since


@contextmanager
def _spread(address: str | None) -> Iterator[Spread | None]:
    if address is None:
        yield None
        return
    from ledger.audit_dask import ClusterUnavailable, on_cluster

    try:
        with on_cluster(address) as spread:
            yield spread
    except ClusterUnavailable as error:
        stop(f"--dask {address}: {error}", EXIT_UNAVAILABLE)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        stop(f"{path}: {error.strerror or error}", EXIT_UNAVAILABLE)


def _write_evidence(
    folder: Path, directory: Path, policy: bytes, report: AuditReport, since: SavedAudit | None
) -> list[str]:
    """The bundles that the faults come to, each to a file named by its id."""
    from ledger.archive_tree import ArchiveTree
    from ledger.errors import LedgerError
    from ledger.evidence import SUFFIX, SignedHead
    from ledger.evidence_check import check_evidence
    from ledger.evidence_making import conflicting_heads, evidence_in_archive

    found = [] if report.holds else list(evidence_in_archive(directory, policy, report))
    if since is not None:
        # The checkpoint that was audited before, and the one of this archive: both were final.
        try:
            tree = ArchiveTree(directory)
            conflict = conflicting_heads(SignedHead(since.header.note), SignedHead(tree.note), tree)
            if conflict is not None and check_evidence([policy], conflict.encode()).holds:
                found.append(conflict)
        except LedgerError:
            pass  # the archive cannot be read as far as that: the report says why
    written = []
    for each in found:
        path = folder / f"{each.id}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            stop(f"{folder}: {error.strerror or error}", EXIT_UNAVAILABLE)
        raw = each.encode()
        _write(path, raw)
        written.append(f"{path}: {check_evidence([policy], raw).words}")
    return written


def _print(directory: Path, report: Any) -> None:
    from ledger.audit_report import Check
    from ledger.calendar import time_text

    click.echo(f"{directory}: {'holds' if report.holds else 'DOES NOT HOLD'}")
    click.echo(f"  {report.origin}: {report.size} entries, {report.statements} statements, {report.blocks} blocks")
    if report.before:
        click.echo(f"  the first {report.before} entries were audited before, and not read again")
    if report.root is not None:
        click.echo(f"  root {report.root.hex()}")
    for name, at_s in report.signed.items():
        click.echo(f"  cosigned by {name} at {time_text(at_s)}")
    for name in report.missing:
        click.echo(f"  not cosigned by {name}")
    for held in report.log_keys:
        click.echo(f"  log key of {held}")
    for number in report.membership_undecided:
        steps = ", ".join(report.membership[number - 1])
        click.echo(
            f"  membership change {number} ({steps}): holds by its signatures; no proposal on the log decided it"
        )
    for check in Check:
        faults = sum(fault.check is check for fault in report.faults) + report.uncounted.get(check, 0)
        click.echo(f"  {int(check):>2} {'holds' if not faults else f'{faults} FAULTS':<10} {check.sentence}")
    for fault in report.faults:
        click.echo(f"fault: {plain(str(fault))}")
    for check, count in report.uncounted.items():
        click.echo(f"fault: check {int(check)}: {count} more")
    if report.not_comparable_from is not None:
        click.echo(
            f"from entry {report.not_comparable_from} on, execution was not compared: {report.not_comparable_because}"
        )
