"""What a validator signs beside its cosignatures, in COSE: by whom, and whether that is enough under a policy.

A validator has one signing key, and every policy lists it as a witness. A COSE receipt (`ledger.receipt`) and a
crossing pass (`contracts.crossing_pass`) are signed with that key, so that the policy file alone says whom to
believe, and how many of each side. What is signed begins differently in each use, so that no signature can be taken
for one of another: a cosignature with `cosignature/v1`, a receipt with the Sig_structure of context `Signature1`, a
pass with that of context `Signature` (RFC 9052 section 4.4), and what those name as their type differs again.

Promises: a signature of a known key that is bad spoils all of it, enough others or not, as it does on a checkpoint.
Unknown keys count for nothing and spoil nothing. Where a policy demands no witness, one has to have signed all the
same: there is no log's signature here that could stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ledger import cbor
from ledger.algorithms import EDDSA, KID_BYTES, PublicKey
from ledger.errors import Malformed, Untrue
from ledger.note import COSIGNATURE_V1
from ledger.policy import Policy, Witness

MAX_ATTESTERS = 16
_MAX_KIDS = 1024

# COSE header labels (RFC 9052 section 3.1).
ALG, CONTENT_TYPE, KID = 1, 3, 4


@lru_cache(_MAX_KIDS)
def kid_of(public_key: bytes) -> bytes:
    """Return the RFC 9679 thumbprint of a validator's Ed25519 key: how COSE names what a vkey spells otherwise."""
    return PublicKey.from_material(EDDSA, public_key).kid


def witness_of(policy: Policy, kid: bytes) -> Witness | None:
    """Return the witness of a policy that a key is of, or None."""
    for witness in policy.witnesses:
        if witness.key.algorithm == COSIGNATURE_V1 and kid_of(witness.key.public_key) == kid:
            return witness
    return None


def check_log(policy: Policy, origin: str) -> None:
    """Raise Untrue unless the policy believes the log of this origin."""
    if all(log.key.name != origin for log in policy.logs):
        known = ", ".join(log.key.name for log in policy.logs) or "none"
        raise Untrue("unknown_log", f"made for another log: expected {known}, got {origin}")


def check_enough(policy: Policy, signed: Iterable[str]) -> None:
    """Raise Untrue unless these witnesses are as many, of each side, as the policy demands."""
    names = list(dict.fromkeys(signed))
    if names and policy.quorum_met_by(names):
        return
    missing = [witness.name for witness in policy.witnesses if witness.name not in names]
    got, lacking = ", ".join(names) or "none", ", ".join(missing) or "none"
    raise Untrue("quorum_not_met", f"quorum {policy.quorum} is not met: signed {got}; missing {lacking}")


def check_kids(code: str, kids: list[bytes]) -> None:
    """Raise Malformed unless there is one signer at least, not too many, and none twice."""
    if not 1 <= len(kids) <= MAX_ATTESTERS:
        raise Malformed(code, f"expected 1 to {MAX_ATTESTERS} signatures, got {len(kids)}")
    if any(len(kid) != KID_BYTES for kid in kids):
        raise Malformed(code, f"a kid is not {KID_BYTES} bytes")
    if len(set(kids)) != len(kids):
        raise Malformed(code, "one key has signed twice")


def members(code: str, what: str, data: bytes, labels: set[int], max_bytes: int) -> dict[str | int, cbor.Value]:
    """Return the map that a header is; Malformed unless it has exactly these labels."""
    header = cbor.decode(data, max_bytes=max_bytes)
    if type(header) is not dict or header.keys() != labels:
        got = ", ".join(map(repr, header))[:80] if type(header) is dict else type(header).__name__
        raise Malformed(code, f"{what} must have exactly the labels {', '.join(map(str, sorted(labels)))}: got {got}")
    return header
