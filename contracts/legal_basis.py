"""The register of legal bases that recognitions cite: agreement, article, and the date from which they hold.

Both authorities put an entry in and take it off (`contracts.governance`). As long as nobody ever has, any basis may be
cited; from then on a recognition cites one of the register with its date, and not before that date in block time, UTC.
What was recognised under a basis that is taken off later stays as it was.
"""

from __future__ import annotations

import datetime
from hashlib import sha256

from contracts.machine import Context, refuses
from contracts.outcome import Outcome
from contracts.working import Working
from ledger.cbor import encode

# There once the register has ever had an entry.
REGISTER = "legal_basis"
DAY_MS = 86_400_000
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()


def legal_basis_key(agreement: str, article: str) -> str:
    return f"{REGISTER}/{sha256(encode((agreement, article))).hexdigest()}"


def legal_basis_date(working: Working, agreement: str, article: str) -> str:
    """The effective date in the register; empty if it is not there."""
    row = working.row(legal_basis_key(agreement, article))
    return "" if row is None else str(row[2])


def put_legal_basis(working: Working, agreement: str, article: str, effective: str) -> None:
    """Enter a basis, or with an empty date take it off."""
    working.put(legal_basis_key(agreement, article), (agreement, article, effective))
    working.put(REGISTER, (1,))


def date_of(time_ms: int) -> str:
    """The date of a block time, in UTC."""
    return datetime.date.fromordinal(_EPOCH_ORDINAL + time_ms // DAY_MS).isoformat()


@refuses(Outcome.LEGAL_BASIS_UNKNOWN, Outcome.LEGAL_BASIS_NOT_EFFECTIVE)
def legal_basis_is_registered(ctx: Context) -> Outcome | None:
    """The legal basis is in the register with this date, which has come; or nothing ever was in it."""
    if ctx.working.row(REGISTER) is None:
        return None
    basis = ctx.payload["legal_basis"]
    if legal_basis_date(ctx.working, basis["agreement"], basis["article"]) != basis["effective"]:
        return Outcome.LEGAL_BASIS_UNKNOWN
    return Outcome.LEGAL_BASIS_NOT_EFFECTIVE if basis["effective"] > date_of(ctx.time_ms) else None
