"""Four validators as real processes over real sockets, on bad days. One network for what does not break it."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest

from api.proto import validator_pb2
from ledger.merkle import leaf_hash
from ledger.policy import parse_policy
from ledger.proof import parse_proof, verify_proof
from ledger.statement import Statement
from tests.nodes.network import (
    PATIENCE_S,
    Client,
    Processes,
    Signer,
    all_final,
    make_network,
    running,
    until,
    wait_ready,
)

pytestmark = pytest.mark.processes


def http(processes: Processes, name: str, path: str) -> tuple[int, str]:
    address = processes.validator(name).http_address
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def submit_until_accepted(client: Client, statements: list[Statement]) -> None:
    """As a device does: what was not answered with yes is sent again."""
    left = statements
    while left:
        results = await client.submit([statement.raw for statement in left])
        left = [statement for statement, result in zip(left, results, strict=True) if not result.HasField("accepted")]


async def leader_of(processes: Processes, name: str) -> str:
    async with Client(processes.network, name) as client:

        async def leader() -> str:
            return str((await client.status()).leader)

        return str(await until(leader, what="a leader"))


async def test_the_main_job_and_the_ways_to_ask(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        network = processes.network
        signer = Signer(network)
        statements = [signer.enrol() for _ in range(40)]
        async with Client(network, "kz-kgd-1") as client, Client(network, "cn-gacc-2") as partner:
            await check_submission(client, partner, processes, statements)
            await check_proofs(client, processes, statements)
            await check_reading(client, statements)
            await check_bad_statements(client, signer, statements[0])
        status, text = await asyncio.to_thread(http, processes, "kz-kgd-1", "/readyz")
        assert (status, text) == (200, "ready\n")
        metrics = (await asyncio.to_thread(http, processes, "kz-kgd-1", "/metrics"))[1]
        assert "comity_statements_accepted_total 40.0" in metrics
        assert (await asyncio.to_thread(http, processes, "kz-kgd-1", "/nothing"))[0] == 404
        assert set(processes.stop().values()) == {0}
        assert [
            event for name in network.validators for event in processes.events(name.name) if event["level"] == "error"
        ] == []


async def check_submission(client: Client, partner: Client, processes: Processes, statements: list[Statement]) -> None:
    results = await client.submit([statement.raw for statement in statements])
    assert {result.WhichOneof("outcome") for result in results} == {"accepted"}
    assert len({result.accepted.index for result in results}) == len(statements)
    again = await partner.submit([statement.raw for statement in statements])
    # The partner's side answers with the same index, whether it had executed them by then or not.
    assert [result.accepted.index for result in again] == [result.accepted.index for result in results]
    for name in processes.running:
        await all_final(processes.network, name, [statement.id for statement in statements])


async def check_proofs(client: Client, processes: Processes, statements: list[Statement]) -> None:
    reply = await client.stub.GetProof(validator_pb2.StatementQuery(id=statements[7].id))
    assert reply.final
    for authority in processes.network.authorities:
        proof = parse_proof(reply.proof)
        checkpoint = verify_proof(proof, leaf_hash(statements[7].raw), parse_policy(authority.policy.read_bytes()))
        assert checkpoint.size > proof.index
    info = await client.statement(statements[7].id)
    assert set(info.cosigned_at_s) == {"kz-kgd", "cn-gacc"}
    assert all(abs(at - time.time()) < 60 for at in info.cosigned_at_s.values())
    assert not (await client.statement(bytes(32))).found


async def check_reading(client: Client, statements: list[Statement]) -> None:
    stub = client.stub
    status = await client.status()
    entries: list[Any] = []
    first = 0
    while first < status.size:
        page = await stub.GetEntries(validator_pb2.EntriesQuery(first=first, limit=7))
        entries.extend(page.entries)
        first = page.next
    assert [entry.index for entry in entries] == list(range(status.size))
    assert {statement.raw for statement in statements} <= {entry.raw for entry in entries}
    about = await stub.GetEntries(validator_pb2.EntriesQuery(subject=statements[3].sub, final_only=True))
    assert [entry.raw for entry in about.entries] == [statements[3].raw]
    names: list[str] = []
    more = True
    while more:
        page = await stub.ListRecords(
            validator_pb2.ListQuery(prefix="registry/kz/truck/", after=names[-1] if names else "", limit=9)
        )
        names += [record.key for record in page.records]
        more = page.more
    assert names == sorted(f"registry/{statement.sub}" for statement in statements)
    records = await stub.GetRecords(validator_pb2.RecordsQuery(keys=[names[0], "registry/none"]))
    assert [record.key for record in records.records] == [names[0]]
    assert (await stub.GetTile(validator_pb2.TileQuery(path=f"tile/0/000.p/{min(status.size, 255)}"))).found
    for path in ("tile/0/001", "../../etc/passwd", "tile/0/000.p/0", ""):
        assert not (await stub.GetTile(validator_pb2.TileQuery(path=path))).found
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetStatement(validator_pb2.StatementQuery(id=b"short"))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def check_bad_statements(client: Client, signer: Signer, good: Statement) -> None:
    forged = bytearray(signer.enrol().raw)
    forged[-1] ^= 1
    before = (await client.status()).size
    malformed, oversized, untrue, taken = await client.submit(
        [b"\xd2\x84garbage", good.raw + bytes(40_000), bytes(forged), signer.enrol(good.sub.rpartition("/")[2]).raw]
    )
    reasons = validator_pb2.Refused.Reason
    assert (malformed.refused.reason, oversized.refused.reason) == (reasons.MALFORMED, reasons.MALFORMED)
    assert oversized.refused.code == "too_large"
    assert (untrue.refused.reason, untrue.refused.code) == (reasons.UNTRUE, "bad_signature")
    assert taken.rejected.name == "participant_already_enrolled"
    assert (await client.status()).size == before


async def test_without_one_authority_nothing_is_committed_and_everybody_says_which(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        network = processes.network
        signer = Signer(network)
        before, during = [signer.enrol() for _ in range(5)], [signer.enrol() for _ in range(5)]
        async with Client(network, "kz-kgd-1") as client:
            await client.submit([statement.raw for statement in before])
            await all_final(network, "kz-kgd-1", [statement.id for statement in before])
            processes.kill("cn-gacc-1", "cn-gacc-2")

            async def named() -> bool:
                status = await client.status()
                return not status.ready and "waiting for cn-gacc" in status.state

            await until(named)
            size = (await client.status()).size
            results = await client.submit([statement.raw for statement in during])
            assert {result.refused.reason for result in results} == {validator_pb2.Refused.Reason.UNAVAILABLE}
            assert all(list(result.refused.missing_authorities) == ["cn-gacc"] for result in results)
            assert all(result.refused.retry_after_ms for result in results)
            assert (await client.status()).size == size
            status, text = await asyncio.to_thread(http, processes, "kz-kgd-2", "/readyz")
            assert status == 503
            assert "waiting for cn-gacc" in text

            processes.start("cn-gacc-1", "cn-gacc-2")
            await wait_ready(network, processes.running)
            # The devices send again; what was on its way already happens once all the same.
            again = await client.submit([statement.raw for statement in during])
            assert {result.WhichOneof("outcome") for result in again} == {"accepted"}
            for name in ("kz-kgd-2", "cn-gacc-1", "cn-gacc-2"):
                await all_final(network, name, [statement.id for statement in before + during])
            entries = (await client.stub.GetEntries(validator_pb2.EntriesQuery(limit=1000))).entries
            raws = [entry.raw for entry in entries]
            assert all(raws.count(statement.raw) == 1 for statement in before + during)


async def test_the_leader_is_killed_under_load_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        network = processes.network
        leader = await leader_of(processes, "kz-kgd-1")
        side = "cn-gacc" if leader.startswith("kz") else "kz-kgd"
        signer = Signer(network, side)
        statements = [signer.enrol() for _ in range(300)]
        async with Client(network, f"{side}-1") as client:

            async def device(part: list[Statement]) -> None:
                for start in range(0, len(part), 5):
                    await submit_until_accepted(client, part[start : start + 5])

            devices = [asyncio.create_task(device(statements[number::6])) for number in range(6)]
            await asyncio.sleep(0.15)
            processes.kill(leader)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*devices)
            processes.start(leader)
            await wait_ready(network, [leader])
            for name in (leader, f"{side}-2"):
                await all_final(network, name, [statement.id for statement in statements])
            raws = []
            first, more = 0, True
            while more:
                page = await client.stub.GetEntries(validator_pb2.EntriesQuery(first=first, limit=500))
                raws += [entry.raw for entry in page.entries]
                first, more = page.next, bool(page.entries)
            sent = {statement.raw for statement in statements}
            assert sorted(raw for raw in raws if raw in sent) == sorted(sent)


async def test_killed_at_any_moment_a_validator_starts_from_its_disk_and_signs_the_same_bytes(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        network = processes.network
        signer = Signer(network)
        sent: list[Statement] = []
        async with Client(network, "kz-kgd-1") as client:
            for _ in range(2):
                batch = [signer.enrol() for _ in range(20)]
                sent += batch
                submission = asyncio.create_task(submit_until_accepted(client, batch))
                await asyncio.sleep(0.03)
                processes.kill("cn-gacc-2")
                processes.start("cn-gacc-2")
                await submission
                await wait_ready(network, ["cn-gacc-2"])
            await all_final(network, "cn-gacc-2", [statement.id for statement in sent])
        notes = await own_notes(processes, "cn-gacc-2")
        processes.kill("cn-gacc-2")
        processes.start("cn-gacc-2")
        await wait_ready(network, ["cn-gacc-2"])
        assert await own_notes(processes, "cn-gacc-2") == notes
        assert set(processes.stop().values()) == {0}


async def own_notes(processes: Processes, name: str) -> tuple[bytes, bytes]:
    """The final checkpoint that a validator holds, and one of its proofs."""
    async with Client(processes.network, name) as client:
        async for event in client.stub.Follow(validator_pb2.FollowRequest()):
            if event.HasField("final"):
                checkpoint = event.final.checkpoint
                break
        entry = (await client.stub.GetEntries(validator_pb2.EntriesQuery(first=1, limit=1))).entries[0]
        proof = await client.stub.GetProof(validator_pb2.StatementQuery(id=leaf_hash(entry.raw)))
        return checkpoint, proof.proof


async def ended(processes: Processes, name: str) -> int:
    try:
        return await asyncio.to_thread(processes.running[name].wait, 120)
    finally:
        processes.kill(name)


async def test_a_validator_whose_disk_contradicts_itself_says_so_and_stops(tmp_path: Path) -> None:
    processes = make_network(tmp_path / "net")
    data = processes.validator("kz-kgd-1").config.parent / "data"
    (data / "first-start").unlink()
    (data / "order").mkdir()
    processes.start("kz-kgd-1")
    code = await ended(processes, "kz-kgd-1")
    assert code == 4
    assert "has no order, and this is not the first start" in processes.events("kz-kgd-1")[-1]["reason"]


async def test_a_validator_whose_port_is_taken_says_so_and_stops(tmp_path: Path) -> None:
    processes = make_network(tmp_path / "net")
    address = processes.validator("kz-kgd-1").service_address
    server = await asyncio.start_server(lambda *_: None, address.host, address.port)
    processes.start("kz-kgd-1")
    code = await ended(processes, "kz-kgd-1")
    server.close()
    assert code == 3
    assert "cannot listen" in processes.events("kz-kgd-1")[-1]["reason"]
