"""A network is upgraded one validator at a time, under load, and one is put back: real processes of two releases.

The previous release is not imitated: its sources are taken from the history of this repository and run beside the
present ones. It made the network, its folders and its configuration, so that what a new release must read is there too.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.client import AsyncClient
from api.proto import validator_pb2
from ledger.statement import Statement
from nodes.config import load_validator_config
from nodes.identity import load_identity
from nodes.network import Network, init_network, load_network
from nodes.proto import peer_pb2
from nodes.validator import Validator
from nodes.versions import SPOKEN, Feature, VersionRange
from tests.nodes.network import AUTHORITIES, ORIGIN, PATIENCE_S, Client, Processes, Signer, until, wait_ready

ROOT = Path(__file__).resolve().parents[2]
# The last commit that speaks version 1 of the protocol and no other.
VERSION_1_COMMIT = "58ebab921b56922b86e83b3435099b2010175073"
MAKE = "import sys, json; from nodes.network import init_network as i; i(sys.argv[1], **json.loads(sys.argv[2]))"
# So many statements a device sends in one go.
EACH = 3


@pytest.fixture(scope="session")
def version_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the previous release."""
    archive = subprocess.run(
        ["git", "archive", VERSION_1_COMMIT, "ledger", "consensus", "contracts", "api", "nodes"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        reason = archive.stderr.decode(errors="replace").strip()
        pytest.skip(f"the history of this checkout does not reach commit {VERSION_1_COMMIT}: {reason}")
    directory = tmp_path_factory.mktemp("version-1")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="data")
    return directory


@asynccontextmanager
async def network_of(program: Path, directory: Path) -> AsyncIterator[Processes]:
    """A network made and run by another release; killed at the end."""
    options = json.dumps({"origin": ORIGIN, "authorities": AUTHORITIES})
    command = [sys.executable, "-c", MAKE, str(directory), options]
    await asyncio.to_thread(subprocess.run, command, cwd=program, check=True, timeout=60)
    processes = Processes(load_network(directory))
    processes.start(program=program)
    try:
        await wait_ready(processes.network, processes.running)
        yield processes
    finally:
        for name in list(processes.running):
            processes.kill(name)


class Load:
    """Devices of both sides that send until they are told yes, and go on with the next; to whoever answers."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.sent: list[Statement] = []
        self._enough = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._device(side, number)) for number, side in enumerate(("kz-kgd", "cn-gacc"))
        ]

    async def _device(self, side: str, number: int) -> None:
        signer = Signer(self._processes.network, side)
        clients = [Client(self._processes.network, f"{side}-{each}") for each in (1, 2)]
        turn = number
        try:
            while not self._enough.is_set():
                statements = [signer.enrol() for _ in range(EACH)]
                self.sent += statements
                left = statements
                while left:
                    turn += 1
                    try:
                        async with asyncio.timeout(5):
                            results = await clients[turn % 2].submit([statement.raw for statement in left])
                    except Exception:  # that one is down, or going down: the other takes it
                        await asyncio.sleep(0.05)
                        continue
                    left = [each for each, result in zip(left, results, strict=True) if not _yes(result)]
                await asyncio.sleep(0.1)
        finally:
            for client in clients:
                await client.close()

    async def stop(self) -> list[Statement]:
        self._enough.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._tasks)
        return self.sent


def _yes(result: Any) -> bool:
    return result is not None and result.HasField("accepted")


async def spoken(processes: Processes, name: str) -> tuple[int, dict[str, int]]:
    """What the network speaks, and the highest version of each, as one of the present release sees it."""
    async with Client(processes.network, name) as client:
        status = await client.status()
        return status.protocol_effective, {each.validator: each.highest for each in status.protocols}


async def speaks(processes: Processes, name: str, effective: int, highest: dict[str, int]) -> None:
    async def so() -> bool:
        return await spoken(processes, name) == (effective, highest)

    await until(so, what=f"{name} to see version {effective} of {highest}")


async def replace(processes: Processes, name: str, program: Path | None) -> None:
    assert processes.stop(name) == {name: 0}
    if program is not None:
        # Its records have checksums now, which the release before does not know.
        command = ("-m", "nodes.cli", "storage", "downgrade", str(processes.validator(name).config.parent / "data"))
        assert await (await asyncio.create_subprocess_exec(sys.executable, *command)).wait() == 0
    processes.start(name, program=program)
    await wait_ready(processes.network, [name])


async def entries_of(processes: Processes, name: str) -> list[bytes]:
    raws: list[bytes] = []
    async with Client(processes.network, name) as client:
        while page := (await client.stub.GetEntries(validator_pb2.EntriesQuery(first=len(raws), limit=500))).entries:
            raws += [entry.raw for entry in page]
    return raws


async def final_note(processes: Processes, name: str) -> tuple[int, bytes]:
    """Size and root of what a validator holds as final."""
    async with Client(processes.network, name) as client:
        async for event in client.stub.Follow(validator_pb2.FollowRequest()):
            if event.HasField("final"):
                return event.final.size, event.final.checkpoint.split(b"\n")[2]
    raise AssertionError("the stream ended")


async def check_archives(processes: Processes, sent: list[Statement]) -> None:
    """Every statement final everywhere, exactly once, in the same place of identical archives."""
    names = [validator.name for validator in processes.network.validators]

    async def settled() -> Any:
        finals = {await final_note(processes, name) for name in names}
        return finals.pop() if len(finals) == 1 else None

    async def whole() -> bool:
        # A final checkpoint covers everything before it, so what is in the archive up to there is final.
        (size, _) = await until(settled, what="one final checkpoint")
        return bool(size == len(await entries_of(processes, names[0])))

    await until(whole, what="everything final")
    archives = [await entries_of(processes, name) for name in names]
    assert all(archive == archives[0] for archive in archives)
    ours = {statement.raw for statement in sent}
    assert sorted(raw for raw in archives[0] if raw in ours) == sorted(ours)


@asynccontextmanager
async def gateways_of(network: Network, programs: dict[str, Path]) -> AsyncIterator[dict[str, AsyncClient]]:
    """Each authority's gateway, of one release or the other, and a client of it."""
    running: list[asyncio.subprocess.Process] = []
    clients: dict[str, AsyncClient] = {}
    try:
        for gateway in network.gateways:
            command = (sys.executable, "-m", "nodes.cli", "gateway", "run", "--config", str(gateway.config))
            with gateway.config.with_name("log.jsonl").open("ab") as log:
                cwd = programs[gateway.authority]
                running.append(await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=log, stderr=log))
            clients[gateway.authority] = AsyncClient(f"http://{gateway.http_address}")
        yield clients
    finally:
        for client in clients.values():
            await client.close()
        for process in running:
            process.kill()
            await process.wait()


