"""What validators say to each other, in bytes: version 1 as files that never change, and what newer ones may add.

The files in `wire_version_1` were written by the last release that spoke version 1 alone. A validator of that release
still runs somewhere while its neighbours are upgraded, so what it says must be understood, and what is said to it must
be in the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.message import Message as ProtocolMessage
from hypothesis import given
from hypothesis import strategies as st

from consensus import Entry, EntryType, Message, MessageRefused, MessageType
from nodes import wire
from nodes.proto import peer_pb2

GOLDEN = Path(__file__).parent / "wire_version_1"
NETWORK = bytes(range(32))
VERSION_1_TYPES = range(1, 11)

RAFT: dict[str, Message] = {
    "append": Message(
        MessageType.APPEND,
        "cn-gacc-1",
        "kz-kgd-1",
        term=7,
        log_term=6,
        index=300,
        entries=(Entry(6, 301, EntryType.NORMAL, b"\xa3 a block"), Entry(7, 302)),
        commit=299,
    ),
    "append_response": Message(MessageType.APPEND_RESPONSE, "kz-kgd-1", "cn-gacc-1", term=7, index=302),
    "append_refusal": Message(
        MessageType.APPEND_RESPONSE,
        "kz-kgd-1",
        "cn-gacc-1",
        term=7,
        log_term=5,
        index=300,
        reject=True,
        reject_hint=288,
    ),
    "vote": Message(MessageType.VOTE, "cn-gacc-1", "kz-kgd-1", term=8, log_term=7, index=302, context=b"transfer"),
    "vote_response": Message(MessageType.VOTE_RESPONSE, "kz-kgd-1", "cn-gacc-1", term=8, reject=True),
    "pre_vote": Message(MessageType.PRE_VOTE, "cn-gacc-1", "kz-kgd-1", term=8, log_term=7, index=302),
    "pre_vote_response": Message(MessageType.PRE_VOTE_RESPONSE, "kz-kgd-1", "cn-gacc-1", term=8),
    "heartbeat": Message(MessageType.HEARTBEAT, "cn-gacc-1", "kz-kgd-1", term=7, commit=300, context=b"\x00\x01"),
    "heartbeat_response": Message(MessageType.HEARTBEAT_RESPONSE, "kz-kgd-1", "cn-gacc-1", term=7, context=b"\x00\x01"),
    "timeout_now": Message(MessageType.TIMEOUT_NOW, "cn-gacc-1", "kz-kgd-1", term=7),
}
OTHERS: dict[str, ProtocolMessage] = {
    "first_batch": peer_pb2.Batch(sender="kz-kgd-1", network=NETWORK),
    "welcome": peer_pb2.Welcome(name="cn-gacc-1", network=NETWORK),
    "batch": peer_pb2.Batch(
        sender="kz-kgd-1",
        envelopes=[
            peer_pb2.Envelope(proposals=peer_pb2.Proposals(statements=[b"\xd2one", b"\xd2two"], since=41)),
            peer_pb2.Envelope(
                cosignatures=peer_pb2.Cosignatures(
                    size=1000,
                    root=NETWORK[::-1],
                    lines=[peer_pb2.SignatureLine(name="kz-kgd-1", key_id=b"\x01\x02\x03\x04", signature=bytes(72))],
                )
            ),
            peer_pb2.Envelope(
                cosignature_query=peer_pb2.CosignatureQuery(final_size=998, executed_size=1000, final_root=NETWORK)
            ),
        ],
    ),
}
# A field of a number that no version has, of each wire type: varint, fixed 64, bytes, fixed 32.
UNKNOWN_FIELDS = [b"\xf8\x07\x05", b"\xf9\x07" + bytes(8), b"\xfa\x07\x03new", b"\xfd\x07" + bytes(4)]


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_there_is_a_file_for_every_message_of_version_1() -> None:
    assert {path.stem for path in GOLDEN.glob("*.hex")} == RAFT.keys() | OTHERS.keys()
    sent = set(VERSION_1_TYPES) - {int(MessageType.SNAPSHOT)}  # version 1 kept its log whole, and sent no snapshots
    assert {int(message.type) for message in RAFT.values()} == sent


@pytest.mark.parametrize("name", RAFT)
def test_raft_messages_of_version_1_are_understood_and_said_in_the_same_bytes(name: str) -> None:
    message = RAFT[name]
    envelope = peer_pb2.Envelope.FromString(golden(name))
    assert wire.from_raft(envelope.raft, message.sender, message.to) == message
    assert wire.to_envelope(message).SerializeToString(deterministic=True) == golden(name)


@pytest.mark.parametrize("name", OTHERS)
def test_other_messages_of_version_1_are_understood_and_said_in_the_same_bytes(name: str) -> None:
    expected = OTHERS[name]
    assert type(expected).FromString(golden(name)) == expected
    assert expected.SerializeToString(deterministic=True) == golden(name)


@pytest.mark.parametrize("name", RAFT)
@pytest.mark.parametrize("extra", UNKNOWN_FIELDS)
def test_fields_of_a_later_version_do_not_disturb_and_survive_a_round_trip(name: str, extra: bytes) -> None:
    message = RAFT[name]
    known = peer_pb2.Envelope.FromString(golden(name))
    raft = peer_pb2.RaftMessage.FromString(known.raft.SerializeToString() + extra)
    assert wire.from_raft(raft, message.sender, message.to) == message
    assert extra in raft.SerializeToString()
    envelope = peer_pb2.Envelope.FromString(golden(name) + extra)
    assert envelope.WhichOneof("body") == "raft"
    assert envelope.SerializeToString().endswith(extra)


@pytest.mark.parametrize("extra", UNKNOWN_FIELDS)
def test_what_is_forwarded_is_forwarded_whole(extra: bytes) -> None:
    """Statements, blocks and signature lines are bytes to the transport: what is inside is not taken apart."""
    inside = b"\xa4 a block with a field of a later version" + extra
    sent = Message(MessageType.APPEND, "b", "a", term=3, log_term=2, index=8, entries=(Entry(3, 9, data=inside),))
    received = wire.from_raft(wire.to_envelope(sent).raft, "a", "b")
    again = wire.from_raft(wire.to_envelope(received).raft, "a", "b")
    assert again.entries[0].data == inside
    batch = peer_pb2.Batch.FromString(peer_pb2.Batch(sender="a").SerializeToString() + extra)
    assert extra in batch.SerializeToString()


def test_an_envelope_of_a_kind_that_nobody_knows_yet_has_no_body() -> None:
    later = b"\x0a\x03new"
    envelope = peer_pb2.Envelope.FromString(b"\xfa\x07" + bytes([len(later)]) + later)
    assert envelope.WhichOneof("body") is None


@given(st.integers(0, 2**32 - 1))
def test_a_type_of_message_is_known_or_refused_and_never_taken_for_another(number: int) -> None:
    raft = peer_pb2.RaftMessage(type=number, term=1)
    if wire.is_known(raft):
        assert wire.from_raft(raft, "a", "b").type == number
    else:
        with pytest.raises(MessageRefused, match="message type"):
            wire.from_raft(raft, "a", "b")


def test_an_entry_of_an_unknown_type_is_not_taken_for_a_block() -> None:
    """What this release cannot apply it must not acknowledge: the whole append is refused."""
    raft = peer_pb2.RaftMessage(type=int(MessageType.APPEND), term=3, index=1, log_term=1)
    raft.entries.append(peer_pb2.RaftEntry(term=3, index=2, type=99, data=b"later"))
    with pytest.raises(MessageRefused, match="entry type"):
        wire.from_raft(raft, "a", "b")


@given(st.binary(max_size=200))
def test_garbage_is_an_error_of_the_parser_or_a_message_that_is_judged(data: bytes) -> None:
    try:
        envelope = peer_pb2.Envelope.FromString(data)
        if envelope.WhichOneof("body") == "raft":
            wire.from_raft(envelope.raft, "a", "b")
    except Exception as error:
        assert type(error).__name__ in ("DecodeError", "MessageRefused")  # noqa: PT017
