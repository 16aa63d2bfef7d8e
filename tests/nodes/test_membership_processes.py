"""Validators join, get a vote, and leave, as real processes, while statements go on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import pytest

from api.client import TokenSigner
from api.problems import code_of
from api.proto import validator_pb2
from ledger.algorithms import PrivateKey
from ledger.proof_check import check_proof
from ledger.statement import Statement
from nodes.validator import EXIT_REMOVED
from tests.nodes.membership import Operators, promote, remove
from tests.nodes.network import Client, Processes, Signer, all_final, gateway_of, running, until, wait_ready

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


async def test_what_one_authority_alone_has_signed_is_refused_by_every_validator(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        operators = Operators(processes)
        step = operators.make("kz-kgd-3", like="kz-kgd-1").step
        for validator in processes.network.validators[:4]:
            for signed, missing in (("kz-kgd", "cn-gacc"), ("cn-gacc", "kz-kgd")):
                reply = await operators.submit(validator.name, operators.sign([step], signed))
                assert (reply.state, reply.code) == ("refused", "signature_missing")
                assert f"missing {missing}" in reply.detail
            # Nor does somebody's signature count for two.
            note = operators.sign([step], "kz-kgd")
            reply = await operators.submit(validator.name, note + note.splitlines(keepends=True)[-1])
            assert reply.state == "refused"
        for validator in processes.network.validators[:4]:
            report = await operators.membership(validator.name)
            assert (report.number, list(report.changes)) == (0, [])
            events = processes.events(validator.name)
            assert not any(event.get("event") == "membership_in_force" for event in events)


async def test_a_linearizable_read_over_http_has_what_was_just_acknowledged_elsewhere_and_never_an_older_state(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "net", validators_per_authority=1, witness="harbour-trust") as processes:
        network = processes.network
        signer = Signer(network)
        async with Client(network, "kz-kgd-1") as client, gateway_of(processes, "cn-gacc") as url:
            authority = next(each for each in network.authorities if each.name == "cn-gacc")
            key = PrivateKey.from_pem(authority.key("registrar").read_bytes())
            token = TokenSigner(key, participant="cn-gacc/registrar", origin=network.origin)
            async with httpx.AsyncClient(base_url=url, timeout=20) as http:

                async def read(path: str, consistency: str) -> httpx.Response:
                    headers = {"authorization": f"Bearer {token.token()}"}
                    return await http.get(path, params={"consistency": consistency}, headers=headers)

                for _ in range(8):
                    statement = signer.enrol()
                    await until(partial(accepted, client, statement))
                    # Acknowledged by one authority, asked of the other at once.
                    for path in (f"/v1/statements/{statement.id.hex()}", f"/v1/participants/{statement.sub}"):
                        reply = await read(path, "linearizable")
                        assert reply.status_code == 200, (path, reply.text)
                # Nobody can say any more what is newest: no answer, where a local read has one.
                processes.kill("kz-kgd-1", "harbour-trust-1")
                path = f"/v1/statements/{statement.id.hex()}"
                reply = await read(path, "linearizable")
                assert (reply.status_code, code_of(reply.json()["type"])) == (503, "read_not_confirmed")
                assert (await read(path, "local")).status_code == 200
                processes.start("kz-kgd-1", "harbour-trust-1")

                async def confirmed() -> bool:
                    return (await read(path, "linearizable")).status_code == 200

                await until(confirmed, what="a linearizable read")


async def accepted(client: Client, statement: Statement) -> bool:
    return bool((await client.submit([statement.raw]))[0].HasField("accepted"))
