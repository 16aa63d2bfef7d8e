"""How much garbage a peer may send, and how long it then stays out."""

from __future__ import annotations

from nodes.offences import CUT_OFF_FIRST_S, CUT_OFF_LAST_S, FORGIVEN_PER_S, GOOD_AFTER_S, OFFENCES_MAX, Offences


class HandClock:
    """A clock that goes only when told."""

    def __init__(self) -> None:
        self.time_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return self.time_ms / 1000


def offend(offences: Offences, times: int, peer: str = "cn-gacc-1") -> None:
    for _ in range(times):
        offences.add(peer, "garbage")


def test_a_few_mistakes_cost_nothing() -> None:
    offences = Offences(HandClock())
    offend(offences, OFFENCES_MAX)
    assert offences.why("cn-gacc-1") is None
    assert offences.cut_off() == []
    assert offences.total() == OFFENCES_MAX


def test_who_goes_on_is_cut_off_and_nobody_else_is() -> None:
    offences = Offences(HandClock())
    offend(offences, OFFENCES_MAX + 1)
    offend(offences, 3, "cn-gacc-2")
    assert offences.why("cn-gacc-1") == "cn-gacc-1 is cut off for 1 s: it sent garbage"
    assert offences.cut_off() == [offences.why("cn-gacc-1")]
    assert offences.why("cn-gacc-2") is None
    assert offences.why("kz-kgd-1") is None


def test_each_time_lasts_twice_as_long_up_to_a_minute() -> None:
    clock = HandClock()
    offences = Offences(clock)
    lasted = []
    for _ in range(9):
        while offences.why("cn-gacc-1") is None:
            offences.add("cn-gacc-1", "garbage")
        since_s = clock.monotonic_s()
        while offences.why("cn-gacc-1") is not None:
            clock.time_ms += 100
        lasted.append(round(clock.monotonic_s() - since_s))
    assert lasted == [min(CUT_OFF_FIRST_S * 2**number, CUT_OFF_LAST_S) for number in range(9)]


def test_what_comes_slowly_is_forgiven() -> None:
    clock = HandClock()
    offences = Offences(clock)
    for _ in range(10 * OFFENCES_MAX):
        offences.add("cn-gacc-1", "garbage")
        clock.time_ms += int(1000 / FORGIVEN_PER_S)
        assert offences.why("cn-gacc-1") is None


def test_who_was_good_for_long_begins_anew() -> None:
    clock = HandClock()
    offences = Offences(clock)
    for wait_s in (5, 5, GOOD_AFTER_S + 1):
        while offences.why("cn-gacc-1") is None:
            offences.add("cn-gacc-1", "garbage")
        clock.time_ms += int(wait_s * 1000)
    while offences.why("cn-gacc-1") is None:
        offences.add("cn-gacc-1", "garbage")
    assert offences.why("cn-gacc-1") == "cn-gacc-1 is cut off for 1 s: it sent garbage"
