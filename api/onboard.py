"""The device's side of an unreliable link: what a truck, a terminal or a seal runs to sign, keep, and send again.

Three things on the device's own disk: statements, in the outbox; a track, the fixes that no statement has signed yet;
and batches, the bytes that statements signed by hash and no gateway has yet.

Promises: what `sign` returned for is on the disk and is sent, the very same bytes, until it is final or definitely
refused; what is about one thing is sent in the order of signing. A fix that was recorded and flushed is in exactly one
batch, whatever happens in between. A batch is deleted here only once a gateway has answered that it has it.

What is *definite*: the contracts' answer, and bytes that are no statement. All else (no answer, 429, 5xx, a token that
is not believed) is *not now*, and is tried again. A refused statement is noted in `<name>.refused`, a JSON object a
line.

Does not: wait, sleep or run by itself. The caller calls `send` (or awaits `send_async`) when it thinks there is a link,
as often as it likes. What is sent, in which order, and what an answer means is written once, for both.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from api.attachment_kinds import TELEMETRY, references_of
from api.exchange import (
    ClientError,
    MalformedStatement,
    NotAuthenticated,
    Overloaded,
    ProblemError,
    RejectedStatement,
    Unavailable,
    UntrueStatement,
)
from api.outbox import Outbox
from contracts.escort_payloads import MAX_BATCH_FIXES
from contracts.telemetry import Fix, batch_payload, encode_telemetry
from ledger.algorithms import PrivateKey
from ledger.cbor import Value
from ledger.errors import Misuse
from ledger.statement import CTI_BYTES, Statement, sign_statement

_ROW = struct.Struct(">QiiI")  # a time, a place, a speed and one more, 0 where it is not known
SPEED_UNKNOWN = 0
_DEFINITE_CODES = frozenset({"bad_attachment", "attachment_differs", "too_large", "not_yours_to_send"})


class Receipt(Protocol):
    @property
    def final(self) -> bool: ...


class Link(Protocol):
    """What of a client is needed: `api.client.Client` has it."""

    def submit(self, raw: bytes, *, wait: str = "committed") -> Receipt: ...
    def put_attachment(self, media_type: str, data: bytes) -> bool: ...


class AsyncLink(Protocol):
    """The same of an asynchronous client: `api.client.AsyncClient` has it."""

    def submit(self, raw: bytes, *, wait: str = "committed") -> Awaitable[Receipt]: ...
    def put_attachment(self, media_type: str, data: bytes) -> Awaitable[bool]: ...


# One thing to have a link do. It is answered with what the link answered, or with the ClientError that it raised.
Errand = Callable[[Any], Any]
Errands = Generator[Errand, Any, bool]


@dataclass(slots=True)
class Sent:
    """What one round came to."""

    final: int = 0
    refused: int = 0
    batches: int = 0
    waiting: int = 0  # statements and batches that are still to be sent
    last_error: ClientError | None = None


class OnboardDevice:
    """One participant's device. `clock_s` is the device's own; `random_bytes` gives what makes a statement unique."""

    def __init__(
        self,
        participant: str,
        key: PrivateKey,
        directory: Path,
        *,
        clock_s: Callable[[], int],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.participant = participant
        self._key = key
        self._clock_s = clock_s
        self._random = random_bytes
        self._outbox = Outbox(directory, participant)
        stem = directory / participant.replace("/", "~")
        self._track_path = stem.with_name(stem.name + ".track")
        self._refused_path = stem.with_name(stem.name + ".refused")
        self._batches = stem.with_name(stem.name + ".batches")
        self._batches.mkdir(exist_ok=True)
        self._track_subject, self._track = self._load_track()
        self._settle()
        self._track_file = self._track_path.open("ab")

    @property
    def waiting(self) -> int:
        return len(self._outbox) + len(self._batch_paths())

    @property
    def batches_waiting(self) -> int:
        """Batches that are signed and not with a gateway yet."""
        return len(self._batch_paths())

    @property
    def fixes(self) -> int:
        """How many fixes of the track no statement has signed yet."""
        return len(self._track)

    def subjects(self) -> list[str]:
        """What the statements that wait are about."""
        return self._outbox.subjects()

    def close(self) -> None:
        self._track_file.close()
        self._outbox.close()

    # ---- signing

    def sign(self, kind: str, subject: str, payload: Mapping[str, Value]) -> Statement:
        """Sign what happened now. It is on the disk when this returns."""
        statement = sign_statement(
            self._key,
            kind=kind,
            iss=self.participant,
            sub=subject,
            iat_s=self._clock_s(),
            cti=self._random(CTI_BYTES),
            payload=dict(payload),
        )
        self._outbox.put(statement)
        return statement

    def record(self, subject: str, fix: Fix) -> None:
        """Add a fix to the track of a movement. Signed with the others by `close_batch`; on the disk after `flush`."""
        if self._track and self._track_subject != subject:
            raise Misuse(f"the track is about {self._track_subject}: close its batch first, got a fix about {subject}")
        if self._track and fix.at_ms <= self._track[-1].at_ms:
            raise Misuse(f"fix: expected a time after {self._track[-1].at_ms} ms, got {fix.at_ms}")
        if len(self._track) >= MAX_BATCH_FIXES:
            raise Misuse(f"the track has {MAX_BATCH_FIXES} fixes: close its batch first")
        encode_telemetry((fix,))  # refuses what could not be signed
        if not self._track:
            self._track_subject = subject
            self._track_file.truncate(0)
            name = subject.encode()
            self._track_file.write(bytes((len(name),)) + name)
        speed = SPEED_UNKNOWN if fix.speed_mm_s is None else fix.speed_mm_s + 1
        self._track_file.write(_ROW.pack(fix.at_ms, fix.latitude_udeg, fix.longitude_udeg, speed))
        self._track.append(fix)

    def flush(self) -> None:
        """The track so far survives a power cut from here on."""
        self._track_file.flush()
        os.fsync(self._track_file.fileno())

    def close_batch(self) -> Statement | None:
        """Sign the track as one batch, and begin a new one; None if there is nothing to sign.

        In this order: the batch on the disk, its statement on the disk, the track gone. `_settle` finds out how far it
        came.
        """
        if not self._track:
            return None
        self.flush()  # or a power cut could leave a batch of fixes that the track has lost
        raw = encode_telemetry(self._track)
        path = self._batches / hashlib.sha256(raw).hexdigest()
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_directory(self._batches)
        batch: dict[str | int, Value] = dict(batch_payload(raw).items())
        statement = self.sign("escort.position", self._track_subject, {"batch": batch})
        self._clear_track()
        return statement

    def _clear_track(self) -> None:
        self._track = []
        self._track_file.truncate(0)
        self.flush()

    # ---- after a power cut

    def _load_track(self) -> tuple[str, list[Fix]]:
        """The fixes that were on the disk; a row that was cut short is left out, and was never promised."""
        data = self._track_path.read_bytes() if self._track_path.exists() else b""
        start = 1 + data[0] if data else 0
        whole = start + (len(data) - start) // _ROW.size * _ROW.size if start and len(data) >= start else 0
        fixes = []
        for at_ms, latitude, longitude, speed in _ROW.iter_unpack(data[start:whole] if whole else b""):
            fixes.append(Fix(at_ms, latitude, longitude, None if speed == SPEED_UNKNOWN else speed - 1))
        if self._track_path.exists():
            os.truncate(self._track_path, whole if fixes else 0)
        return data[1:start].decode(errors="replace") if fixes else "", fixes

    def _settle(self) -> None:
        """Bring back into step what a power cut between two of the steps of `close_batch` left apart."""
        signed = {sha256.hex() for s in self._outbox.waiting() for sha256 in references_of(s.kind, s.payload)}
        for left in self._batches.glob("*.part"):
            left.unlink()
        if not self._track:
            return
        name = hashlib.sha256(encode_telemetry(self._track)).hexdigest()
        if name in signed:  # signed, and the track not gone yet
            self._track = []
            os.truncate(self._track_path, 0)
        else:  # written, and not signed: it will be written again
            (self._batches / name).unlink(missing_ok=True)

    # ---- sending

    def send(self, link: Link) -> Sent:
        """Try once to send what waits: statements, each subject's oldest first, then batches."""
        sent = Sent()
        _run_now(self._statements(self._outbox.subjects(), sent), link)
        _run_now(self._batches_of(sent), link)
        sent.waiting = self.waiting
        return sent

    async def send_async(self, link: AsyncLink) -> Sent:
        """As `send`, over an asynchronous link."""
        sent = Sent()
        await _run(self._statements(self._outbox.subjects(), sent), link)
        await _run(self._batches_of(sent), link)
        sent.waiting = self.waiting
        return sent

    async def send_about_async(self, subject: str, link: AsyncLink) -> Sent:
        """Only the statements about one thing: what they are about does not wait for anything else."""
        sent = Sent()
        await _run(self._statements((subject,), sent), link)
        sent.waiting = self.waiting
        return sent

    async def send_batches_async(self, link: AsyncLink) -> Sent:
        """Only the batches."""
        sent = Sent()
        await _run(self._batches_of(sent), link)
        sent.waiting = self.waiting
        return sent

    def _statements(self, subjects: Iterable[str], sent: Sent) -> Errands:
        for subject in subjects:
            while (statement := self._outbox.oldest(subject)) is not None:
                if not (yield from self._statement(statement, sent)):
                    break
        return True

    def _statement(self, statement: Statement, sent: Sent) -> Errands:
        """Whether the next one about the same thing may follow."""
        try:
            receipt: Receipt = yield lambda link: link.submit(statement.raw, wait="final")
            if not receipt.final:
                return False
            sent.final += 1
        except (RejectedStatement, MalformedStatement, UntrueStatement) as error:
            self._note_refused(statement, error)
            sent.refused += 1
        except ClientError as error:
            sent.last_error = error
            return False
        self._outbox.done(statement.id)
        return True

    def _batches_of(self, sent: Sent) -> Errands:
        for path in self._batch_paths():
            yield from self._batch(path, sent)
        return True

    def _batch(self, path: Path, sent: Sent) -> Errands:
        data = path.read_bytes()
        try:
            yield lambda link: link.put_attachment(TELEMETRY.media_type, data)
        except ProblemError as error:
            sent.last_error = error
            if error.code in _DEFINITE_CODES and not isinstance(error, (NotAuthenticated, Overloaded, Unavailable)):
                path.replace(path.with_suffix(".refused"))  # kept: somebody must look at it
            return False
        except ClientError as error:
            sent.last_error = error
            return False
        path.unlink()
        sent.batches += 1
        return True

    def _batch_paths(self) -> list[Path]:
        """Batches that are signed and not with a gateway yet: those without a suffix."""
        return sorted(path for path in self._batches.iterdir() if not path.suffix)

    def _note_refused(self, statement: Statement, error: ProblemError) -> None:
        outcome = error.outcome if isinstance(error, RejectedStatement) else error.code
        note = {"id": statement.id_hex, "kind": statement.kind, "sub": statement.sub, "outcome": outcome}
        with self._refused_path.open("ab") as file:
            file.write(json.dumps(note).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _run_now(errands: Errands, link: Link) -> None:
    """Have a link do what is asked for, one thing after the other."""
    answer: Any = None
    error: ClientError | None = None
    while True:
        try:
            errand = errands.send(answer) if error is None else errands.throw(error)
        except StopIteration:
            return
        answer, error = None, None
        try:
            answer = errand(link)
        except ClientError as raised:
            error = raised


async def _run(errands: Errands, link: AsyncLink) -> None:
    """Have an asynchronous link do what is asked for, one thing after the other."""
    answer: Any = None
    error: ClientError | None = None
    while True:
        try:
            errand = errands.send(answer) if error is None else errands.throw(error)
        except StopIteration:
            return
        answer, error = None, None
        try:
            answer = await errand(link)
        except ClientError as raised:
            error = raised


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
