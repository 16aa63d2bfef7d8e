"""An authority's log key and CA are replaced on a running network of real processes, and what is old ends.

One validator of each authority, so that neither has a colleague that could stand in: what a validator cannot do, its
authority cannot.
"""

from __future__ import annotations

import asyncio
import datetime
import secrets
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from api.proto import validator_pb2
from contracts.replay import ContractReplay
from ledger.algorithms import PrivateKey
from ledger.archive import export_archive
from ledger.audit import AuditReport, Check, audit_archive
from ledger.chain import Chain
from ledger.entry import Genesis
from ledger.membership import Register, Role
from ledger.note import NoteSigner, parse_note
from ledger.proof_check import check_proof
from ledger.statement import Statement, sign_statement
from nodes import certificates
from nodes.checked_stores import open_checked
from nodes.network import policy_of_members
from tests.nodes.network import Client, Processes, Signer, all_final, make_network, until, wait_ready
from tests.nodes.test_catch_up_processes import TAIL_ENTRIES, keep_a_short_order, said

pytestmark = [pytest.mark.processes, pytest.mark.soak]

KZ, CN = "kz-kgd-1", "cn-gacc-1"
PROPOSAL = "kz-kgd/keys"
# Of block time. Long enough to put a certificate in place, and short enough to wait for.
OVERLAP_S = 6


class Border:
    """The network, and what its operators do by hand."""

    def __init__(self, directory: Path, *, validators_per_authority: int = 1) -> None:
        options: dict[str, Any] = {"parameters": {"effect_lead_blocks": 2}}
        self.processes: Processes = make_network(
            directory, validators_per_authority=validators_per_authority, **options
        )
        self.network = self.processes.network
        self.genesis = Genesis.decode(self.network.genesis.read_bytes())
        now = datetime.datetime.now(datetime.UTC)
        self.ca = certificates.create_authority("kz-kgd", "KZ", now)
        self.new_certificate, self.new_key = certificates.issue(self.ca, KZ, now)
        self.log_key = NoteSigner.generate()
        self.signer = Signer(self.network)
        self.old_policy = self.network.authorities[0].policy.read_bytes()
        voters = Register.of_genesis(self.genesis).of(Role.VOTER)
        self.new_policy = policy_of_members(self.genesis, "kz-kgd", voters, self.log_key.public_key).encode()

    def home(self, name: str) -> Path:
        return self.processes.validator(name).config.parent

    def put_in_place_what_is_new(self) -> None:
        """Before the height: the log key beside the present one, and the new CA in everybody's file."""
        self.put_the_log_key_in_place(KZ)
        for name in (KZ, CN):
            with (self.home(name) / "ca" / "kz-kgd.pem").open("ab") as file:
                file.write(self.ca.certificate_pem)
        # What a gateway of the same side believes.
        with (self.network.authorities[0].directory / "ca.pem").open("ab") as file:
            file.write(self.ca.certificate_pem)

    def put_the_log_key_in_place(self, name: str) -> None:
        home = self.home(name)
        (home / "log-next.key").write_bytes(self.log_key.to_pem())
        config = (home / "validator.toml").read_text()
        (home / "validator.toml").write_text(
            config.replace('log = "log.key"\n', 'log = "log.key"\nlog_next = "log-next.key"\n')
        )

    def change_certificates(self) -> None:
        """Of the validator, and of the gateway in front of it."""
        gateway = next(each for each in self.network.gateways if each.authority == "kz-kgd")
        certificate, key = certificates.issue(self.ca, gateway.name, datetime.datetime.now(datetime.UTC))
        (gateway.config.parent / "certificate.pem").write_bytes(certificate)
        (gateway.config.parent / "certificate.key").write_bytes(key)
        for name, data in (("certificate.pem", self.new_certificate), ("certificate.key", self.new_key)):
            shutil.copy(self.home(KZ) / name, self.home(KZ) / f"old-{name}")
            (self.home(KZ) / name).write_bytes(data)

    def decision(self, side: str, event: str, payload: dict[str, Any]) -> Statement:
        entry = next(each for each in self.network.authorities if each.name == side)
        return sign_statement(
            PrivateKey.from_pem(entry.key("registrar").read_bytes()),
            kind=f"governance.{event}",
            iss=f"{side}/registrar",
            sub=PROPOSAL,
            iat_s=int(time.time()),
            cti=secrets.token_bytes(16),
            payload=payload,
        )

    async def decide(self, client: Client, *, ca: bool = True) -> None:
        authority = self.genesis.authorities[0]
        digest = certificates.certificate_sha256(self.ca.certificate_pem)
        both = {"authority": authority.name, "overlap_s": OVERLAP_S}
        changes = [
            {"log_key": {**both, "from": authority.log_key, "to": self.log_key.public_key}},
            {"ca": {**both, "from": authority.ca_sha256, "to": digest}},
        ]
        proposed = self.decision("kz-kgd", "propose", {"title": "both keys", "changes": changes[: 1 + ca]})
        await self.accepted(client, proposed)
        await self.accepted(client, self.decision("cn-gacc", "approve", {"proposal": proposed.id}))

    async def accepted(self, client: Client, statement: Statement) -> None:
        async def taken() -> bool:
            (result,) = await client.submit([statement.raw])
            assert not result.HasField("rejected"), result
            return bool(result.HasField("accepted"))

        await until(taken, what=f"{statement.kind} taken")

    async def crossing(self) -> Statement:
        """Something that becomes final."""
        statement = self.signer.enrol()
        async with Client(self.network, KZ) as client:
            await self.accepted(client, statement)
        await all_final(self.network, KZ, [statement.id])
        return statement

    async def proof(self, statement: Statement) -> bytes:
        async with Client(self.network, KZ) as client:
            reply = await client.stub.GetProof(validator_pb2.StatementQuery(id=statement.id), timeout=10)
            return bytes(reply.proof)

    def audit(self, directory: Path, policy: bytes, name: str = CN) -> AuditReport:
        """Of a validator's ledger, which has to be stopped."""
        store = open_checked(self.home(name) / "data" / "ledger")
        try:
            chain = Chain.open(store)
            assert chain.latest_final is not None
            size, note = chain.latest_final
            assert size == chain.size
            export_archive(chain, directory, policy, note)
        finally:
            store.close()
        return audit_archive(directory, policy, ContractReplay())


