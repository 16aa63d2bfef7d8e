"""What ends is told 90, 30 and 7 days ahead, and once it has ended: by a clock that the test moves."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from api.expiry import DAY_MS, Ending, EndingGauges, certificate_endings, file_endings, nearing, warning
from contracts.governance_record import proposal_key
from contracts.registry import REVOKED, Key, Participant, participant_key
from ledger.cbor import encode
from nodes import certificates
from nodes.expiry import ASK_EVERY_S, COUNTED_AT_ONCE, MAX_PARTICIPANTS, Expiry, key_endings
from nodes.files import Files
from nodes.records import RecordIndex
from tests.contracts import corridor as c
from tests.contracts.governing import Governed, contract

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)
NOW_MS = int(NOW.timestamp()) * 1000
END = Ending("certificate of kz-kgd-1", NOW_MS)


class MovedClock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


@pytest.mark.parametrize(
    ("before_ms", "days"),
    [
        (90 * DAY_MS + 1, None),
        (90 * DAY_MS, 90),
        (30 * DAY_MS + 1, 90),
        (30 * DAY_MS, 30),
        (7 * DAY_MS + 1, 30),
        (7 * DAY_MS, 7),
        (1, 7),
        (0, 0),
        (-DAY_MS, 0),
    ],
)
def test_an_end_is_told_at_its_day_and_not_a_millisecond_before(before_ms: int, days: int | None) -> None:
    assert END.within_days(NOW_MS - before_ms) == days
    assert bool(nearing([END], NOW_MS - before_ms)) is (days is not None)


def test_the_nearest_stands_first_and_a_crowd_is_counted() -> None:
    ends = [Ending(f"key {number}", NOW_MS + number * DAY_MS) for number in (5, 2, 4, 1, 3)]
    assert warning(nearing(ends, NOW_MS), NOW_MS) == (
        "key 1 ends in 1 days, on 2026-11-23; key 2 ends in 2 days, on 2026-11-24; "
        "key 3 ends in 3 days, on 2026-11-25; and 2 more"
    )
    assert END.in_words(NOW_MS) == "certificate of kz-kgd-1 has ended on 2026-11-22"
    assert warning([], NOW_MS) == ""


def test_metrics_say_when_each_ends_and_how_many_are_near() -> None:
    registry = CollectorRegistry()
    gauges = EndingGauges("comity", registry)
    gauges.set([END, Ending("CA", NOW_MS + 40 * DAY_MS), Ending("CA", NOW_MS + 400 * DAY_MS)], NOW_MS - DAY_MS)
    text = generate_latest(registry).decode()
    assert float(re.findall(r"kz-kgd-1\"} (\S+)", text)[0]) == NOW_MS / 1000
    assert 'comity_ends_within_days{days="7"} 1.0' in text
    assert 'comity_ends_within_days{days="90"} 2.0' in text
    gauges.set([], NOW_MS)
    assert "kz-kgd-1" not in generate_latest(registry).decode()


def test_a_certificates_end_is_read_from_its_file_and_a_file_that_is_none_is_left_to_whoever_uses_it(
    tmp_path: Path,
) -> None:
    authority = certificates.create_authority("kz-kgd", "KZ", NOW)
    file, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    file.write_bytes(authority.certificate_pem)
    other.write_bytes(b"no certificate")
    ends_ms = int(authority.certificate.not_valid_after_utc.timestamp()) * 1000
    assert certificate_endings("CA", authority.certificate_pem) == [Ending("CA", ends_ms)]
    assert file_endings([("CA", file), ("x", other), ("y", tmp_path / "absent")]) == [Ending("CA", ends_ms)]


def _with_ends(participant: Participant, *ends_ms: int | None) -> Participant:
    key = participant.keys[0]
    return replace(participant, keys=tuple(replace(key, valid_until_ms=end) for end in ends_ms))


def test_a_participant_with_one_key_without_end_is_not_told_of() -> None:
    registrar = c.Ledger.of_corridor().participant("kz-kgd/registrar")
    assert key_endings(registrar, NOW_MS) == []
    assert key_endings(_with_ends(registrar, NOW_MS, None), NOW_MS) == []
    assert key_endings(_with_ends(registrar, NOW_MS, NOW_MS + 5), NOW_MS) == [
        Ending("key of kz-kgd/registrar", NOW_MS + 5)
    ]


def test_a_revoked_key_is_not_told_of_nor_does_it_hide_one_that_ends() -> None:
    registrar = _with_ends(c.Ledger.of_corridor().participant("kz-kgd/registrar"), None, NOW_MS)
    keys: tuple[Key, ...] = (replace(registrar.keys[0], state=REVOKED), registrar.keys[1])
    assert len(key_endings(replace(registrar, keys=keys), NOW_MS)) == 1
    assert key_endings(replace(registrar, keys=keys[:1]), NOW_MS) == []


def _expiry(ledger: c.Ledger, directory: Path, clock: MovedClock, names: list[str], *, shown: bool = False) -> Expiry:
    """`shown`: whether a peer has shown a certificate that ends in six days."""
    ca = directory / "ca.pem"
    ca.write_bytes(certificates.create_authority("kz-kgd", "KZ", NOW).certificate_pem)
    sides = (("kz-kgd", "KZ"), ("cn-gacc", "CN"))
    authorities = [SimpleNamespace(name=name, country=country, ca_certificate=ca) for name, country in sides]
    config = SimpleNamespace(name="kz-kgd-1", authority="kz-kgd", certificate=ca, authorities=authorities)
    records = SimpleNamespace(
        keys=lambda prefix, after: iter([name for name in names if name.startswith(prefix) and name > after])
    )
    peers = {"cn-gacc-1": NOW_MS + 6 * DAY_MS} if shown else {}
    return Expiry(cast(Any, config), Files(), ledger.state, cast(RecordIndex, records), clock, peers=lambda: peers)


def test_a_validator_tells_of_both_registrars_and_of_its_own_customs_and_asks_the_ledger_again(tmp_path: Path) -> None:
    ledger, clock = c.Ledger.of_corridor(), MovedClock(NOW_MS)
    for name in ("cn-gacc/registrar", "kz-kgd/system", "kz/truck/t-001"):
        ending = _with_ends(ledger.participant(name), NOW_MS + 20 * DAY_MS)
        ledger.state.records[participant_key(name)] = ending.encode()
    names = sorted(key for key in ledger.state.records if key.startswith("registry/"))
    expiry = _expiry(ledger, tmp_path, clock, names)
    assert [each.what for each in expiry.nearing()] == ["key of cn-gacc/registrar", "key of kz-kgd/system"]
    assert len(expiry.endings()) == 2 + 3  # and three certificates that end much later
    ledger.state.records[participant_key("kz-kgd/system")] = ledger.participant("kz-kgd/officer").encode()
    assert len(expiry.nearing()) == 2
    clock.ms += int(ASK_EVERY_S * 1000)
    assert [each.what for each in expiry.nearing()] == ["key of cn-gacc/registrar"]
    clock.ms += 5 * 366 * 4 * DAY_MS
    assert "CA certificate of kz-kgd" in [each.what for each in expiry.nearing()]


def test_no_crowd_of_participants_is_read_without_end(tmp_path: Path) -> None:
    read: list[str] = []
    ledger = c.Ledger.of_corridor()
    names = [f"registry/kz-kgd/{number:05}" for number in range(2 * MAX_PARTICIPANTS)]
    expiry = _expiry(ledger, tmp_path, MovedClock(NOW_MS), names)
    get = ledger.state.get
    ledger.state.get = lambda key: read.append(key) or get(key)  # type: ignore[method-assign, func-returns-value]
    expiry.endings()
    assert len(read) < MAX_PARTICIPANTS + COUNTED_AT_ONCE + 10


def test_trucks_and_terminals_are_counted_by_band_however_many_there_are(tmp_path: Path) -> None:
    ledger, clock = c.Ledger.of_corridor(), MovedClock(NOW_MS)
    truck = ledger.participant("kz/truck/t-001")
    days = [None, -100, -1, 3, 7, 8, 30, 31, 90, 91] * 100
    names = []
    for number, ends_in in enumerate(days):
        names.append(f"registry/kz/truck/{number:05}")
        ends_ms = None if ends_in is None else NOW_MS + ends_in * DAY_MS
        ledger.state.records[names[-1]] = _with_ends(truck, ends_ms).encode()
    # The other side's are for the other side to see to.
    names.append("registry/cn/truck/00001")
    ledger.state.records[names[-1]] = _with_ends(truck, NOW_MS).encode()
    expiry = _expiry(ledger, tmp_path, clock, names)
    for _ in range(-(-len(days) // COUNTED_AT_ONCE) + 1):
        counted = expiry.counted()
        clock.ms += int(ASK_EVERY_S * 1000)
    assert counted.participants == len(days)
    # By hand, at the time of the first look: a hundred each; what ended long ago is not told of.
    assert counted.within_days == {0: 100, 7: 300, 30: 500, 90: 700}
    # A second walk finds what has changed, and forgets what was.
    for name in names[:500]:
        ledger.state.records[name] = truck.encode()
    for _ in range(2 * (-(-len(days) // COUNTED_AT_ONCE) + 1)):
        counted = expiry.counted()
        clock.ms += int(ASK_EVERY_S * 1000)
    assert (counted.participants, counted.within_days[90]) == (len(days), 350)


def test_no_more_than_a_few_are_counted_at_a_time(tmp_path: Path) -> None:
    ledger, clock = c.Ledger.of_corridor(), MovedClock(NOW_MS)
    truck = ledger.participant("kz/truck/t-001")
    names = [f"registry/kz/truck/{number:05}" for number in range(3 * COUNTED_AT_ONCE)]
    ledger.state.records.update(dict.fromkeys(names, truck.encode()))
    expiry = _expiry(ledger, tmp_path, clock, names)
    for looks in range(1, 4):
        assert expiry.counted().participants == looks * COUNTED_AT_ONCE
        assert expiry.counted().participants == looks * COUNTED_AT_ONCE, "asked again at the same moment"
        clock.ms += int(ASK_EVERY_S * 1000)


def test_the_certificates_that_peers_show_are_told_of(tmp_path: Path) -> None:
    expiry = _expiry(c.Ledger.of_corridor(), tmp_path, MovedClock(NOW_MS), [], shown=True)
    assert [each.what for each in expiry.nearing()] == ["certificate of cn-gacc-1"]


def test_a_release_that_will_be_needed_is_told_with_what_ends(tmp_path: Path) -> None:
    ledger = Governed.begin()
    ledger.agree("kz-kgd/1", contract("escort", 1, 99, "9.0.0"))
    expiry = _expiry(ledger, tmp_path, MovedClock(NOW_MS), [])
    assert [(each.contract, each.release) for each in expiry.releases_needed()] == [("escort", "9.0.0")]


def test_a_ledger_of_a_later_release_leaves_the_certificates_to_be_told_of(tmp_path: Path) -> None:
    ledger = Governed.begin()
    ledger.propose("kz-kgd/1", contract("escort", 1, 9, "9.0.0"))
    ledger.state.records[proposal_key("kz-kgd/1")] = encode(["proposal.v9", 1])
    expiry = _expiry(ledger, tmp_path, MovedClock(NOW_MS), [])
    assert len(expiry.endings()) == 3
    assert expiry.releases_needed() == []