async def check_gateway(client: AsyncClient, statement: Statement) -> None:
    async def ready() -> bool:
        try:
            return bool((await client.status())["ready"])
        except Exception:  # it is not up yet
            return False

    await until(ready, what="a gateway ready")
    result = await client.submit(statement.raw, wait="final")
    assert result.state == "final"


@pytest.mark.processes
async def test_a_network_is_upgraded_one_validator_at_a_time_under_load_and_one_goes_back(
    version_1: Path, tmp_path: Path
) -> None:
    async with network_of(version_1, tmp_path / "net") as processes:
        names = [validator.name for validator in processes.network.validators]
        async with Client(processes.network, names[0]) as client:
            # Whatever leads now goes last, so that the present release follows an old leader as well as leading old
            # followers.
            leader = str((await client.status()).leader)
            assert (await client.status()).protocol_effective == 0  # the previous release does not know the field
        order = [name for name in names if name != leader] + [leader]
        highest = dict.fromkeys(names, 1)
        load = Load(processes)
        signer = Signer(processes.network)
        by_http = [signer.enrol() for _ in range(4)]
        async with gateways_of(processes.network, {"kz-kgd": version_1, "cn-gacc": ROOT}) as gateways:
            await check_gateway(gateways["kz-kgd"], by_http[0])
            await check_gateway(gateways["cn-gacc"], by_http[1])  # a new gateway before old validators
            for name in order:
                await replace(processes, name, None)
                highest[name] = SPOKEN.highest
                await speaks(processes, name, min(highest.values()), highest)
            await check_gateway(gateways["kz-kgd"], by_http[2])  # an old gateway before new validators
            await check_gateway(gateways["cn-gacc"], by_http[3])

            # The gateway asks any validator of its side; the other one may learn a moment later what all speak now.
            async def told() -> bool:
                return bool((await gateways["cn-gacc"].status())["protocol_effective"] == SPOKEN.highest)

            await until(told)
        await replace(processes, order[1], version_1)
        highest[order[1]] = 1
        await speaks(processes, order[0], 1, highest)
        sent = [*await load.stop(), *by_http]
        assert len(sent) > 10 * EACH
        await check_archives(processes, sent)
        assert set(processes.stop().values()) == {0}
        for name in names:
            assert [event for event in processes.events(name) if event["level"] == "error"] == []


