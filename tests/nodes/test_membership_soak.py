"""Changes of the membership as real processes meet them: under load, with machines that are gone, at a power cut.

What takes long runs under `make soak`. After each, what one would look at in earnest: every statement that was
acknowledged is there once, everywhere; everybody derives the same membership; the exported archive passes the audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import grpc
import pytest

from api.proto import validator_pb2
from ledger.archive import MEMBERSHIP
from ledger.membership import Role
from ledger.statement import Statement
from nodes.validator import EXIT_REMOVED
from tests.nodes.membership import Operators, demote, promote, remove
from tests.nodes.network import Client, Processes, Signer, all_final, gateway_of, running, until, wait_ready

pytestmark = [pytest.mark.processes, pytest.mark.soak]


class Load:
    """Trucks are enrolled through whoever is there, each statement until it is accepted, as devices do."""

    def __init__(self, processes: Processes, names: Iterable[str]) -> None:
        self.processes = processes
        self.names = list(names)
        self.accepted: list[Statement] = []
        self._signer = Signer(processes.network)

    async def _send(self, number: int) -> None:
        while True:
            statement = self._signer.enrol()
            taken = partial(self._taken, statement, number)
            await until(taken, what="a statement accepted")
            self.accepted.append(statement)

    async def _taken(self, statement: Statement, number: int) -> bool:
        name = self.names[(number + len(self.accepted)) % len(self.names)]
        try:
            async with Client(self.processes.network, name) as client, asyncio.timeout(10):
                return bool((await client.submit([statement.raw]))[0].HasField("accepted"))
        except (grpc.aio.AioRpcError, TimeoutError):
            return False

    @contextlib.asynccontextmanager
    async def going_on(self, lanes: int = 3) -> AsyncIterator[Load]:
        tasks = [asyncio.create_task(self._send(number)) for number in range(lanes)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    async def more(self, count: int = 5) -> None:
        """Wait until so many more are accepted."""
        wanted = len(self.accepted) + count

        async def there() -> bool:
            return len(self.accepted) >= wanted

        await until(there, what=f"{count} more statements accepted")


async def raws_of(processes: Processes, name: str) -> list[bytes]:
    raws: list[bytes] = []
    async with Client(processes.network, name) as client:
        first, more = 0, True
        while more:
            page = await client.stub.GetEntries(validator_pb2.EntriesQuery(first=first, limit=500))
            raws += [entry.raw for entry in page.entries]
            first, more = page.next, bool(page.entries)
    return raws


async def check_everybody(operators: Operators, names: Iterable[str], statements: list[Statement]) -> None:
    """All that was acknowledged is final there, once, in one order; and all know the same members."""
    processes = operators.processes
    logs = []
    for name in names:
        await all_final(processes.network, name, [statement.id for statement in statements])

        async def settled(name: str = name) -> bool:
            report = await operators.membership(name)
            return bool(report.digest == operators.register.digest and report.committed and not report.joint)

        await until(settled, what=f"{name} knows of membership {operators.register.number}")
        logs.append(await raws_of(processes, name))
    shortest = min(map(len, logs))
    assert all(log[:shortest] == logs[0][:shortest] for log in logs)
    assert all(logs[0].count(statement.raw) == 1 for statement in statements)


def exit_status(processes: Processes, name: str) -> int:
    return processes.running.pop(name).wait(20)


async def join(operators: Operators, name: str, like: str, through: str) -> None:
    """A newcomer is made, started and let in, and has executed everything."""
    made = operators.make(name, like=like)
    operators.processes.start(name)
    await operators.change(through, made.step)
    await wait_ready(operators.processes.network, [name])


def comity(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodes.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


async def check_archive(operators: Operators, directory: Path, altered: str) -> None:
    """What anybody exports passes the audit under the present policy; with an altered change beside it, it does not."""
    network = operators.processes.network
    archive, policy = directory / "archive", directory / "present.policy"
    signer = ("--as", "kz-kgd/registrar", "--key", network.authorities[0].key("registrar"))
    async with gateway_of(operators.processes, "kz-kgd") as url:
        for arguments in (
            (
                "membership",
                "policy",
                "--genesis",
                network.genesis,
                "--gateway",
                url,
                "--authority",
                "kz-kgd",
                "--out",
                policy,
            ),
            ("export", archive, "--gateway", url, "--policy", policy, *signer),
        ):
            done = await asyncio.to_thread(comity, *arguments)
            assert done.returncode == 0, (done.stdout, done.stderr)
    changes = (archive / MEMBERSHIP).read_bytes()
    assert changes == b"".join(operators.notes)
    audit = ("audit", archive, "--policy", policy)
    done = await asyncio.to_thread(comity, *audit)
    assert done.returncode == 0, (done.stdout, done.stderr)
    other_name = changes.replace(altered.encode(), b"fr-dgd-1", 1)
    for spoilt in (other_name, b"".join(operators.notes[1:]), changes[:-1]):
        (archive / MEMBERSHIP).write_bytes(spoilt)
        done = await asyncio.to_thread(comity, *audit)
        assert (done.returncode, "changes of the membership do not hold" in done.stdout) == (1, True), done.stdout


async def test_two_and_two_grow_to_three_and_three_and_back_under_load(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        operators = Operators(processes)
        first = [each.name for each in processes.network.validators]
        async with Load(processes, first).going_on() as load:
            for name, like in (("kz-kgd-3", "kz-kgd-1"), ("cn-gacc-3", "cn-gacc-1")):
                await join(operators, name, like, through=like)
                await operators.change(like, promote(name))
                await load.more()
            everybody = [*first, "kz-kgd-3", "cn-gacc-3"]
            assert {member.name for member in operators.register.of(Role.VOTER)} == set(everybody)
            # Six voters: one of each side may be away.
            processes.kill("kz-kgd-1", "cn-gacc-1")
            load.names = ["kz-kgd-3", "kz-kgd-2"]
            await load.more(10)
            processes.start("kz-kgd-1", "cn-gacc-1")
            await wait_ready(processes.network, ["kz-kgd-1", "cn-gacc-1"])
            load.names = ["kz-kgd-3", "kz-kgd-1"]
            # Back: the first of each side leave, and who came stays.
            for name, through in (("kz-kgd-2", "kz-kgd-1"), ("cn-gacc-2", "cn-gacc-1")):
                await operators.change(through, remove(name))
                assert await asyncio.to_thread(exit_status, processes, name) == EXIT_REMOVED
                await load.more()
        await check_everybody(operators, ["kz-kgd-1", "kz-kgd-3", "cn-gacc-1", "cn-gacc-3"], load.accepted)
        await check_archive(operators, tmp_path, altered="kz-kgd-3")


async def test_a_validator_that_is_dead_is_replaced_by_another_identity(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        operators = Operators(processes)
        dead = "cn-gacc-2"
        async with Load(processes, ["kz-kgd-1", "kz-kgd-2"]).going_on() as load:
            await load.more()
            processes.kill(dead)
            await load.more()
            await join(operators, "cn-gacc-3", "cn-gacc-1", through="kz-kgd-1")
            await operators.change("kz-kgd-1", promote("cn-gacc-3"), remove(dead))
            await load.more()
            # Only with the new one is there anybody of its authority.
            processes.kill("cn-gacc-1")
            await load.more(10)
            processes.start("cn-gacc-1")
            await wait_ready(processes.network, ["cn-gacc-1"])
        await check_everybody(operators, ["kz-kgd-1", "kz-kgd-2", "cn-gacc-1", "cn-gacc-3"], load.accepted)
        # The machine is found again: it is told why nobody wants it, and ends.
        processes.start(dead)
        assert await asyncio.to_thread(exit_status, processes, dead) == EXIT_REMOVED


async def test_all_are_killed_while_a_joint_change_waits_for_the_other_authority(tmp_path: Path) -> None:
    async with running(tmp_path / "net") as processes:
        operators = Operators(processes)
        network = processes.network
        side, other = await leading_side(processes)
        first, second, third = (f"{side}-{number}" for number in (1, 2, 3))
        signer = Signer(network, side)
        before = [signer.enrol() for _ in range(5)]
        async with Client(network, first) as client:
            await until(lambda: all_accepted(client, before))
        await join(operators, third, like=first, through=first)
        steps = (promote(third), remove(second))
        # Alone the side of the leader can append the change, by which it is in force, and never commit it.
        processes.kill(*other)
        change = asyncio.create_task(handed_in(operators, first, operators.sign(steps)))
        await until(lambda: joint_somewhere(processes), what="a joint membership in force")
        processes.kill(*processes.running)
        await change
        processes.start()
        await operators.change(first, *steps)
        assert await asyncio.to_thread(exit_status, processes, second) == EXIT_REMOVED
        after = [signer.enrol() for _ in range(5)]
        async with Client(processes.network, third) as client:
            await until(lambda: all_accepted(client, after))
        await check_everybody(operators, [first, third, *other], before + after)
        await check_archive(operators, tmp_path, altered=third)


async def leading_side(processes: Processes) -> tuple[str, list[str]]:
    """The authority whose validator leads, and the validators of the other."""
    async with Client(processes.network, "kz-kgd-1") as client:

        async def leader() -> str:
            return str((await client.status()).leader)

        side = str(await until(leader, what="a leader")).rpartition("-")[0]
    return side, [each.name for each in processes.network.validators if each.authority != side]


async def test_a_power_cut_at_any_moment_of_a_joint_change_loses_nothing_and_ends_in_one_membership(
    tmp_path: Path,
) -> None:
    chance = random.Random(20261122)
    async with running(tmp_path / "net") as processes:
        operators = Operators(processes)
        await join(operators, "kz-kgd-3", "kz-kgd-1", through="kz-kgd-1")
        voters = ("kz-kgd-3", "kz-kgd-2")
        statements: list[Statement] = []
        for _ in range(6):
            # Forth and back: one gets the vote that the other gives up.
            steps = (promote(voters[0]), demote(voters[1]))
            voters = voters[1], voters[0]
            load = Load(processes, ["kz-kgd-1", "kz-kgd-2", "kz-kgd-3"])
            async with load.going_on():
                change = asyncio.create_task(handed_in(operators, "kz-kgd-1", operators.sign(steps)))
                await asyncio.sleep(chance.uniform(0.0, 0.12))
                processes.kill(*processes.running)
                await asyncio.gather(change, return_exceptions=True)
                processes.start()
                await operators.change("kz-kgd-1", *steps)
                await load.more()
            statements += load.accepted
        everybody = [each.name for each in processes.network.validators]
        await wait_ready(processes.network, everybody)
        await check_everybody(operators, everybody, statements)


async def handed_in(operators: Operators, name: str, note: bytes) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await operators.submit(name, note)


async def all_accepted(client: Client, statements: list[Statement]) -> bool:
    results = await client.submit([statement.raw for statement in statements])
    return all(result.HasField("accepted") for result in results)


async def joint_somewhere(processes: Processes) -> bool:
    return any(
        event.get("event") == "membership_in_force" and event["joint"]
        for name in processes.running
        for event in processes.events(name)
    )
