"""Proofs that were given are given again, to whom they may be given, within bounds, and only once they are final."""

from __future__ import annotations

import asyncio

import pytest

from api.given_proofs import OVERHEAD_BYTES, GivenProofs
from api.proto import validator_pb2 as wire
from ledger.note import NoteSigner
from tests.api.conftest import Running
from tests.api.fakes import signed_statement
from tests.api.test_log_http import grow


def reply(number: int, *, final: bool = True) -> wire.ProofReply:
    return wire.ProofReply(found=True, final=final, proof=b"%08d" % number if final else b"", statement=bytes(92))


def test_what_is_kept_is_bounded_and_the_longest_unused_go_first() -> None:
    given: GivenProofs[wire.ProofReply] = GivenProofs(max_bytes=3 * (OVERHEAD_BYTES + 100))
    for number in range(3):
        given.keep(bytes([number]), reply(number))
    assert given.get(b"\x00") is not None
    given.keep(b"\x03", reply(3))
    assert [given.get(bytes([number])) is not None for number in range(4)] == [True, False, True, True]
    assert given.size_bytes <= 3 * (OVERHEAD_BYTES + 100)
    given.keep(b"\x03", reply(4))
    kept = given.get(b"\x03")
    assert kept is not None
    assert kept.proof == b"00000003"


def test_only_what_is_final_is_kept() -> None:
    given: GivenProofs[wire.ProofReply] = GivenProofs()
    given.keep(b"\x00", reply(0, final=False))
    given.keep(b"\x01", wire.ProofReply(found=False))
    assert len(given) == 0


@pytest.mark.parametrize("what", ["proof", "receipt", "receipt?authority=cn-gacc"])
async def test_it_is_asked_for_once_and_given_again_without_a_validator(running: Running, what: str) -> None:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    await grow(running, 1)
    path = f"/v1/statements/{statement.id_hex}/{what}"
    officer = running.auth("kz-kgd/officer")
    first = await running.http.get(path, headers=officer)
    for validator in running.validators:
        await validator.stop()
    again = await running.http.get(path, headers=officer)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content
    assert len(running.gateway.given_proofs) + len(running.gateway.given_receipts) == 1


async def test_one_that_may_not_see_it_gets_nothing_though_another_was_given_it(running: Running) -> None:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    path = f"/v1/statements/{statement.id_hex}/proof"
    assert (await running.http.get(path, headers=running.auth("kz-kgd/officer"))).status_code == 200
    assert (await running.http.get(path, headers=running.auth("kz/declarant/other"))).status_code == 404


async def changed(running: Running, known: bytes) -> None:
    for _ in range(400):
        if running.gateway._signers() != known:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the gateway does not hear of it")


async def test_receipts_of_a_membership_of_before_are_not_given_again(running: Running) -> None:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    path = f"/v1/statements/{statement.id_hex}/receipt"
    officer = running.auth("kz-kgd/officer")
    assert (await running.http.get(path, headers=officer)).content == b"receipt of both"
    known = running.gateway._signers()
    running.ledger.voters = (2, 3)
    await changed(running, known)
    assert (await running.http.get(path, headers=officer)).content == b"receipt of both, signed by (2, 3)"


@pytest.mark.parametrize("what", ["voters", "log key"])
async def test_a_proof_of_signers_of_before_is_not_given_again(running: Running, what: str) -> None:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    await grow(running, 1)
    path = f"/v1/statements/{statement.id_hex}/proof"
    officer = running.auth("kz-kgd/officer")
    assert (await running.http.get(path, headers=officer)).status_code == 200
    await grow(running, 5)
    assert (await running.http.get(path, headers=officer)).status_code == 200
    assert len(running.gateway.given_proofs) == 1
    known = running.gateway._signers()
    if what == "voters":
        running.ledger.voters = (2, 3)
    else:
        running.ledger.signer = NoteSigner.generate()
        await grow(running, 1)
    await changed(running, known)
    assert (await running.http.get(path, headers=officer)).status_code == 200
    assert len(running.gateway.given_proofs) == 2