@asynccontextmanager
async def in_this_process(network: Network, spoken: dict[str, VersionRange]) -> AsyncIterator[dict[str, Validator]]:
    """Some validators of a network, each held to a range of versions, as a release that speaks only those would be."""
    made: dict[str, Validator] = {}
    try:
        for name, versions in spoken.items():
            config = load_validator_config(network.directory / "validators" / name / "validator.toml")
            made[name] = Validator(config, load_identity(config), spoken=versions)
            await made[name].start()
        yield made
    finally:
        for validator in made.values():
            await validator.stop()


async def test_one_that_is_held_to_an_older_version_holds_everybody_to_it(tmp_path: Path) -> None:
    network = init_network(tmp_path / "net", origin=ORIGIN, authorities=AUTHORITIES, validators_per_authority=1)
    new, old = VersionRange(1, 2), VersionRange(1, 1)
    async with in_this_process(network, {"kz-kgd-1": new, "cn-gacc-1": old}) as made:

        async def announced() -> bool:
            return made["kz-kgd-1"].versions.said("cn-gacc-1") is not None

        await until(announced)
        assert made["kz-kgd-1"].versions.lacking(Feature.MEMBERSHIP_CHANGES) == ["cn-gacc-1"]
        status = made["kz-kgd-1"].report.status()
        assert status.protocol_effective == 1
        assert [(each.validator, each.lowest, each.highest) for each in status.protocols] == [
            ("cn-gacc-1", 1, 1),
            ("kz-kgd-1", 1, 2),
        ]
        assert b"comity_protocol_effective 1.0" in made["kz-kgd-1"].metrics.text()
    async with in_this_process(network, {"kz-kgd-1": new, "cn-gacc-1": new}) as made:

        async def all_speak_it() -> bool:
            return all(validator.versions.speak(Feature.MEMBERSHIP_CHANGES) for validator in made.values())

        await until(all_speak_it)
    async with in_this_process(network, {"kz-kgd-1": new}) as made:
        # Alone, and still sure: it remembers what the other one said.
        assert made["kz-kgd-1"].report.status().protocol_effective == 2


async def test_two_releases_too_far_apart_do_not_take_part_together_and_say_whom_to_upgrade(tmp_path: Path) -> None:
    network = init_network(tmp_path / "net", origin=ORIGIN, authorities=AUTHORITIES, validators_per_authority=1)
    spoken = {"kz-kgd-1": VersionRange(1, 2), "cn-gacc-1": VersionRange(3, 4)}
    async with in_this_process(network, spoken) as made:

        async def refused() -> bool:
            return all(validator.versions.refusals for validator in made.values())

        await until(refused)
        for name, validator in made.items():
            status = validator.report.status()
            assert not status.ready
            refusals = {each.validator: each.refusal for each in status.protocols if each.validator != name}
            assert all("upgrade kz-kgd-1 first" in refusal for refusal in refusals.values())
            assert "upgrade kz-kgd-1 first" in status.state


async def test_a_message_of_a_kind_that_only_a_later_release_knows_is_ignored_and_counted(tmp_path: Path) -> None:
    network = init_network(tmp_path / "net", origin=ORIGIN, authorities=AUTHORITIES, validators_per_authority=1)
    async with in_this_process(network, {"kz-kgd-1": SPOKEN, "cn-gacc-1": SPOKEN}) as made:
        sender, receiver = made["cn-gacc-1"], made["kz-kgd-1"]

        async def leader() -> bool:
            return receiver.ordering.leader is not None and "cn-gacc-1" in receiver.transport.connected()

        await until(leader)
        later = peer_pb2.Envelope.FromString(b"\xfa\x07\x03new")
        unknown_type = peer_pb2.Envelope(raft=peer_pb2.RaftMessage(type=200, term=1))

        async def counted() -> bool:
            sender.transport.send("kz-kgd-1", later)
            sender.transport.send("kz-kgd-1", unknown_type)
            return receiver.versions.unknown.get("cn-gacc-1", 0) >= 4

        await until(counted)
        assert receiver.ordering.refused == 0
        assert receiver.halted is None
        shown = {each.validator: each.unknown_messages for each in receiver.report.status().protocols}
        assert shown["cn-gacc-1"] >= 4
