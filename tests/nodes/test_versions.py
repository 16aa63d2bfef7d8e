"""Which version everybody speaks, what that allows, and who is told to upgrade. Attacks first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import cbor
from ledger.store import Batch, MemoryStore, StoreUnavailable
from nodes.versions import (
    MAX_RELEASE_CHARS,
    MAX_REMEMBERED_PEERS,
    MAX_UNKNOWN_LOGGED,
    SPOKEN,
    UNANNOUNCED,
    VERSIONS_KEY,
    Announcement,
    Feature,
    NotSpokenByAll,
    VersionRange,
    Versions,
    VersionsDoNotMeet,
    announcement_of,
    check_meeting,
)

MEMBERS = ["cn-gacc-1", "cn-gacc-2", "kz-kgd-1", "kz-kgd-2"]
TWO = Announcement(VersionRange(1, 2), "0.1.0")


def versions_of(store: MemoryStore | None = None, members: list[str] = MEMBERS) -> Versions:
    return Versions("kz-kgd-1", lambda: members, MemoryStore() if store is None else store, spoken=VersionRange(1, 2))


@pytest.mark.parametrize(("lowest", "highest"), [(0, 2), (2, 1), (1, 65_536), (0, 1), (5, 0)])
def test_a_range_that_is_none_is_refused(lowest: int, highest: int) -> None:
    with pytest.raises(ValueError, match="expected 1 <= lowest <= highest"):
        announcement_of(lowest, highest, "")


def test_a_release_is_shown_without_what_could_harm_a_terminal_or_fill_a_disk() -> None:
    assert announcement_of(1, 2, "\x1b[2Jnew\n").release == "[2Jnew"
    assert len(announcement_of(1, 2, "x" * 10_000).release) == MAX_RELEASE_CHARS


def test_who_announces_nothing_speaks_version_1_and_nothing_else() -> None:
    assert announcement_of(0, 0, "ignored") == Announcement(UNANNOUNCED, "")


def test_whoever_speaks_only_older_versions_is_to_be_upgraded_first() -> None:
    versions = Versions("kz-kgd-1", lambda: MEMBERS, MemoryStore(), spoken=VersionRange(3, 4))
    with pytest.raises(VersionsDoNotMeet) as error:
        versions.hear("cn-gacc-1", TWO)
    assert str(error.value) == (
        "kz-kgd-1 speaks protocol version 3 to 4, cn-gacc-1 speaks 1 to 2: upgrade cn-gacc-1 first, "
        "to a release that speaks a version of both"
    )
    assert versions.refusals == {"cn-gacc-1": str(error.value)}
    assert versions.said("cn-gacc-1") is None
    versions.hear("cn-gacc-1", Announcement(VersionRange(2, 3)))
    assert versions.refusals == {}


def test_of_two_that_do_not_meet_both_name_the_same_one() -> None:
    for own, spoken, peer, theirs in (
        ("a", VersionRange(1, 2), "b", VersionRange(3, 3)),
        ("b", VersionRange(3, 3), "a", VersionRange(1, 2)),
    ):
        with pytest.raises(VersionsDoNotMeet, match="upgrade a first"):
            check_meeting(own, spoken, peer, theirs)


ranges = st.tuples(st.integers(1, 6), st.integers(0, 5)).map(lambda pair: VersionRange(pair[0], pair[0] + pair[1]))


@given(ranges, ranges)
def test_two_ranges_meet_exactly_when_some_version_is_in_both(one: VersionRange, other: VersionRange) -> None:
    common = set(range(one.lowest, one.highest + 1)) & set(range(other.lowest, other.highest + 1))
    try:
        check_meeting("a", one, "b", other)
    except VersionsDoNotMeet:
        assert not common
    else:
        assert common


def test_a_feature_is_used_once_the_last_member_speaks_it() -> None:
    versions = versions_of()
    assert versions.effective == 1
    for number, member in enumerate(("cn-gacc-1", "cn-gacc-2", "kz-kgd-2")):
        assert not versions.speak(Feature.MEMBERSHIP_CHANGES)
        with pytest.raises(NotSpokenByAll, match=r"membership changes need protocol version 2: upgrade .*kz-kgd-2 fir"):
            versions.require(Feature.MEMBERSHIP_CHANGES)
        assert len(versions.lacking(Feature.MEMBERSHIP_CHANGES)) == 3 - number
        versions.hear(member, TWO)
    assert versions.effective == 2
    versions.require(Feature.MEMBERSHIP_CHANGES)


def test_a_member_that_goes_back_takes_the_feature_along() -> None:
    versions = versions_of(members=["kz-kgd-1", "cn-gacc-1"])
    versions.hear("cn-gacc-1", TWO)
    assert versions.speak(Feature.LINEARIZABLE_READS)
    versions.hear("cn-gacc-1", Announcement(UNANNOUNCED))
    assert versions.lacking(Feature.LINEARIZABLE_READS) == ["cn-gacc-1"]


def test_a_stranger_holds_nothing_back_and_a_member_that_leaves_does_not_either() -> None:
    versions = versions_of(members=["kz-kgd-1", "cn-gacc-1"])
    versions.hear("stranger", Announcement(UNANNOUNCED))
    assert versions.lacking(Feature.MEMBERSHIP_CHANGES) == ["cn-gacc-1"]
    versions.require(Feature.MEMBERSHIP_CHANGES, leaving={"cn-gacc-1"})


def test_a_new_member_counts_from_the_moment_it_is_one() -> None:
    members = ["kz-kgd-1", "cn-gacc-1"]
    versions = versions_of(members=members)
    versions.hear("cn-gacc-1", TWO)
    assert versions.effective == 2
    members.append("cn-gacc-3")
    assert versions.effective == 1
    versions.hear("cn-gacc-3", TWO)
    assert versions.effective == 2


def test_an_observer_that_nobody_ever_heard_holds_nothing_back_once_it_is_given_up() -> None:
    given_up: set[str] = set()
    members = ["kz-kgd-1", "cn-gacc-1", "cn-gacc-9"]
    versions = Versions(
        "kz-kgd-1", lambda: members, MemoryStore(), spoken=VersionRange(1, 2), given_up=given_up.__contains__
    )
    versions.hear("cn-gacc-1", TWO)
    assert versions.lacking(Feature.SNAPSHOTS) == ["cn-gacc-9"]
    given_up.add("cn-gacc-9")
    assert versions.speak(Feature.SNAPSHOTS)
    assert versions.effective == 2
    # Once it is there it counts like any other, whatever it speaks.
    versions.hear("cn-gacc-9", Announcement(UNANNOUNCED))
    assert versions.lacking(Feature.SNAPSHOTS) == ["cn-gacc-9"]


def test_what_a_member_said_is_remembered_while_it_is_away() -> None:
    store = MemoryStore()
    versions = versions_of(store)
    for member in MEMBERS[:2] + MEMBERS[3:]:
        versions.hear(member, TWO)
    again = versions_of(store)
    assert again.effective == 2
    assert again.said("cn-gacc-2") == TWO


@given(st.one_of(st.binary(max_size=64), st.recursive(
    st.one_of(st.integers(-(2**63), 2**63), st.text(max_size=4), st.binary(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
).map(cbor.encode)))  # fmt: skip
def test_a_record_of_versions_that_does_not_read_is_as_none(record: bytes) -> None:
    store = MemoryStore()
    store.write({VERSIONS_KEY: record})
    assert versions_of(store).effective == 1


def test_a_full_disk_is_no_reason_not_to_listen() -> None:
    class Full(MemoryStore):
        def write(self, batch: Batch, sync: bool = True) -> None:
            raise StoreUnavailable("no space left on device")

    versions = versions_of(Full())
    versions.hear("cn-gacc-1", TWO)
    assert versions.said("cn-gacc-1") == TWO


def test_unknown_messages_are_counted_and_named_once() -> None:
    versions = versions_of()
    for _ in range(3):
        versions.ignore("cn-gacc-1", "envelope")
    versions.ignore("cn-gacc-2", "envelope")
    for number in range(3 * MAX_UNKNOWN_LOGGED):
        versions.ignore("cn-gacc-1", f"raft message {number}")
    assert versions.unknown == {"cn-gacc-1": 3 + 3 * MAX_UNKNOWN_LOGGED, "cn-gacc-2": 1}
    assert len(versions._unknown_logged) == MAX_UNKNOWN_LOGGED


def test_strangers_do_not_push_members_out_of_memory() -> None:
    versions = versions_of(members=["kz-kgd-1", "cn-gacc-1"])
    versions.hear("cn-gacc-1", TWO)
    for number in range(MAX_REMEMBERED_PEERS + 5):
        versions._said[f"stranger-{number}"] = TWO
    versions.hear("last", TWO)
    assert versions.said("cn-gacc-1") == TWO
    assert len(versions._said) == 2


def test_this_release_still_speaks_the_version_before_it() -> None:
    """Two consecutive releases run together: raising the lowest version is a release of its own."""
    assert SPOKEN.highest - SPOKEN.lowest >= 1