def log_lines(proof: bytes, origin: str) -> int:
    """How many log keys have signed the checkpoint of a proof."""
    note = proof[proof.index(b"\n\n") + 2 :]
    return sum(line.name == origin for line in parse_note(note).signatures)


async def test_log_key_and_ca_are_replaced_on_a_running_network(tmp_path: Path) -> None:
    border = Border(tmp_path / "net")
    processes, network = border.processes, border.network
    origin = border.genesis.origin
    border.put_in_place_what_is_new()
    processes.start()
    try:
        await wait_ready(network, [KZ, CN])
        before = await border.crossing()
        proof_before = await border.proof(before)
        assert log_lines(proof_before, origin) == 2
        assert check_proof(border.old_policy, proof_before, before.raw).holds
        assert not check_proof(border.new_policy, proof_before, before.raw).holds
        async with Client(network, CN) as client:
            await border.decide(client)
        decided_s = time.monotonic()
        for _ in range(3):
            during = await border.crossing()
        proof_during = await border.proof(during)
        assert log_lines(proof_during, origin) == 3
        for policy in (border.old_policy, border.new_policy):
            assert check_proof(policy, proof_during, during.raw).holds
        # The machines' certificates change in the overlap, and the other side takes it.
        border.change_certificates()
        processes.stop(KZ)
        processes.start(KZ)
        await wait_ready(network, [KZ, CN])
        await border.crossing()
        await asyncio.sleep(max(0.0, decided_s + OVERLAP_S + 1 - time.monotonic()))
        # The block that ends the overlap, and one after it.
        await border.crossing()
        after = await border.crossing()
        proof_after = await border.proof(after)
        assert log_lines(proof_after, origin) == 2
        assert check_proof(border.new_policy, proof_after, after.raw).holds
        assert not check_proof(border.old_policy, proof_after, after.raw).holds
        assert check_proof(border.old_policy, proof_before, before.raw).holds
        await refused_with_the_old_certificate(border)
    finally:
        for name in list(processes.running):
            processes.stop(name)
    report = border.audit(tmp_path / "archive", border.new_policy)
    assert report.faults == ()
    assert [each.from_height for each in report.log_keys if each.authority == "kz-kgd"] == [0, 5]
    old = audit_archive(tmp_path / "archive", border.old_policy, ContractReplay())
    assert {fault.check for fault in old.faults} == {Check.LOG_SIGNATURE}


