"""Changes of the membership against an oracle of dictionaries, and their bytes against every other bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import (
    Action,
    ChangeRefused,
    Configuration,
    ConfigurationChange,
    Membership,
    Step,
    apply_change,
    decode_change,
    encode_change,
    enter,
    leave,
)
from consensus.configuration import (
    MAX_AUTHORISATION_BYTES,
    MAX_CHANGE_BYTES,
    MAX_STEPS,
    ConfigurationHistory,
)
from consensus.quorum import MAX_MEMBERS
from tests.consensus import oracle

NAMES = ("k1", "k2", "k3", "c1", "c2", "w1")
SIDES = ("kz", "cn")


@st.composite
def genesis(draw: st.DrawFn) -> Membership:
    roles = {name: draw(st.sampled_from(["kz", "cn", "witness", "learner", ""])) for name in NAMES}
    voters = {name: role for name, role in roles.items() if role in SIDES} | {"k1": "kz", "c1": "cn"}
    rest = [(name, role) for name, role in roles.items() if name not in voters]
    return Membership(
        Configuration(
            voters,
            frozenset(name for name, role in rest if role == "witness"),
            frozenset(name for name, role in rest if role == "learner"),
        )
    )


@st.composite
def changes(draw: st.DrawFn, names: tuple[str, ...] = NAMES, most: int = 4) -> ConfigurationChange:
    members = draw(st.lists(st.sampled_from(names), max_size=most, unique=True))
    steps = []
    for member in members:
        action = draw(st.sampled_from(Action))
        authority = draw(st.sampled_from([*SIDES, "ru"])) if action is Action.ADD_VOTER else None
        steps.append(Step(action, member, authority))
    return ConfigurationChange(tuple(steps))


@given(genesis(), st.lists(changes(), max_size=8))
def test_a_membership_changes_as_the_oracle_says(membership: Membership, script: list[ConfigurationChange]) -> None:
    halves = oracle.halves_of(membership)
    for change in script:
        expected = oracle.changed(halves, change)
        try:
            membership = apply_change(membership, change)
        except ChangeRefused:
            assert expected is None
            continue
        assert expected == oracle.halves_of(membership)
        halves = expected


@given(genesis(), st.lists(changes(), max_size=5))
def test_quorums_of_memberships_that_follow_each_other_meet(
    membership: Membership, script: list[ConfigurationChange]
) -> None:
    for change in script:
        try:
            after = apply_change(membership, change)
        except ChangeRefused:
            continue
        assert oracle.all_meet(oracle.halves_of(membership), oracle.halves_of(after))
        membership = after


@given(genesis(), st.lists(changes(), max_size=5))
def test_every_commit_quorum_holds_every_authority_in_both_halves(
    membership: Membership, script: list[ConfigurationChange]
) -> None:
    for change in script:
        try:
            membership = apply_change(membership, change)
        except ChangeRefused:
            continue
        for half in (membership.incoming, membership.outgoing):
            assert half is None or set(half.authorities) == set(SIDES)
        for chosen in oracle.subsets(membership.members):
            committed = membership.committed_index(dict.fromkeys(chosen, 1)) == 1
            assert committed == oracle.commits(oracle.halves_of(membership), chosen)


def test_one_step_takes_effect_at_once_and_several_go_through_a_joint_configuration() -> None:
    before = Membership(Configuration({"k1": "kz", "c1": "cn"}, learners=frozenset({"k2", "c2"})))
    one = ConfigurationChange((Step(Action.ADD_VOTER, "k2", "kz"),))
    assert enter(before, one).outgoing is None
    two = ConfigurationChange((*one.steps, Step(Action.ADD_VOTER, "c2", "cn")))
    joint = enter(before, two)
    assert joint.outgoing == before.incoming
    assert leave(joint) == Membership(joint.incoming)
    assert joint.incoming.electors == ("c1", "c2", "k1", "k2")


PAIR = Membership(Configuration({"k1": "kz", "c1": "cn"}, frozenset({"w1"}), frozenset({"l1"})))
JOINT = Membership(PAIR.incoming, PAIR.incoming)


@pytest.mark.parametrize(
    ("membership", "steps", "code"),
    [
        (PAIR, [Step(Action.REMOVE, "k1")], "authority_without_voter"),
        (PAIR, [Step(Action.ADD_WITNESS, "c1")], "authority_without_voter"),
        (PAIR, [Step(Action.ADD_LEARNER, "c1")], "authority_without_voter"),
        (PAIR, [Step(Action.ADD_VOTER, "r1", "ru")], "unknown_authority"),
        (PAIR, [Step(Action.REMOVE, "nobody")], "unknown_member"),
        (PAIR, [Step(Action.ADD_VOTER, "k1", "kz")], "nothing_changes"),
        (PAIR, [Step(Action.ADD_WITNESS, "w1")], "nothing_changes"),
        (PAIR, [Step(Action.ADD_LEARNER, "l1")], "nothing_changes"),
        (PAIR, [Step(Action.ADD_VOTER, "k2", "kz"), Step(Action.ADD_LEARNER, "l1")], "nothing_changes"),
        (PAIR, [Step(Action.ADD_VOTER, "k1", "cn")], "authority_changes"),
        (PAIR, [], "nothing_changes"),
        (JOINT, [Step(Action.REMOVE, "l1")], "already_joint"),
        (PAIR, [Step(Action.ADD_LEARNER, f"l{n}") for n in range(2, 2 + MAX_STEPS)], None),
    ],
)
def test_a_change_that_may_not_be_is_refused_and_says_why(
    membership: Membership, steps: list[Step], code: str | None
) -> None:
    change = ConfigurationChange(tuple(steps))
    if code is None:
        assert len(enter(membership, change).members) == 4 + MAX_STEPS
        return
    with pytest.raises(ChangeRefused) as refused:
        enter(membership, change)
    assert refused.value.code == code


def test_a_membership_that_is_full_takes_nobody_else() -> None:
    full = {"c1": "cn"} | {f"k{n}": "kz" for n in range(MAX_MEMBERS - 1)}
    with pytest.raises(ChangeRefused, match="bad_configuration"):
        enter(Membership(Configuration(full)), ConfigurationChange((Step(Action.ADD_LEARNER, "one-more"),)))


def test_what_is_not_joint_is_not_left() -> None:
    with pytest.raises(ChangeRefused, match="not_joint"):
        leave(PAIR)


# The bytes.

texts = st.text(alphabet="kc-1Қ关\U0001f69a", min_size=1, max_size=64)


@st.composite
def any_changes(draw: st.DrawFn) -> ConfigurationChange:
    members = draw(st.lists(texts, max_size=5, unique=True))
    steps = []
    for member in members:
        action = draw(st.sampled_from(Action))
        authority = draw(texts) if action is Action.ADD_VOTER else None
        if action is Action.ADD_LEARNER:
            authority = draw(st.none() | texts)
        steps.append(Step(action, member, authority))
    return ConfigurationChange(tuple(steps), draw(st.binary(max_size=40)) if steps else b"")


@given(any_changes())
def test_a_change_comes_back_from_its_bytes(change: ConfigurationChange) -> None:
    assert decode_change(encode_change(change)) == change


@given(st.binary(max_size=60) | any_changes().map(encode_change), st.data())
def test_no_other_bytes_say_the_same(raw: bytes, data: st.DataObject) -> None:
    mutated = bytearray(raw)
    if mutated:
        mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(0, 255))
    mutated += data.draw(st.binary(max_size=2))
    try:
        change = decode_change(bytes(mutated))
    except ChangeRefused:
        return
    assert encode_change(change) == bytes(mutated)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "ends early"),
        (b"\x02\x00\x00\x00\x00\x00", "unknown_version"),
        (b"\x01\x00\x00\x00\x00\x00\x00", "too many"),
        (b"\x01\x01\x09\x00\x01a\x00\x00\x00\x00\x00\x00", "action"),
        (b"\x01\x01\x04\x00\x01\xff\x00\x00\x00\x00\x00\x00", "not UTF-8"),
        (b"\x01\x01\x04\x00\x01a\x00\x01b\x00\x00\x00\x00", "expected no authority"),
        (b"\x01\x01\x01\x00\x01a\x00\x00\x00\x00\x00\x00", "names no authority"),
        (b"\x01\x02\x04\x00\x01a\x00\x00\x04\x00\x01a\x00\x00\x00\x00\x00\x00", "one step for each member"),
        (b"\x01\x00\x00\x00\x00\x01x", "takes no authorisation"),
        (bytes(MAX_CHANGE_BYTES + 1), "too large"),
    ],
)
def test_bytes_that_are_no_change_are_refused(raw: bytes, says: str) -> None:
    with pytest.raises(ChangeRefused, match=says):
        decode_change(raw)


def test_a_change_has_limits() -> None:
    with pytest.raises(ChangeRefused, match="expected at most 64 steps"):
        ConfigurationChange(tuple(Step(Action.REMOVE, f"k{n}") for n in range(MAX_STEPS + 1)))
    with pytest.raises(ChangeRefused, match="authorisation"):
        ConfigurationChange((Step(Action.REMOVE, "k1"),), bytes(MAX_AUTHORISATION_BYTES + 1))
    for name in ("", "k" * 65):
        with pytest.raises(ChangeRefused, match="member id"):
            Step(Action.REMOVE, name)
        with pytest.raises(ChangeRefused, match="authority"):
            Step(Action.ADD_VOTER, "k1", name)
    widest = tuple(Step(Action.ADD_VOTER, "\U0001f69a" * 62 + f"{n:02d}", "\U0001f69b" * 64) for n in range(MAX_STEPS))
    assert len(encode_change(ConfigurationChange(widest, bytes(MAX_AUTHORISATION_BYTES)))) <= MAX_CHANGE_BYTES


# What is in force, and what was.


@given(st.lists(st.tuples(st.sampled_from(["append", "truncate", "compact"]), st.integers(1, 12)), max_size=30))
def test_the_history_is_a_list_of_all_that_was_appended(script: list[tuple[str, int]]) -> None:
    """Memberships are told apart by their learner, which is named after the index."""

    def named(index: int) -> Membership:
        return Membership(Configuration({"k1": "kz"}, learners=frozenset({str(index)})))

    history = ConfigurationHistory(0, named(0))
    kept = {0: named(0)}
    base = 0
    for operation, argument in script:
        last = max(kept)
        if operation == "append":
            kept[last + argument] = named(last + argument)
            history.append(last + argument, named(last + argument))
        elif operation == "truncate":
            cut = max(last - argument, base)
            kept = {index: membership for index, membership in kept.items() if index <= cut}
            history.truncate(cut)
        else:
            base = max(base, last - argument)
            history.compact(base)
        below = sorted(kept)
        assert (history.latest_index, history.latest) == (below[-1], kept[below[-1]])
        for index in range(base, max(kept) + 3):
            assert history.at(index) == kept[max(at for at in kept if at <= index)]
        # What was there before the last is known as long as the last can be cut off.
        if len(below) > 1 and below[-1] > base:
            assert history.previous == kept[below[-2]]
