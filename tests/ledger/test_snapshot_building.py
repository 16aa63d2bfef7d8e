"""A ledger built from a snapshot is the sender's, key for key; one altered bit anywhere, and there is no ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.chain import Chain
from ledger.chain_layout import BLOCK_AT, CHUNK, FIRST_FOREIGN_KEY, HEAD, NOTE
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord
from ledger.errors import LedgerError, Malformed, Misuse, Untrue
from ledger.merkle import TILE_WIDTH, Frontier, leaf_hash
from ledger.snapshot import Descriptor, SnapshotSource
from ledger.store import MemoryStore
from ledger.tiles import decode_entry_bundle, encode_entry_bundle
from tests.ledger.snapshots import Piece, make_builder, pieces_of, receive, take
from tests.ledger.toy import World


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(60, statements=10)
    return grown


@pytest.fixture(scope="module")
def honest(world: World) -> list[Piece]:
    return pieces_of(world)


def of_ledger(store: MemoryStore) -> dict[bytes, bytes]:
    """What the ledger keeps, partial tiles joined: they are stored as they came."""
    kept: dict[bytes, bytes] = {}
    for key, value in store.iterate(b"", FIRST_FOREIGN_KEY):
        if key.startswith(CHUNK):
            kept[key[:-1]] = kept.get(key[:-1], b"") + value
        elif not key.startswith(NOTE):
            # Which position of the order a block came from is known to those who executed it.
            kept[key] = value if not key.startswith(BLOCK_AT) else b""
    return kept


def test_the_ledger_built_is_the_senders_key_for_key(world: World, honest: list[Piece]) -> None:
    assert isinstance(world.store, MemoryStore)
    store = MemoryStore()
    chain = receive(world, honest, store)
    assert of_ledger(store) == of_ledger(world.store)
    assert (chain.size, chain.root, chain.height, chain.applied) == (
        world.chain.size,
        world.chain.root,
        world.chain.height,
        world.chain.applied,
    )
    chain.verify_all()
    assert chain.latest_final == (world.chain.size, world.note())


def test_a_block_that_was_copied_has_no_position_of_the_order_and_a_later_one_has(
    world: World, honest: list[Piece]
) -> None:
    chain = receive(world, honest)
    assert [world.chain.order_of_block(height) for height in (0, 1, 5, world.chain.height + 1)] == [None, 1, 5, None]
    assert chain.order_of_block(5) is None
    state = dict.fromkeys(["counter/x"], b"1")
    chain.append_block(chain.applied + 3, world.time_ms + 1, "kz-kgd-1", [], dict(state))
    assert chain.order_of_block(chain.height) == chain.applied


@pytest.mark.parametrize("blocks", [0, 1, 24, 25, 26, 51])
def test_ledgers_about_as_long_as_one_two_or_no_bundles_are_built_and_grow_on(blocks: int) -> None:
    world = World()
    if blocks:
        world.grow(blocks - 1, statements=9)
    store = MemoryStore()
    chain = receive(world, pieces_of(world), store)
    assert chain.root == world.chain.root
    again = World(store)
    again.keys, again.genesis, again._count, again.time_ms = world.keys, world.genesis, world._count, world.time_ms
    statement = world.enrol("cn/truck/9")
    assert again.append(statement) == world.append(statement)
    assert Chain.open(store, thorough=True).root == world.chain.root


def test_a_log_of_exactly_full_bundles_is_built() -> None:
    world = World()
    world.append(*(world.enrol(f"kz/truck/{number}") for number in range(TILE_WIDTH - 2)))
    assert world.chain.size == TILE_WIDTH
    assert receive(world, pieces_of(world)).root == world.chain.root


def test_a_later_final_checkpoint_vouches_for_an_earlier_size() -> None:
    world = World()
    world.grow(30)
    source = SnapshotSource(world.store)
    assert source.describe(world.chain) is None
    size = source.size
    world.grow(40)
    world.chain.put_cosigned(world.chain.size, world.note())
    descriptor = source.describe(world.chain)
    assert descriptor is not None
    assert descriptor.size == size
    assert descriptor.consistency
    store = MemoryStore()
    builder = make_builder(world, store)
    builder.begin(descriptor)
    for chunk in source.hashes():
        builder.add_hashes(chunk)
    for bundle in source.bundles():
        builder.add_bundle(bundle)
    for chunk in source.state():
        builder.add_state(chunk)
    chain = builder.finish()
    assert (chain.size, chain.root) == (size, world.chain.root_at(size))
    assert chain.latest_final is None  # of a size that this ledger does not have yet


def test_another_sender_goes_on_with_bundles_where_the_first_was_cut_off(world: World, honest: list[Piece]) -> None:
    store = MemoryStore()
    first = make_builder(world, store)
    bundles = [piece for piece in honest if piece.kind == "bundle"]
    take(first, [piece for piece in honest if piece.kind in ("descriptor", "hashes")])
    take(first, bundles[:2])
    second = make_builder(world, store.reopen())
    assert second.bundles == 2
    take(second, pieces_of(world, first_bundle=second.bundles))
    assert second.finish().root == world.chain.root


def test_a_newer_snapshot_replaces_the_state_of_one_that_was_cut_off() -> None:
    world = World()
    world.grow(30)
    store = MemoryStore()
    old = pieces_of(world)
    builder = make_builder(world, store)
    take(builder, old[:-1])
    world.append(world.revoke("kz/truck/2"))  # a record that the old state had is gone
    world.grow(20, participants=2)
    builder = make_builder(world, store.reopen())
    survivor = builder._store
    take(builder, pieces_of(world, first_bundle=builder.bundles))
    chain = builder.finish()
    chain.verify_all()
    assert isinstance(world.store, MemoryStore)
    assert isinstance(survivor, MemoryStore)
    assert of_ledger(survivor) == of_ledger(world.store)


def test_an_older_snapshot_than_what_is_here_is_refused(world: World, honest: list[Piece]) -> None:
    store = MemoryStore()
    builder = make_builder(world, store)
    take(builder, [piece for piece in honest if piece.kind != "state"])
    small = Descriptor.decode(honest[0].data)
    with pytest.raises(Untrue, match="too_old"):
        builder.begin(replace(small, size=TILE_WIDTH, height=3, tail=b""))


# --- strangers and liars -------------------------------------------------------------------------------------------


def code_of(error: LedgerError) -> str:
    return error.code if isinstance(error, Malformed | Untrue) else "misuse"


def refused(world: World, pieces: list[Piece], store: MemoryStore | None = None) -> LedgerError:
    """The error with which these pieces are refused; and whatever was written before is no ledger."""
    store = MemoryStore() if store is None else store
    try:
        receive(world, pieces, store)
    except (Malformed, Untrue) as error:
        assert store.get(HEAD) is None
        return error
    except Misuse as error:  # a piece that no sender had reason to send
        assert store.get(HEAD) is None
        return error
    raise AssertionError("an altered snapshot was taken for an honest one")


@settings(deadline=None)
@given(data=st.data())
def test_one_altered_bit_in_any_piece_is_refused(data: st.DataObject) -> None:
    world, honest = _small()
    which = data.draw(st.integers(0, len(honest) - 1), label="piece")
    kind, content = honest[which]
    at = data.draw(st.integers(0, len(content) - 1), label="byte")
    bit = data.draw(st.integers(0, 7), label="bit")
    altered = content[:at] + bytes((content[at] ^ 1 << bit,)) + content[at + 1 :]
    if kind == "descriptor" and Descriptor.decode(content).applied != _applied_of(altered):
        return  # the one number that the log does not vouch for: see `test_the_position_of_the_order_is_taken_as_it_is`
    refused(world, [*honest[:which], Piece(kind, altered), *honest[which + 1 :]])


def _applied_of(data: bytes) -> int | None:
    try:
        return Descriptor.decode(data).applied
    except LedgerError:
        return Descriptor.decode(_small()[1][0].data).applied


@settings(deadline=None)
@given(data=st.data())
def test_a_piece_left_out_doubled_or_moved_is_refused(data: st.DataObject) -> None:
    world, honest = _small()
    which = data.draw(st.integers(0, len(honest) - 1), label="piece")
    piece, rest = honest[which], [*honest[:which], *honest[which + 1 :]]
    what = data.draw(st.sampled_from(["left out", "doubled", "moved"]))
    if what == "left out":
        altered = rest
    elif what == "doubled":
        altered = [*honest[:which], piece, *honest[which:]]
        if piece.kind == "descriptor":
            return  # the same beginning twice is one
    else:
        to = data.draw(st.integers(0, len(rest)).filter(lambda place: place != which), label="to")
        altered = [*rest[:to], piece, *rest[to:]]
    refused(world, altered)


# Without these lines each of those that remain is needed: an altered one is not made good by another.
SPARE = ("kz-kgd-2", "cn-gacc-2", "cn-gacc")
_SMALL: list[tuple[World, list[Piece]]] = []


def _small() -> tuple[World, list[Piece]]:
    if not _SMALL:
        world = World(seed="small")
        world.grow(26, statements=9)
        _SMALL.append((world, pieces_of(world, without=SPARE)))
    return _SMALL[0]


def test_a_checkpoint_that_one_authority_alone_cosigned_is_refused(world: World, honest: list[Piece]) -> None:
    descriptor = Descriptor.decode(honest[0].data)
    for missing in (("cn-gacc-1", "cn-gacc-2"), ("kz-kgd-1", "kz-kgd-2")):
        alone = replace(descriptor, note=world.note(without=missing))
        error = refused(world, [Piece("descriptor", alone.encode()), *honest[1:]])
        assert code_of(error) == "quorum_not_met"


def test_a_snapshot_of_another_network_is_refused(world: World) -> None:
    other = World(seed="other")
    other.grow(60, statements=10)
    assert isinstance(refused(world, pieces_of(other)), Untrue)


def test_a_checkpoint_of_another_log_with_our_keys_is_refused(world: World, honest: list[Piece]) -> None:
    descriptor = Descriptor.decode(honest[0].data)
    note = world.note(Checkpoint("another.example/log", descriptor.size, world.chain.root))
    error = refused(world, [Piece("descriptor", replace(descriptor, note=note).encode()), *honest[1:]])
    assert isinstance(error, Untrue)


def test_a_size_beyond_the_final_checkpoint_is_refused(world: World, honest: list[Piece]) -> None:
    descriptor = Descriptor.decode(honest[0].data)
    note = world.note(Checkpoint(world.genesis.origin, descriptor.size - 1, world.chain.root_at(descriptor.size - 1)))
    error = refused(world, [Piece("descriptor", replace(descriptor, note=note).encode()), *honest[1:]])
    assert code_of(error) == "snapshot_not_final"


def test_a_size_within_a_block_is_refused_though_the_tree_has_it(world: World, honest: list[Piece]) -> None:
    descriptor = Descriptor.decode(honest[0].data)
    size = descriptor.size - 3
    final = Checkpoint(world.genesis.origin, descriptor.size, world.chain.root)
    cut = replace(
        descriptor,
        size=size,
        tail=descriptor.tail[: size % TILE_WIDTH * 32],
        note=world.note(final),
        consistency=tuple(world.chain.consistency_proof(size, descriptor.size)),
    )
    last = [piece for piece in honest if piece.kind == "bundle"][-1]
    entries = decode_entry_bundle(last.data, descriptor.size % TILE_WIDTH)[: size % TILE_WIDTH]
    pieces = [Piece("descriptor", cut.encode()), *honest[1:]]
    pieces[pieces.index(last)] = Piece("bundle", encode_entry_bundle(entries))
    error = refused(world, pieces)
    assert code_of(error) == "snapshot_within_a_block"


def test_another_height_or_state_root_than_the_last_block_says_is_refused(world: World, honest: list[Piece]) -> None:
    descriptor = Descriptor.decode(honest[0].data)
    for altered, code in (
        (replace(descriptor, height=descriptor.height - 1), "snapshot_height_differs"),
        (replace(descriptor, state_root=bytes(32)), "snapshot_state_differs"),
    ):
        error = refused(world, [Piece("descriptor", altered.encode()), *honest[1:]])
        assert code_of(error) == code


def test_the_position_of_the_order_is_taken_as_it_is(world: World, honest: list[Piece]) -> None:
    """No hash covers it, so no check here can: `nodes.catch_up` has both authorities agree on it."""
    descriptor = replace(Descriptor.decode(honest[0].data), applied=77)
    assert receive(world, [Piece("descriptor", descriptor.encode()), *honest[1:]]).applied == 77


def test_a_cosigned_log_that_is_no_log_of_ours_is_refused_all_the_same() -> None:
    """Both authorities would have to sign it; then they were both wrong, and we do not follow."""
    world = World()
    world.grow(3)
    head = world.chain.head
    forged = BlockRecord(
        head.height + 7, world.time_ms, head.size, 0, head.last_record_hash, head.state_root, "kz-kgd-1"
    )
    writes: dict[bytes, bytes | None] = {b"\x01e" + head.size.to_bytes(8, "big"): forged.encode()}
    world.store.write(writes)
    leaves = [leaf_hash(raw) for raw in world.chain.entries(0, head.size)] + [leaf_hash(forged.encode())]
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    descriptor = Descriptor(
        size=head.size + 1,
        height=forged.height,
        applied=head.applied + 1,
        state_root=head.state_root,
        note=world.note(Checkpoint(world.genesis.origin, head.size + 1, frontier.root())),
        consistency=(),
        tail=b"".join(leaves),
    )
    entries = [*world.chain.entries(0, head.size), forged.encode()]
    error = refused(world, [Piece("descriptor", descriptor.encode()), Piece("bundle", encode_entry_bundle(entries))])
    assert code_of(error) == "snapshot_not_a_log"


def test_state_before_the_entries_are_complete_is_refused(world: World, honest: list[Piece]) -> None:
    builder = make_builder(world, MemoryStore())
    take(builder, honest[:1])
    with pytest.raises(Misuse):
        builder.add_state(honest[-1].data)
    with pytest.raises(Misuse):
        builder.finish()


def test_a_store_that_holds_a_ledger_or_something_else_takes_no_snapshot(world: World) -> None:
    with pytest.raises(Misuse, match="whole ledger"):
        make_builder(world, world.store)
    store = MemoryStore()
    store.write({b"x": b""})
    with pytest.raises(Malformed, match="how far"):
        make_builder(world, store)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"height": 10**6},
        {"state_root": b"short"},
        {"note": b""},
        {"tail": b""},
    ],
)
def test_a_descriptor_whose_parts_do_not_fit_is_malformed(honest: list[Piece], change: dict[str, object]) -> None:
    descriptor = Descriptor.decode(honest[0].data)
    with pytest.raises(Malformed):
        Descriptor.decode(replace(descriptor, **change).encode())  # type: ignore[arg-type]


def test_nothing_is_left_of_the_end_of_a_longer_snapshot_that_was_cut_off() -> None:
    world = World()
    world.grow(30, statements=9)
    shorter = pieces_of(world)
    size = world.chain.size
    before = of_ledger(cast("MemoryStore", world.store))
    statement = world.enrol("kz/truck/late")
    world.append(statement)
    longer = pieces_of(world)
    store = MemoryStore()
    take(make_builder(world, store), [piece for piece in longer if piece.kind != "state"])
    builder = make_builder(world, store)
    assert builder.bundles == size // TILE_WIDTH
    # Whom it asks now is a block behind.
    skip = builder.bundles
    take(builder, [piece for piece in shorter if piece.kind == "descriptor"])
    take(builder, [piece for piece in shorter if piece.kind == "bundle"][skip:])
    take(builder, [piece for piece in shorter if piece.kind == "state"])
    chain = builder.finish()
    assert chain.size == size
    # Found before it is executed, it would be taken for a duplicate, and this ledger would part from all others.
    assert chain.find(statement.id) is None
    assert chain.find_cti(statement.iss, statement.cti) is None
    assert of_ledger(store) == before