async def refused_with_the_old_certificate(border: Border) -> None:
    """Whoever comes with a certificate of the CA before is nobody, and is told so in words."""
    processes, network = border.processes, border.network
    processes.stop(KZ)
    for name in ("certificate.pem", "certificate.key"):
        shutil.copy(border.home(KZ) / name, border.home(KZ) / f"new-{name}")
        shutil.copy(border.home(KZ) / f"old-{name}", border.home(KZ) / name)
    processes.start(KZ)
    async with Client(network, CN) as client:

        async def alone() -> bool:
            status = await client.status()
            return not status.ready and "waiting for kz-kgd" in status.state

        await until(alone, what="the old certificate is refused")
    async with Client(network, KZ) as client:

        async def told() -> bool:
            return "certificate.pem is of the CA before" in (await client.status()).state

        await until(told, what="it is told why")
    processes.stop(KZ)
    for name in ("certificate.pem", "certificate.key"):
        shutil.copy(border.home(KZ) / f"new-{name}", border.home(KZ) / name)
    processes.start(KZ)
    await wait_ready(network, [KZ, CN])
    last = border.signer.enrol()
    async with Client(network, CN) as client:
        await border.accepted(client, last)
    await all_final(network, CN, [last.id])


async def test_a_validator_that_was_away_for_the_whole_overlap_comes_back_by_a_snapshot_under_the_new_key(
    tmp_path: Path,
) -> None:
    """With the policy file of before, and the new log key beside the old one."""
    border = Border(tmp_path / "net", validators_per_authority=2)
    processes, network, away = border.processes, border.network, "kz-kgd-2"
    keep_a_short_order(processes)
    for name in (KZ, away):
        border.put_the_log_key_in_place(name)
    processes.start()
    try:
        await wait_ready(network, processes.running)
        before = await border.crossing()
        processes.kill(away)
        async with Client(network, CN) as client:
            await border.decide(client, ca=False)
        decided_s = time.monotonic()
        for _ in range(3):
            await border.crossing()
        await asyncio.sleep(max(0.0, decided_s + OVERLAP_S + 1 - time.monotonic()))
        async with Client(network, CN) as client:
            for _ in range(2 * TAIL_ENTRIES):
                await border.accepted(client, border.signer.enrol())
        for name in (KZ, CN, "cn-gacc-2"):
            await until(partial(said, processes, name, "order_compacted"), what=f"{name} keeps a short order")
        processes.start(away)
        await until(partial(said, processes, away, "snapshot_adopted"), what="a snapshot")
        await wait_ready(network, [away])
        # Only with the one that came back is there anybody of its authority, and anybody with the new key.
        processes.kill(KZ)
        after = border.signer.enrol()
        async with Client(network, CN) as client:
            await border.accepted(client, after)
        await all_final(network, away, [before.id, after.id])
        async with Client(network, away) as client:
            reply = await client.stub.GetProof(validator_pb2.StatementQuery(id=after.id), timeout=10)
            assert "does not name the log key in force" in (await client.status()).state
        proof = bytes(reply.proof)
        assert log_lines(proof, border.genesis.origin) == 2
        assert check_proof(border.new_policy, proof, after.raw).holds
        assert not check_proof(border.old_policy, proof, after.raw).holds
    finally:
        for name in list(processes.running):
            processes.stop(name)
    report = border.audit(tmp_path / "archive", border.new_policy, away)
    assert report.faults == ()
