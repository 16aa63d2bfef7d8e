"""Every check of a proof is made and named; what cannot be checked says so."""

from __future__ import annotations

import pytest

from ledger.algorithms import PrivateKey
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.merkle import leaf_hash, node_hash
from ledger.note import COSIGNATURE_V1, ED25519, Note, NoteSigner, format_note, format_vkey
from ledger.proof import Proof, format_proof
from ledger.proof_check import ProofReport, Verdict, check_proof
from ledger.statement import sign_statement

ORIGIN = "comity.example/test"
LOG, OTHER_LOG = NoteSigner.generate(), NoteSigner.generate()
WITNESSES = {name: NoteSigner.generate() for name in ("kz-kgd-1", "kz-kgd-2", "cn-gacc-1", "cn-gacc-2")}
STATEMENT = sign_statement(
    PrivateKey.generate(),
    kind="declaration.lodge",
    iss="kz/declarant",
    sub="UCR-1",
    iat_s=1_700_000_000,
    cti=bytes(16),
    payload={},
).raw
POLICY = (
    f"log {format_vkey(LOG.verifier(ORIGIN, ED25519))}\n"
    + "".join(f"witness {n} {format_vkey(k.verifier(n, COSIGNATURE_V1))}\n" for n, k in WITNESSES.items())
    + "group kz any kz-kgd-1 kz-kgd-2\ngroup cn any cn-gacc-1 cn-gacc-2\ngroup both all kz cn\nquorum both\n"
).encode()


def proof_of(statement: bytes, cosigners: tuple[str, ...], log: NoteSigner = LOG) -> bytes:
    sibling = leaf_hash(b"genesis")
    checkpoint = Checkpoint(ORIGIN, 2, node_hash(sibling, leaf_hash(statement)))
    lines = [log_signature(log, checkpoint)]
    lines += [cosign(WITNESSES[name], name, checkpoint, 1_700_000_001) for name in cosigners]
    return format_proof(Proof(1, (sibling,), format_note(Note(checkpoint_body(checkpoint), tuple(lines)))))


def verdicts(report: ProofReport) -> list[str]:
    return [check.verdict.value for check in report.checks]


H, F, N = Verdict.HOLDS.value, Verdict.FAILS.value, Verdict.NOT_REACHED.value


def test_a_proof_cosigned_by_both_authorities_holds() -> None:
    report = check_proof(POLICY, proof_of(STATEMENT, ("kz-kgd-1", "cn-gacc-2")), STATEMENT)
    assert report.holds
    assert verdicts(report) == [H] * 6
    assert report.cosigned_at_s == {"kz-kgd-1": 1_700_000_001, "cn-gacc-2": 1_700_000_001}


@pytest.mark.parametrize(
    ("what", "policy", "proof", "statement", "expected"),
    [
        ("one side alone", POLICY, proof_of(STATEMENT, ("kz-kgd-1", "kz-kgd-2")), STATEMENT, [H, H, H, H, F, H]),
        ("nobody", POLICY, proof_of(STATEMENT, ()), STATEMENT, [H, H, H, H, F, H]),
        (
            "another log's key",
            POLICY,
            proof_of(STATEMENT, ("kz-kgd-1", "cn-gacc-1"), OTHER_LOG),
            STATEMENT,
            [H, H, H, F, H, H],
        ),
        ("another statement", POLICY, proof_of(b"x", ("kz-kgd-1", "cn-gacc-1")), STATEMENT, [H, H, H, H, H, F]),
        ("bytes that are no statement", POLICY, proof_of(b"x", ("kz-kgd-1", "cn-gacc-1")), b"x", [H, H, F, H, H, H]),
        ("no proof", POLICY, b"", STATEMENT, [H, F, H, N, N, N]),
        ("no policy", b"log", proof_of(STATEMENT, ("kz-kgd-1", "cn-gacc-1")), STATEMENT, [F, H, H, N, N, H]),
        ("nothing at all", b"\xff", b"\xff", b"\xff", [F, F, F, N, N, N]),
    ],
)
def test_what_does_not_hold_is_named_and_the_rest_is_still_checked(
    what: str, policy: bytes, proof: bytes, statement: bytes, expected: list[str]
) -> None:
    report = check_proof(policy, proof, statement)
    assert verdicts(report) == expected, what
    assert not report.holds


def test_every_flipped_bit_of_proof_or_statement_is_noticed() -> None:
    proof = proof_of(STATEMENT, ("kz-kgd-1", "cn-gacc-1"))
    for position in range(len(proof)):
        flipped = bytearray(proof)
        flipped[position] ^= 1
        assert not check_proof(POLICY, bytes(flipped), STATEMENT).holds, position
    for position in range(len(STATEMENT)):
        flipped = bytearray(STATEMENT)
        flipped[position] ^= 0x10
        assert not check_proof(POLICY, proof, bytes(flipped)).holds, position
