"""The keys, policies and a small log of two authorities that the tests of the formats share. Always the same bytes."""

from __future__ import annotations

from hashlib import sha256

from ledger import merkle
from ledger.algorithms import EDDSA, PrivateKey
from ledger.algorithms.eddsa import Signer
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.note import COSIGNATURE_V1, ED25519, Note, NoteSigner, format_note, format_vkey
from ledger.proof import Proof
from ledger.statement import Statement, sign_statement

ORIGIN = "comity.example/bakhty-baketu"
TIME_S = 1_795_305_600
AUTHORITIES = {"kz": ("kz-kgd-1", "kz-kgd-2"), "cn": ("cn-gacc-1", "cn-gacc-2")}
VALIDATORS = AUTHORITIES["kz"] + AUTHORITIES["cn"]


def seed(name: str) -> bytes:
    return sha256(f"test key of {name}".encode()).digest()


LOG_KEYS = {country: NoteSigner(seed(f"{country} log")) for country in AUTHORITIES}
COSIGNERS = {name: NoteSigner(seed(name)) for name in VALIDATORS}
TRUCK = PrivateKey(EDDSA, Signer(seed("kz/truck/t-001")))


def policy_text(country: str) -> bytes:
    """Return the policy file that an authority hands out."""
    lines = [f"log {format_vkey(LOG_KEYS[country].verifier(ORIGIN, ED25519))}"]
    witnesses = {name: COSIGNERS[name].verifier(name, COSIGNATURE_V1) for name in VALIDATORS}
    lines += [f"witness {name} {format_vkey(key)}" for name, key in witnesses.items()]
    lines += [f"group {group} any {' '.join(members)}" for group, members in AUTHORITIES.items()]
    lines += ["group both all kz cn", "quorum both"]
    return "".join(line + "\n" for line in lines).encode()


def cosigned(checkpoint: Checkpoint, *validators: str, logs: tuple[str, ...] = ("kz", "cn")) -> bytes:
    """Return the note of a checkpoint that these logs signed and these validators cosigned."""
    lines = [log_signature(LOG_KEYS[country], checkpoint) for country in logs]
    lines += [cosign(COSIGNERS[name], name, checkpoint, TIME_S + number) for number, name in enumerate(validators)]
    return format_note(Note(checkpoint_body(checkpoint), tuple(lines)))


STATEMENT: Statement = sign_statement(
    TRUCK,
    kind="escort.reach_border",
    iss="kz/truck/t-001",
    sub="19GBCKKCQSXV2FGVA8",
    iat_s=TIME_S,
    cti=bytes(range(16)),
    payload={"place": "CNBKT", "odometer_m": 1_204_400},
)
INDEX = 5
LEAVES = [merkle.leaf_hash(b"entry %d" % number) for number in range(11)]
LEAVES[INDEX] = STATEMENT.id


def read_tile(level: int, index: int, width: int) -> bytes:
    return b"".join(LEAVES)


CHECKPOINT = Checkpoint(ORIGIN, len(LEAVES), merkle.root_from_tiles(len(LEAVES), read_tile))
PROOF = Proof(
    INDEX,
    tuple(merkle.inclusion_proof(INDEX, len(LEAVES), read_tile)),
    cosigned(CHECKPOINT, "kz-kgd-1", "cn-gacc-2"),
)
