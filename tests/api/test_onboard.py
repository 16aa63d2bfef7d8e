"""A device on an adversarial link: lost, doubled, late, refused, without power at any sync. Nothing signed is lost."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.exchange import NotAuthenticated, Overloaded, ProblemError, RejectedStatement, Unavailable, Unreachable
from api.onboard import OnboardDevice
from contracts.telemetry import Fix, check_batch, parse_telemetry
from ledger.algorithms import PrivateKey
from ledger.errors import Misuse
from ledger.statement import Statement, parse_statement

KEY = PrivateKey.generate()
TRUCK = "kz/truck/t-001"
MRNS = ("19GBCKKCQSXV2FGVA8", "26KZAAAAAAAAAAAAK4")
REFUSED_KIND = "escort.arrive"
FATES = ("there", "lost", "answer lost", "late", "unavailable", "overloaded", "committed", "token")


@dataclass(frozen=True)
class Answer:
    final: bool


@dataclass
class Gateway:
    """Takes statements once each, by id, as the ledger does. `fates` says what becomes of each call."""

    fates: Iterator[str]
    log: list[Statement] = field(default_factory=list)
    refused: set[bytes] = field(default_factory=set)
    attachments: dict[bytes, bytes] = field(default_factory=dict)
    on_the_way: list[bytes] = field(default_factory=list)

    def _take(self, raw: bytes) -> bool:
        statement = parse_statement(raw)
        if statement.kind == REFUSED_KIND:
            self.refused.add(statement.id)
            return False
        if statement.id not in {each.id for each in self.log}:
            self.log.append(statement)
        return True

    def _arrive(self) -> str:
        for raw in self.on_the_way:  # what was late comes now, before what was sent after it
            self._take(raw)
        self.on_the_way.clear()
        fate = next(self.fates)
        if fate == "lost":
            raise Unreachable("no answer")
        if fate == "unavailable":
            raise Unavailable("authority_unreachable", {"status": 503})
        if fate == "overloaded":
            raise Overloaded("overloaded", {"status": 429})
        if fate == "token":
            raise NotAuthenticated("token_expired", {"status": 401})
        return fate

    def submit(self, raw: bytes, *, wait: str = "committed") -> Answer:
        fate = self._arrive()
        if fate == "late":
            self.on_the_way.append(raw)
            raise Unreachable("no answer")
        taken = self._take(raw)
        if fate == "answer lost":
            raise Unreachable("no answer")
        if not taken:
            raise RejectedStatement("rejected", {"outcome_code": 302, "outcome": "movement_transition_not_allowed"})
        return Answer(fate != "committed")

    def put_attachment(self, media_type: str, data: bytes) -> bool:
        fate = self._arrive()
        digest = hashlib.sha256(data).digest()
        new = digest not in self.attachments
        if fate != "late":
            self.attachments[digest] = data
        if fate in ("answer lost", "late"):
            raise Unreachable("no answer")
        return new


class InBetween:
    """The same gateway over an asynchronous link: other things happen while it answers."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def submit(self, raw: bytes, *, wait: str = "committed") -> Answer:
        await asyncio.sleep(0)
        return self._gateway.submit(raw, wait=wait)

    async def put_attachment(self, media_type: str, data: bytes) -> bool:
        await asyncio.sleep(0)
        return self._gateway.put_attachment(media_type, data)


class PowerCut(Exception):
    pass


@contextmanager
def power_cut_at_sync(number: int) -> Iterator[None]:
    """The power goes when the disk is asked to sync for the `number`th time: before it does, or just after."""
    fsync, left = os.fsync, itertools.count(1)

    def cut(descriptor: int) -> None:
        if next(left) * 2 >= number:
            if number % 2:
                fsync(descriptor)
            raise PowerCut
        fsync(descriptor)

    os.fsync = cut  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = fsync


