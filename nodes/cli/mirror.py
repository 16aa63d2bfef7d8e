"""`comity mirror`: an archive of one's own that is kept up to date, verified as it grows."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ledger.errors import LedgerError, Misuse, Untrue
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE
from nodes.cli.offline import progress_bar, read_policy
from nodes.cli.participant import checkpoint_for, connect, gateway_option, signer_options, stop

if TYPE_CHECKING:
    from api.client import Client
    from ledger.archive import ExportReport

# Between two attempts while nobody answers: doubled each time, up to this.
MAX_PAUSE_S = 300.0
CONTRADICTION = ".contradiction"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@gateway_option()
@click.option(
    "--policy",
    "policy_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Whom to believe.",
)
@signer_options
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1, 86_400),
    default=10.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Bring it up to date and end.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each checkpoint.")
def mirror(
    directory: Path,
    gateway: str,
    policy_path: Path,
    participant_id: str | None,
    key: Path | None,
    every_s: float,
    once: bool,
    as_json: bool,
) -> None:
    """Keep the archive in DIRECTORY up to date from a gateway, until it is told to stop (SIGINT, SIGTERM).

    Every checkpoint has to be final under the policy and to go on from the one before, and every hash and entry has to
    be of its tree, before it is in its place; an interruption at any instant leaves the archive that was there. That
    statements are signed and executed as they should be is for `comity audit DIRECTORY` to say, at any time.

    Where a log key was replaced, the new policy file (comity governance policy) may be put in place while the mirror
    runs: it is read as soon as no log key of the one before signs any more. Without one the mirror ends with exit
    status 1 and says so; the archive stays, and goes on with the new file.

    A gateway that cannot be reached is asked again. One that shows another history ends the mirror with exit status 1:
    both checkpoints, and evidence made of them that `comity verify` takes, are kept in DIRECTORY.contradiction, for the
    other authority and for a court. What is there is never overwritten.

    Entries are for authorities and auditors: name one with --as and --key. Exit status: 0 told to stop, or up to date
    with --once; 1 what the gateway shows does not hold; 2 misuse; 3 not available (with --once, or the disk).
    """
    if participant_id is None:
        stop("entries are for authorities and auditors: name one with --as and --key", EXIT_MISUSE)
    with closing(_Told()) as told:
        _Mirror(directory, gateway, policy_path, participant_id, key, as_json).run(told, every_s, once)


class _Told:
    """Whether a signal has told us to stop. The second one ends the process where it is, which loses nothing either.

    A pipe and no `threading.Event`: a handler runs in the thread that waits, which may hold the event's lock.
    """

    def __init__(self) -> None:
        self.stop = False
        self._read, self._write = os.pipe()
        self._before = {number: signal.signal(number, self._tell) for number in (signal.SIGINT, signal.SIGTERM)}

    def _tell(self, number: int, _: object) -> None:
        self.stop = True
        os.write(self._write, b"s")
        signal.signal(number, signal.SIG_DFL)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until told to stop; whether we were."""
        select.select([self._read], [], [], seconds)
        return self.stop

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


class _Stopped(Exception):
    """Told to stop in the middle of a round."""


