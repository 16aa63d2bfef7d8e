"""Attachments at the gateway: who may send and who may read them, and what must be here before a statement is taken.

An envelope is read by customs, and by whoever sent it. Telemetry is read by whoever may see a statement that refers to
it: the reader names the statement. What one may not read answers as what is not there.

A declaration that commits to private fields is taken only once its envelope is here: otherwise the authorities would
find a hash on the ledger and nothing that opens it. A statement that is on the log already is answered as ever, its
envelope here or deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.access import Principal
from api.attachment_kinds import ENVELOPE, Kind, references_of
from api.attachments import AttachmentStore, Entry, QuotaExceeded
from api.config import AttachmentLimits
from api.envelope import parse_envelope
from api.problems import Problem
from api.submission import Signed
from contracts.envelope_keys import EnvelopeKeys, decode_envelope_keys, envelope_keys_key
from contracts.parameters import parameter_key, parameter_value
from ledger.errors import Malformed, Untrue
from ledger.statement import parse_statement

if TYPE_CHECKING:
    from api.core import Gateway

# Bodies that are being received are in memory: so many at a time, so many of one participant.
UPLOADS_MAX = 32
UPLOADS_OF_ONE_MAX = 2


class Attaching:
    """The attachments of one gateway."""

    def __init__(self, gateway: Gateway, limits: AttachmentLimits | None) -> None:
        self._gateway = gateway
        self._store = AttachmentStore(limits, time.time) if limits is not None else None
        self._uploading: Counter[str] = Counter()
        self._writing = asyncio.Semaphore(1)  # parsing a long batch takes a core

    @property
    def store(self) -> AttachmentStore:
        if self._store is None:
            raise Problem("attachments_not_kept")
        return self._store

    @property
    def kept(self) -> AttachmentStore | None:
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    async def put(self, principal: Principal, sha256: bytes, kind: Kind, data: bytes) -> bool:
        """Keep an attachment; False if it was here already."""
        store = self.store
        self.admit(principal, kind)
        try:
            if kind is ENVELOPE:
                await self._check_recipients(data)
            async with self._writing:
                return await asyncio.to_thread(store.put, sha256, kind, principal.id, data)
        except Malformed as error:
            raise Problem("bad_attachment", str(error)) from error
        except Untrue as error:
            raise Problem("attachment_differs", str(error.args[0])) from error
        except QuotaExceeded as error:
            raise Problem("attachments_full", str(error)) from error
        except OSError as error:
            raise Problem("attachments_full", f"the disk says: {error.strerror or error}") from error

    def admit(self, principal: Principal, kind: Kind) -> None:
        """Raise before the body is read, of whoever may not send this kind."""
        if not principal.roles & kind.roles:
            raise Problem("not_yours_to_send", f"{kind.name}: expected one of {', '.join(sorted(kind.roles))}")

    @property
    def receiving(self) -> int:
        """How many bodies are on their way in."""
        return self._uploading.total()

    @contextmanager
    def uploading(self, principal: Principal) -> Iterator[None]:
        """A place to receive a body in; Problem("overloaded") if there is none."""
        if self.receiving >= UPLOADS_MAX or self._uploading[principal.id] >= UPLOADS_OF_ONE_MAX:
            detail = f"{UPLOADS_MAX} bodies are being received at most, {UPLOADS_OF_ONE_MAX} of one participant"
            raise Problem("overloaded", detail, retry_after_ms=1_000)
        self._uploading[principal.id] += 1
        try:
            yield
        finally:
            self._uploading[principal.id] -= 1
            if not self._uploading[principal.id]:
                del self._uploading[principal.id]

    async def _check_recipients(self, data: bytes) -> None:
        """A copy for every authority, by its key or one that was its key until lately: a statement may be as old as
        `iat_skew_hard_s` when it is taken, so that is how long a key of before is sealed to without anybody being late.
        """
        boxes = {box.authority: box.kid for box in parse_envelope(data).boxes}
        since_ms = int(time.time() * 1000) - 1000 * await self._skew_hard_s()
        for name, keys in (await self.envelope_keys()).items():
            taken = {key.kid for key in keys.keys if key.until_ms is None or key.until_ms > since_ms}
            if keys.current is None or boxes.get(name) in taken:
                continue
            of_before = boxes.get(name) in {key.kid for key in keys.keys}
            why = "is sealed to a key of before" if of_before else "no copy is sealed to a key"
            current = keys.current.kid.hex()
            raise Problem("envelope_not_sealed_to_all", f"{name}: {why}: expected {current}, the key in force")

    async def _skew_hard_s(self) -> int:
        name = "iat_skew_hard_s"
        key = parameter_key(name)
        return int(parameter_value((await self._gateway.pool.records([key])).get, name))

    async def envelope_keys(self) -> dict[str, EnvelopeKeys]:
        """What each authority has published, by its name; of one that has not, no keys."""
        best = self._gateway.pool.best_status()
        if best is None:
            raise Problem("validators_unreachable", "no validator has said which authorities there are")
        names = sorted(authority.name for authority in best.authorities)
        records = await self._gateway.pool.records([envelope_keys_key(name) for name in names])
        found = {}
        for name in names:
            raw = records.get(envelope_keys_key(name))
            found[name] = EnvelopeKeys(name) if raw is None else decode_envelope_keys(raw)
        return found

    async def get(self, principal: Principal, sha256: bytes, statement_id: bytes | None) -> tuple[Entry, bytes]:
        """An attachment that the caller may read; Problem("not_found") for all else."""
        entry = await self.entry(principal, sha256, statement_id)
        data = await asyncio.to_thread(self.store.get, sha256)
        if data is None:
            raise Problem("not_found")
        return entry, data

    async def entry(self, principal: Principal, sha256: bytes, statement_id: bytes | None) -> Entry:
        """What is known of it, the bytes not looked at."""
        entry = self.store.entry(sha256)
        if entry is None or not await self._may_read(principal, entry, statement_id):
            raise Problem("not_found")
        return entry

    async def _may_read(self, principal: Principal, entry: Entry, statement_id: bytes | None) -> bool:
        if principal.sees_all or principal.id == entry.by:
            return True
        if entry.kind is ENVELOPE or statement_id is None:
            return False
        info = await self._gateway.visible_statement(principal, statement_id)
        statement = parse_statement(info.statement)
        return entry.sha256 in references_of(statement.kind, statement.payload)

    async def delete(self, principal: Principal, sha256: bytes) -> None:
        """For a registrar or an officer of the gateway's own authority."""
        own = principal.authority == self._gateway.config.authority
        if not own or not principal.roles & {"customs.registrar", "customs.officer"}:
            raise Problem("not_found")
        if not await asyncio.to_thread(self.store.delete, sha256):
            raise Problem("not_found")

    async def require(self, signed: Signed) -> None:
        """Raise unless the envelope of a statement is here, or the statement is on the log already."""
        wanted = signed.envelope
        if wanted is None:
            return
        entry = None if self._store is None else self._store.entry(wanted)
        if entry is not None and entry.kind is ENVELOPE:
            await self._check_subject(signed, wanted)
            return
        if (await self._gateway.pool.statement(signed.id)).found:
            return
        raise Problem("envelope_missing", f"envelope {wanted.hex()} is not here", statement_id=signed.id.hex())

    async def _check_subject(self, signed: Signed, wanted: bytes) -> None:
        """The envelope says what it is about: another would leave a hash on the ledger that opens something else."""
        data = await asyncio.to_thread(self.store.get, wanted)
        if data is None:  # set aside at this moment: it is damaged
            raise Problem("envelope_missing", f"envelope {wanted.hex()} is not here", statement_id=signed.id.hex())
        expected, got = parse_statement(signed.raw).sub, parse_envelope(data).subject
        if expected != got and not (await self._gateway.pool.statement(signed.id)).found:
            detail = f"envelope {wanted.hex()} is about {got!r:.80}, the statement about {expected!r:.80}"
            raise Problem("envelope_of_other_subject", detail, statement_id=signed.id.hex())