class World:
    """A device, its disks one after the other, and what it was promised."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.disks = itertools.count(1)
        self.time_ms = itertools.count(1_790_000_000_000, 1000)
        self.random = itertools.count(1)
        self.signed: list[Statement] = []
        self.recorded: list[Fix] = []
        self.unsure: list[Fix] = []  # recorded, and only perhaps on the disk
        self.kept: list[Fix] = []  # flushed, so promised
        self.disk = root / "disk-0"
        self.device = self.open()

    def open(self) -> OnboardDevice:
        return OnboardDevice(
            TRUCK,
            KEY,
            self.disk,
            clock_s=lambda: 1_790_000_000,
            random_bytes=lambda size: next(self.random).to_bytes(size, "big"),
        )

    def lose_power(self) -> None:
        """What the old process still had in memory never reaches the disk that the new one finds."""
        self.unsure = []
        before = self.disk
        self.disk = self.root / f"disk-{next(self.disks)}"
        shutil.copytree(before, self.disk)
        self.device = self.open()

    def _keep(self) -> None:
        self.kept += self.unsure
        self.unsure = []

    def act(self, action: tuple[Any, ...], gateway: Gateway) -> None:
        match action:
            case ("sign", kind, number):
                self.signed.append(self.device.sign(kind, MRNS[number], {"n": 1}))
            case ("record", number):
                for _ in range(number):
                    fix = Fix(next(self.time_ms), 1, 2, None if number % 2 else 3)
                    self.device.record(MRNS[0], fix)
                    self.recorded.append(fix)
                    self.unsure.append(fix)
            case ("flush",):
                self.device.flush()
                self._keep()
            case ("batch",):
                statement = self.device.close_batch()
                if statement is not None:
                    self.signed.append(statement)
                self._keep()
            case ("send",):
                self.device.send(gateway)
            case ("send in between",):
                asyncio.run(self.device.send_async(InBetween(gateway)))
            case ("power",):
                self.lose_power()


ACTIONS = st.one_of(
    st.tuples(st.just("sign"), st.sampled_from(("escort.position", REFUSED_KIND)), st.sampled_from((0, 1))),
    st.tuples(st.just("record"), st.integers(1, 4)),
    st.sampled_from((("flush",), ("batch",), ("send",), ("send in between",), ("power",))),
)


@settings(max_examples=40, deadline=None)
@given(
    actions=st.lists(st.tuples(ACTIONS, st.none() | st.integers(1, 14)), max_size=25),
    fates=st.lists(st.sampled_from(FATES), max_size=60),
)
def test_every_signed_statement_is_on_the_log_once_or_refused_and_every_kept_fix_in_one_batch(
    actions: list[tuple[tuple[Any, ...], int | None]], fates: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(tmp_path_factory.mktemp("device"))
    gateway = Gateway(itertools.chain(fates, itertools.repeat("there")))
    for action, cut_at in actions:
        if cut_at is None:
            world.act(action, gateway)
            continue
        try:
            with power_cut_at_sync(cut_at):
                world.act(action, gateway)
        except PowerCut:
            world.lose_power()
    world.act(("batch",), gateway)
    for _ in range(len(fates) + 3):
        world.device.send(gateway)
    assert world.device.waiting == 0

    ids = [statement.id for statement in gateway.log]
    assert len(set(ids)) == len(ids)
    for statement in world.signed:
        assert (statement.id in ids) != (statement.id in gateway.refused)
    for subject in MRNS:
        order = [statement.id for statement in world.signed if statement.sub == subject and statement.id in ids]
        assert [i for i in ids if i in order] == order, "in the order of signing"
    batches = [statement for statement in gateway.log if "batch" in statement.payload]
    fixes: list[Fix] = []
    for statement in batches:
        signed: Any = statement.payload["batch"]
        raw = gateway.attachments[signed["sha256"]]
        check_batch(raw, signed)
        fixes += parse_telemetry(raw)
    assert [fix.at_ms for fix in fixes] == sorted({fix.at_ms for fix in fixes}), "none twice, none out of order"
    assert set(world.kept) <= set(fixes) <= set(world.recorded)
    assert len(gateway.attachments) == len(batches), "no batch without its statement"


def test_what_is_in_a_batch_that_was_sent_is_not_in_another_one_after_a_power_cut(tmp_path: Path) -> None:
    world, gateway = World(tmp_path), always("there")
    for action in (("record", 3), ("batch",), ("send",), ("power",), ("batch",), ("send",)):
        world.act(action, gateway)
    (statement,) = gateway.log
    signed: Any = statement.payload["batch"]
    assert signed["fixes"] == 3


@pytest.fixture
def device(tmp_path: Path) -> Iterator[OnboardDevice]:
    made = OnboardDevice(TRUCK, KEY, tmp_path, clock_s=lambda: 1_790_000_000)
    yield made
    made.close()


def always(fate: str) -> Gateway:
    return Gateway(itertools.repeat(fate))


def test_a_refusal_is_noted_where_somebody_finds_it_and_the_next_one_goes_on(
    device: OnboardDevice, tmp_path: Path
) -> None:
    refused = device.sign(REFUSED_KIND, MRNS[0], {})
    device.sign("escort.position", MRNS[0], {})
    sent = device.send(always("there"))
    assert (sent.final, sent.refused, sent.waiting) == (1, 1, 0)
    (note,) = (tmp_path / "kz~truck~t-001.refused").read_text().splitlines()
    assert json.loads(note) == {
        "id": refused.id_hex,
        "kind": REFUSED_KIND,
        "sub": MRNS[0],
        "outcome": "movement_transition_not_allowed",
    }


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("fate", ["lost", "unavailable", "overloaded", "token", "committed"])
def test_what_is_not_now_is_kept_and_nothing_overtakes_it(device: OnboardDevice, fate: str, asynchronous: bool) -> None:
    device.sign("escort.position", MRNS[0], {})
    device.sign("escort.position", MRNS[0], {})
    sent = asyncio.run(device.send_async(InBetween(always(fate)))) if asynchronous else device.send(always(fate))
    assert (sent.final, sent.refused, sent.waiting) == (0, 0, 2)
    assert (sent.last_error is None) == (fate == "committed")


def test_what_is_about_one_thing_can_be_sent_without_the_rest_and_batches_without_statements(
    device: OnboardDevice,
) -> None:
    gateway = always("there")
    device.sign("escort.position", MRNS[0], {})
    device.sign("escort.position", MRNS[1], {})
    device.record(MRNS[1], Fix(1, 2, 3))
    assert device.fixes == 1
    device.close_batch()
    assert (device.fixes, device.batches_waiting, device.subjects()) == (0, 1, list(MRNS))
    sent = asyncio.run(device.send_about_async(MRNS[0], InBetween(gateway)))
    assert (sent.final, sent.batches, sent.waiting) == (1, 0, 3)
    sent = asyncio.run(device.send_batches_async(InBetween(gateway)))
    assert (sent.final, sent.batches, sent.waiting) == (0, 1, 2)
    assert [statement.sub for statement in gateway.log] == [MRNS[0]]


def test_a_batch_that_no_gateway_will_ever_take_is_set_aside_and_not_deleted(
    device: OnboardDevice, tmp_path: Path
) -> None:
    class Refusing(Gateway):
        def put_attachment(self, media_type: str, data: bytes) -> bool:
            raise ProblemError("bad_attachment", {"status": 400})

    device.record(MRNS[0], Fix(1, 2, 3))
    device.close_batch()
    assert device.send(Refusing(itertools.repeat("there"))).waiting == 0
    assert len(list((tmp_path / "kz~truck~t-001.batches").glob("*.refused"))) == 1


def test_a_track_is_about_one_movement_and_goes_forward(device: OnboardDevice) -> None:
    assert device.close_batch() is None
    device.record(MRNS[0], Fix(5, 2, 3))
    refusals: list[Callable[[], None]] = [
        lambda: device.record(MRNS[1], Fix(6, 2, 3)),
        lambda: device.record(MRNS[0], Fix(5, 2, 3)),
        lambda: device.record(MRNS[0], Fix(6, 90_000_001, 3)),
    ]
    for refused in refusals:
        with pytest.raises(Misuse):
            refused()
    first = device.close_batch()
    device.record(MRNS[1], Fix(1, 2, 3))
    second = device.close_batch()
    assert first is not None
    assert second is not None
    assert (first.sub, second.sub) == MRNS
