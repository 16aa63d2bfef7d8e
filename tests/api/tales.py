"""Histories of a declaration and a movement, signed by the people of the corridor: the same bytes each time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from api.history import Authority, History, Recorded
from ledger.algorithms import PrivateKey
from ledger.statement import Statement, sign_statement
from tests.contracts import corridor as c
from tests.contracts.corridor import _pem

AUTHORITIES = (Authority("cn-gacc", "CN"), Authority("kz-kgd", "KZ"))
ORIGIN = "comity.example/bakhty-baketu"

# kind, issuer, payload
Step = tuple[str, str, Mapping[str, Any]]
ESCORT: tuple[Step, ...] = tuple((f"escort.{event}", iss, payload) for _, event, iss, payload in c.ESCORT_STEPS)
DECLARATION: tuple[Step, ...] = tuple(
    (f"declaration.{event}", iss, payload) for event, iss, payload in c.DECLARATION_STEPS
)


@cache
def key_of(name: str) -> PrivateKey:
    return PrivateKey.from_pem(_pem(name))


def signed(number: int, step: Step, subject: str) -> Statement:
    kind, iss, payload = step
    members: dict[str | int, Any] = dict(payload.items())
    cti = sha256(b"%d %s" % (number, kind.encode())).digest()[:16]
    return sign_statement(
        key_of(iss), kind=kind, iss=iss, sub=subject, iat_s=c.OPEN_MS // 1000 + 60 * number, cti=cti, payload=members
    )


def history(steps: Iterable[Step], subject: str) -> History:
    """Each statement in a block of its own, a second after it was signed; the first is entry 11."""
    statements = [signed(number, step, subject) for number, step in enumerate(steps)]
    entries = tuple(
        Recorded(11 + 2 * number, statement.iat_s * 1000 + 1000, statement)
        for number, statement in enumerate(statements)
    )
    size = 13 + 2 * len(entries)
    return History(ORIGIN, size, entries[-1].block_time_ms if entries else c.OPEN_MS, AUTHORITIES, entries)


def golden(path: Path, got: bytes) -> bytes:
    """The committed file. COMITY_WRITE_GOLDEN=1 writes it, for its author to read before it is committed."""
    if os.environ.get("COMITY_WRITE_GOLDEN") == "1":
        path.write_bytes(got)
    return path.read_bytes()
