"""A device signs once, keeps what it signed, sends it in order until it is final, and the same bytes every time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.exchange import Unreachable
from contracts.telemetry import check_batch
from ledger.algorithms import PrivateKey
from ledger.statement import Statement
from nodes.demo.delivery import Delivery, NotNow, Receipt, TurnedAway, latency
from nodes.demo.devices import Device, Records
from nodes.demo.offices import _meaning_of

NAME = "kz/truck/t-001"
MRN, OTHER_MRN = "19GBCKKCQSXV2FGVA8", "26KZBKT000000001J8"


class Office:
    """Answers from a list, then accepts; remembers what it was sent."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.sent: list[Statement] = []
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, statement: Statement, leaving: Callable[[], None]) -> Receipt:
        leaving()
        self.sent.append(statement)
        await self.open.wait()
        if self.answers:
            raise self.answers.pop(0)
        return Receipt(len(self.sent), 1, 1)


class NoJitter(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.0


def _device(tmp_path: Path, *offices: Office) -> tuple[Device, Records]:
    records = Records()
    sides = dict(zip(("kz-kgd", "cn-gacc"), offices, strict=False))
    device = Device(NAME, PrivateKey.generate(), "kz-kgd", sides, tmp_path, records, random.Random(0))
    return device, records


async def test_what_is_put_off_is_sent_again_with_the_same_bytes_until_it_is_final(tmp_path: Path) -> None:
    office = Office(NotNow("waiting for cn-gacc", 0.0, ("cn-gacc",)), NotNow("overloaded", 0.0))
    device, records = _device(tmp_path, office)
    delivery = await device.until_final(device.sign("escort.position", MRN, {}))
    assert len({statement.raw for statement in office.sent}) == 1
    assert (delivery.attempts, records.resent, records.final, device.waiting) == (3, 2, 1, 0)
    assert [reason.missing_authorities for reason in delivery.put_off] == [("cn-gacc",), ()]


async def test_statements_about_one_thing_never_overtake_each_other(tmp_path: Path) -> None:
    office = Office(NotNow("not now", 0.0))
    device, _ = _device(tmp_path, office)
    deliveries = [device.sign("escort.position", MRN, {"n": number}) for number in range(4)]
    await device.until_idle()
    assert [statement.payload["n"] for statement in office.sent] == [0, 0, 1, 2, 3]
    assert all(delivery.final for delivery in deliveries)


async def test_statements_about_different_things_do_not_wait_for_each_other(tmp_path: Path) -> None:
    office = Office()
    office.open.clear()
    device, _ = _device(tmp_path, office)
    device.sign("escort.position", MRN, {})
    device.sign("escort.position", OTHER_MRN, {})
    await asyncio.sleep(0.01)
    assert {statement.sub for statement in office.sent} == {MRN, OTHER_MRN}
    device.close()


async def test_a_no_ends_the_sending_and_is_raised_to_whoever_waits_before_or_after(tmp_path: Path) -> None:
    office = Office(TurnedAway("declaration_not_released", ""))
    device, records = _device(tmp_path, office)
    delivery = device.sign("escort.plan", MRN, {})
    with pytest.raises(TurnedAway, match="declaration_not_released"):
        await device.until_final(delivery)
    with pytest.raises(TurnedAway):
        await device.until_final(delivery)
    assert len(office.sent) == 1
    assert (device.waiting, records.final) == (0, 0)
    # And it does not stand in the way of the next.
    assert (await device.until_final(device.sign("escort.plan", MRN, {}))).final


async def test_lost_power_in_mid_sending_sends_the_same_bytes_again(tmp_path: Path) -> None:
    office = Office()
    office.open.clear()
    device, records = _device(tmp_path, office)
    delivery = device.sign("escort.position", MRN, {})
    await asyncio.sleep(0.01)
    assert device.lose_power() == 1
    await asyncio.sleep(0.01)
    office.open.set()
    assert await device.until_final(delivery) is delivery
    assert len(office.sent) == 2
    assert len({statement.raw for statement in office.sent}) == 1
    assert records.signed == 1


async def test_a_track_survives_a_loss_of_power_and_is_left_at_the_gateway_of_the_side_it_stands_on(
    tmp_path: Path,
) -> None:
    left: list[tuple[str, bytes]] = []

    async def leave(authority: str, media_type: str, data: bytes) -> bool:
        left.append((authority, data))
        return True

    office, records = Office(), Records()
    sides = {"kz-kgd": office, "cn-gacc": office}
    device = Device(NAME, PrivateKey.generate(), "kz-kgd", sides, tmp_path, records, random.Random(0), leave)
    assert device.close_batch() is None
    for number in range(3):
        device.record(MRN, number, number, 0)
    assert (device.lose_power(), device.fixes) == (0, 3)
    device.record(MRN, 3, 3, 0)
    device.authority = "cn-gacc"
    delivery = device.close_batch()
    assert delivery is not None
    assert device.fixes == 0
    await device.until_final(delivery)
    await device.until_idle()
    ((authority, raw),) = left
    signed: Any = delivery.statement.payload["batch"]
    assert (authority, device.waiting) == ("cn-gacc", 0)
    assert check_batch(raw, signed).fixes == 4


async def test_a_batch_that_cannot_be_left_now_is_left_later(tmp_path: Path) -> None:
    tries: list[str] = []

    async def leave(authority: str, media_type: str, data: bytes) -> bool:
        tries.append(authority)
        if len(tries) < 3:
            raise Unreachable("no answer")
        return True

    office, records = Office(), Records()
    device = Device(NAME, PrivateKey.generate(), "kz-kgd", {"kz-kgd": office}, tmp_path, records, NoJitter(), leave)
    device.record(MRN, 1, 1, 0)
    device.close_batch()
    await device.until_idle()
    assert (len(tries), device.waiting, records.failure) == (3, 0, None)


async def test_a_clock_that_is_wrong_signs_its_own_time_and_what_is_sent_again_is_known(tmp_path: Path) -> None:
    device, _ = _device(tmp_path, Office())
    device.clock_ahead_s = -400
    before_s = int(time.time())
    delivery = await device.until_final(device.sign("escort.position", MRN, {}))
    assert before_s - 400 <= delivery.statement.iat_s <= int(time.time()) - 400
    await device.send_again(delivery)
    assert delivery.attempts == 2


async def test_after_the_handover_a_truck_talks_to_the_other_side(tmp_path: Path) -> None:
    home, away = Office(), Office()
    device, _ = _device(tmp_path, home, away)
    await device.until_final(device.sign("escort.position", MRN, {}))
    device.authority = "cn-gacc"
    delivery = await device.until_final(device.sign("escort.position", MRN, {}))
    assert (len(home.sent), len(away.sent), delivery.authority) == (1, 1, "cn-gacc")


async def test_a_failure_nobody_foresaw_reaches_everybody_who_waits(tmp_path: Path) -> None:
    office = Office(ZeroDivisionError("a bug"))
    device, records = _device(tmp_path, office)
    delivery = device.sign("escort.position", MRN, {})
    with pytest.raises(ZeroDivisionError):
        await device.until_final(delivery)
    with pytest.raises(ZeroDivisionError):
        await device.until_idle()
    assert isinstance(records.failure, ZeroDivisionError)


async def test_percentiles_are_of_the_nearest_rank_and_an_outage_can_be_left_out(tmp_path: Path) -> None:
    device, _ = _device(tmp_path, Office())
    statement = (await device.until_final(device.sign("escort.position", MRN, {}))).statement
    deliveries = []
    for number in range(1, 101):
        delivery = Delivery(statement, "kz-kgd", 0.0, first_sent_at_s=10.0 * number, final_at_s=10.0 * number + number)
        deliveries.append(delivery)
    assert latency(deliveries).as_report() == {"count": 100, "p50_ms": 50000, "p99_ms": 99000, "max_ms": 100000}
    assert latency([]).as_report() == {"count": 0, "p50_ms": 0, "p99_ms": 0, "max_ms": 0}
    # Statement 2 was on its way from 20 to 22, statement 3 from 30 to 33.
    touched = [number for number, item in enumerate(deliveries, start=1) if item.overlaps(21.0, 31.0)]
    assert touched == [2, 3]
    unanswered = Delivery(statement, "kz-kgd", 0.0)
    assert unanswered.overlaps(0.0, 0.0)


def test_what_a_refusal_means_to_a_device_follows_from_its_problem() -> None:
    from api.exchange import Unreachable, error_of

    rejected = error_of(
        {
            "type": "urn:comity:problem:rejected",
            "status": 422,
            "outcome_code": 307,
            "outcome": "declaration_not_released",
            "detail": "declaration not released",
        }
    )
    meaning = _meaning_of(rejected)
    assert isinstance(meaning, TurnedAway)
    assert meaning.outcome == "declaration_not_released"
    absent = error_of(
        {"type": "urn:comity:problem:authority-unreachable", "status": 503, "missing_authorities": ["cn-gacc"]}, 3.0
    )
    meaning = _meaning_of(absent)
    assert isinstance(meaning, NotNow)
    assert (meaning.missing_authorities, meaning.retry_after_s) == (("cn-gacc",), 3.0)
    for later in (
        error_of({"type": "urn:comity:problem:overloaded", "status": 429}, 1.0),
        error_of({"type": "urn:comity:problem:internal", "status": 500}),
        Unreachable("connection refused"),
    ):
        assert isinstance(_meaning_of(later), NotNow)
    malformed = error_of({"type": "urn:comity:problem:malformed-cbor", "status": 400})
    assert _meaning_of(malformed) is malformed
