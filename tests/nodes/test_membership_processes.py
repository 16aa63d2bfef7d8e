"""Validators join, get a vote, and leave, as real processes, while statements go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.proto import validator_pb2
from ledger.proof_check import check_proof
from ledger.statement import Statement
from nodes.validator import EXIT_REMOVED
from tests.nodes.membership import Operators, promote, remove
from tests.nodes.network import Client, Processes, Signer, all_final, running, until, wait_ready

pytestmark = pytest.mark.processes


async def check_that_it_serves(processes: Processes, name: str, *, final: Statement, committed: Statement) -> None:
    """Proofs that hold, and reads that have all that was committed."""
    policy = next(path for path in sorted((processes.network.directory / "policy").iterdir()))
    async with Client(processes.network, name) as client:
        proof = await client.stub.GetProof(validator_pb2.StatementQuery(id=final.id), timeout=5)
        assert proof.statement == final.raw
        assert check_proof(policy.read_bytes(), proof.proof, final.raw).holds
        query = validator_pb2.StatementQuery(id=committed.id, linearizable=True)
        assert (await client.stub.GetStatement(query, timeout=10)).found


async def test_a_newcomer_observes_then_votes_then_leaves_with_a_word(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        operators = Operators(processes)
        signer = Signer(processes.network)
        async with Client(processes.network, "kz-kgd-1") as client:
            before = [signer.enrol() for _ in range(5)]
            await client.submit([statement.raw for statement in before])
            made = operators.make("kz-kgd-3", like="kz-kgd-1")
            processes.start("kz-kgd-3")
            await operators.change("cn-gacc-2", made.step)
            await wait_ready(processes.network, ["kz-kgd-3"])
            await all_final(processes.network, "kz-kgd-3", [statement.id for statement in before])
            last = signer.enrol()
            await client.submit([last.raw])
            await check_that_it_serves(processes, "kz-kgd-3", final=before[0], committed=last)
            await operators.change("kz-kgd-2", promote("kz-kgd-3"))
            report = await operators.membership("cn-gacc-1")
            assert {(member.name, member.role) for member in report.members} >= {("kz-kgd-3", "voter")}
            assert report.digest == operators.register.digest
            # Its colleagues away, it stands for its authority alone: it votes, and its cosignature makes final.
            processes.kill("kz-kgd-1")
            during = [signer.enrol() for _ in range(5)]
        async with Client(processes.network, "kz-kgd-3") as client:

            async def taken() -> bool:
                results = await client.submit([statement.raw for statement in during])
                return all(result.HasField("accepted") for result in results)

            await until(taken)
            await all_final(processes.network, "cn-gacc-1", [statement.id for statement in during])
        processes.start("kz-kgd-1")
        await wait_ready(processes.network, ["kz-kgd-1"])
        await operators.change("kz-kgd-1", remove("kz-kgd-3"))
        assert processes.running.pop("kz-kgd-3").wait(15) == EXIT_REMOVED
        assert any("was removed by membership change 3" in str(event) for event in processes.events("kz-kgd-3"))


async def test_a_neutral_witness_keeps_the_majority_and_stands_for_no_authority(tmp_path: Path) -> None:
    options = {"validators_per_authority": 1, "witness": "harbour-trust"}
    async with running(tmp_path / "net", **options) as processes:
        network = processes.network
        signer = Signer(network)
        report = await Operators(processes).membership("kz-kgd-1")
        assert {member.name: member.role for member in report.members}["harbour-trust-1"] == "witness"
        async with Client(network, "kz-kgd-1") as client:
            before = signer.enrol()
            await until(lambda: accepted(client, before))
            await all_final(network, "kz-kgd-1", [before.id])
            processes.kill("cn-gacc-1")

            async def named() -> bool:
                status = await client.status()
                # Two of three: there is a leader, who says which authority is missing.
                return bool(status.leader) and "waiting for cn-gacc" in status.state

            await until(named)
            size = (await client.status()).size
            during = signer.enrol()
            assert not await accepted(client, during)
            assert (await client.status()).size == size
            processes.start("cn-gacc-1")
            await until(lambda: accepted(client, during))
            await all_final(network, "kz-kgd-1", [during.id])
        assert b"harbour" not in network.authorities[0].policy.read_bytes()


async def accepted(client: Client, statement: Statement) -> bool:
    return bool((await client.submit([statement.raw]))[0].HasField("accepted"))
