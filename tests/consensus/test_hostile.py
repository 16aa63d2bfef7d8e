"""Whatever a peer sends: nothing but MessageRefused comes of it, and nothing that the disk must not say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consensus import (
    Action,
    Config,
    Configuration,
    ConfigurationChange,
    Entry,
    EntryType,
    Membership,
    Message,
    MessageRefused,
    MessageType,
    RawNode,
    Snapshot,
    SnapshotMetadata,
    Step,
    encode_change,
)
from consensus.storage import MemoryStorage
from tests.consensus import oracle
from tests.consensus.group import allow

GENESIS = Membership(Configuration({"k1": "kz", "k2": "kz", "c1": "cn"}, frozenset({"w1"}), frozenset({"c2"})))
SENDERS = ("k2", "c1", "w1", "c2", "stranger")

small = st.integers(0, 6)
steps = st.sampled_from(
    [Step(Action.ADD_VOTER, "c2", "cn"), Step(Action.ADD_VOTER, "k2", "ru"), Step(Action.ADD_VOTER, "stranger", "kz")]
    + [Step(action, name) for action in (Action.REMOVE, Action.ADD_LEARNER, Action.ADD_WITNESS) for name in SENDERS]
)
changes = st.lists(steps, max_size=3, unique_by=lambda step: step.member).map(
    lambda chosen: encode_change(ConfigurationChange(tuple(chosen)))
)
memberships = st.sampled_from(
    [
        GENESIS,
        Membership(Configuration({"k1": "kz", "c1": "cn"})),
        Membership(Configuration({"k2": "kz", "c1": "cn"}), GENESIS.incoming),
        Membership(Configuration({"k1": "kz"})),
    ]
)


@st.composite
def entries(draw: st.DrawFn, after: int) -> tuple[Entry, ...]:
    """Mostly well ordered, or they never get far."""
    made = []
    term = draw(st.integers(1, 3))
    for offset in range(draw(st.integers(0, 3))):
        term += draw(st.sampled_from([0, 0, 0, 1]))
        if draw(st.booleans()):
            made.append(Entry(term, after + 1 + offset, EntryType.CONFIGURATION, draw(changes | st.binary(max_size=4))))
        else:
            made.append(Entry(term, after + 1 + offset, EntryType.NORMAL, draw(st.binary(max_size=2))))
    return tuple(made)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from([*MessageType, MessageType.APPEND, MessageType.APPEND, MessageType.APPEND]))
    index = draw(small)
    snapshot = None
    if kind is MessageType.SNAPSHOT:
        snapshot = Snapshot(SnapshotMetadata(draw(small), draw(small), draw(memberships)))
    return Message(
        kind,
        "k1",
        draw(st.sampled_from(SENDERS)),
        draw(st.integers(0, 5)),
        draw(small),
        index,
        draw(entries(index)) if kind is MessageType.APPEND else (),
        draw(small),
        draw(st.booleans()),
        draw(small),
        draw(st.sampled_from([b"", b"transfer", b"read", bytes(8), (1).to_bytes(8, "big"), (9).to_bytes(8, "big")])),
        snapshot,
    )


@given(st.lists(messages() | st.sampled_from(["tick", "work", "campaign", "propose", "read", "restart"]), max_size=40))
def test_no_message_breaks_a_node_or_takes_an_authority_its_voters(script: list[Message | str]) -> None:
    storage = MemoryStorage(GENESIS)
    node = RawNode(Config("k1", 1, election_timeout_ticks=3, authorise=allow), storage)
    sides = oracle.authorities(oracle.halves_of(GENESIS)[0])
    voted: dict[int, str] = {}
    committed = applied = reads = 0
    for act in script:
        if isinstance(act, Message):
            try:
                node.step(act)
            except MessageRefused:
                continue
        elif act == "tick":
            node.tick()
        elif act == "campaign":
            node.campaign()
        elif act == "propose" and node.status().leader_id == "k1":
            node.propose(b"x")
        elif act == "read" and node.status().leader_id is not None:
            node.read_index(b"read %d" % reads)
            reads += 1
        elif act == "work" and node.has_ready():
            ready = node.ready()
            if ready.snapshot is not None:
                storage.apply_snapshot(ready.snapshot)
                applied = ready.snapshot.metadata.index
            storage.append(ready.entries)
            if ready.hard_state is not None:
                storage.set_hard_state(ready.hard_state)
            for entry in ready.committed_entries:
                assert entry.index == applied + 1
                applied = entry.index
            for message in ready.messages_after_persist:
                if message.type is MessageType.VOTE_RESPONSE and not message.reject:
                    assert voted.setdefault(message.term, message.to) == message.to
            node.advance(ready)
        elif act == "restart":
            node = RawNode(Config("k1", 1, election_timeout_ticks=3, applied=applied, authorise=allow), storage)
            committed = 0
        status = node.status()
        assert status.committed_index >= committed
        committed = status.committed_index
        for roles in oracle.halves_of(status.membership):
            assert roles is None or oracle.authorities(roles) == sides