class _Mirror:
    def __init__(
        self, directory: Path, gateway: str, policy_path: Path, participant_id: str, key: Path | None, as_json: bool
    ) -> None:
        self._directory = directory
        self._gateway = gateway
        self._policy_path = policy_path
        self._policy = read_policy(policy_path)
        self._participant_id = participant_id
        self._key = key
        self._as_json = as_json
        self._recheck = True
        self._silent = False

    def run(self, told: _Told, every_s: float, once: bool) -> None:
        from api import client as http

        failures = 0
        while not told.stop:
            try:
                with connect(self._gateway, self._participant_id, self._key) as client:
                    while not told.stop:
                        self._round(client, told)
                        failures = 0
                        if once or told.wait(every_s):
                            return
            except (http.Unreachable, http.Unavailable, http.Overloaded) as error:
                if once:
                    stop(f"{self._gateway}: {error}", EXIT_UNAVAILABLE)
                if not failures:
                    click.echo(f"{self._gateway}: {error}; asking again", err=True)
                failures += 1
                told.wait(min(MAX_PAUSE_S, every_s * 2 ** min(failures - 1, 16)))
            except http.ClientError as error:
                stop(f"{self._gateway}: {error}", EXIT_DOES_NOT_HOLD)
            except _Stopped:
                return

    def _round(self, client: Client, told: _Told) -> None:
        began_s = time.monotonic()
        try:
            note = self._final_note(client)
        except LedgerError as error:
            stop(f"{self._gateway}: {error}", EXIT_DOES_NOT_HOLD)
        try:
            if self._is_behind(note):
                return
            changes = "".join(client.membership()["changes"]).encode()
            done = self._export(client, note, changes, told)
        except Untrue as error:
            if error.code == "history_differs":
                self._keep_contradiction(client, note, str(error))
            stop(f"{self._gateway}: {error}", EXIT_DOES_NOT_HOLD)
        except Misuse as error:
            stop(str(error), EXIT_MISUSE)
        except LedgerError as error:
            stop(f"{self._gateway}: {error}", EXIT_DOES_NOT_HOLD)
        except OSError as error:
            stop(f"{self._directory}: {error.strerror or error}", EXIT_UNAVAILABLE)
        self._say(done, time.monotonic() - began_s)

    def _final_note(self, client: Client) -> bytes:
        """Where no log key that we know has signed: is there another policy file since? A log key may be replaced."""
        try:
            return checkpoint_for(client, self._policy)
        except Untrue as error:
            if error.code != "log_signature_missing":
                raise
        present = read_policy(self._policy_path)
        if present == self._policy:
            stop(
                f"{self._gateway}: no log key that {self._policy_path} names has signed the checkpoint. If one was "
                "replaced, write the file anew with comity governance policy, and start again: "
                f"{self._directory} is as it was, and goes on from there",
                EXIT_DOES_NOT_HOLD,
            )
        click.echo(f"{self._policy_path} was replaced: going on with what it says now", err=True)
        self._policy = present
        return checkpoint_for(client, self._policy)

    def _export(self, client: Client, note: bytes, changes: bytes, told: _Told) -> ExportReport:
        from ledger.archive import export_archive

        with progress_bar("files") as progress:

            def step(done: int, total: int) -> None:
                if told.stop:
                    raise _Stopped
                if progress is not None:
                    progress(done, total)

            done = export_archive(client, self._directory, self._policy, note, step, changes, recheck=self._recheck)
        self._recheck = False
        return done

    def _is_behind(self, note: bytes) -> bool:
        """Whether the gateway knows less than the archive; then what it knows has to be the archive's beginning."""
        from ledger.archive_proof import ArchiveFolder, root_of_archive
        from ledger.checkpoint import parse_checkpoint
        from ledger.note import parse_note
        from ledger.policy import parse_policy, verify_checkpoint

        offered = verify_checkpoint(note, parse_policy(self._policy))
        if not (self._directory / "checkpoint").exists():
            return False
        folder = ArchiveFolder(self._directory)
        present = parse_checkpoint(parse_note(folder.checkpoint()).text)
        if offered.origin != present.origin or offered.size >= present.size:
            return False
        if root_of_archive(folder, present.size, offered.size) != offered.root:
            raise Untrue(
                "history_differs",
                f"{self._directory} had another root at {offered.size} entries than the final checkpoint that the "
                "gateway shows: both authorities cosigned two histories",
            )
        return True

    def _keep_contradiction(self, client: Client, offered: bytes, reason: str) -> NoReturn:
        """Keep what shows it, each file under a name of what it holds, so that nothing takes the place of another."""
        from ledger.errors import Malformed
        from ledger.evidence import SUFFIX

        kept = self._directory.with_name(self._directory.name + CONTRADICTION)
        bundle = None
        why = "it does not hold by this policy"
        try:
            present = (self._directory / "checkpoint").read_bytes()
            for note in (present, offered):
                _keep(kept, note, ".checkpoint")
            bundle = self._evidence(client, present, offered)
            said = None if bundle is None else _keep(kept, bundle, SUFFIX)
        except OSError as error:
            stop(f"{reason}. It could not be kept: {kept}: {error.strerror or error}", EXIT_DOES_NOT_HOLD)
        except (Malformed, Misuse) as error:
            said, why = None, str(error)
        if said is None:
            shown = f"No evidence could be made of it ({why}). Both checkpoints are in {kept}: keep them"
        else:
            shown = f"The evidence is {said}: comity verify {said} --policy POLICY. Keep it"
        stop(
            f"{reason}. {shown} and {self._directory}, and show them to the other authority; nothing was changed in "
            "the archive",
            EXIT_DOES_NOT_HOLD,
        )

    def _evidence(self, client: Client, present: bytes, offered: bytes) -> bytes | None:
        """A bundle that a stranger believes; None if he would not. The larger tree is here, or the gateway's."""
        from api.client import ClientError
        from ledger.archive_tree import ArchiveTree, ServedTree
        from ledger.errors import Malformed
        from ledger.evidence import SignedHead
        from ledger.evidence_check import check_evidence
        from ledger.evidence_making import conflicting_heads

        mine, theirs = SignedHead(present), SignedHead(offered)
        size = theirs.checkpoint.size
        tree = ServedTree(client, size) if size > mine.checkpoint.size else ArchiveTree(self._directory)
        try:
            found = conflicting_heads(mine, theirs, tree)
        except ClientError as error:
            raise Malformed("bad_archive", f"{self._gateway}: {error}") from error
        if found is None or not check_evidence([self._policy], found.encode()).holds:
            return None
        return found.encode()

    def _say(self, done: ExportReport, took_s: float) -> None:
        checkpoint = done.checkpoint
        if not done.written and self._silent:
            return
        self._silent = True
        if self._as_json:
            shown = {
                "directory": str(self._directory),
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "files_written": done.written,
                "files_removed": done.removed,
                "took_ms": round(took_s * 1000),
            }
            click.echo(json.dumps(shown))
        else:
            click.echo(f"{checkpoint.size} entries, {done.written} files written, root {checkpoint.root.hex()}")


def _keep(folder: Path, data: bytes, suffix: str) -> Path:
    """Raises OSError. A file of that name is that very file, whole: one that was cut short gets no name."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{sha256(data).hexdigest()[:32]}{suffix}"
    if not path.exists():
        begun = path.with_name(f".{path.name}.part")
        with begun.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        begun.rename(path)
    return path
