"""The chain: one batch a block, whatever happens to the write; and every read against a second, simpler log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.chain import Chain
from ledger.chain_layout import BLOCK_AT, CHUNK, ENTRY, HEAD, TILE, block_at_key, numbered_key, tile_key
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, parse_entry
from ledger.errors import Malformed, Misuse, UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.statement import Statement
from ledger.stateproof import verify_state_proof
from ledger.store import Batch, MemoryStore, Store, StoreUnavailable
from ledger.tiles import decode_entry_bundle, entries_path, tile_path
from tests.ledger.toy import ORIGIN, START_MS, World


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


class FailingStore(MemoryStore):
    """A store whose next write fails: before it happened, or after (`persists`), as one that lost the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.fail: Exception | None = None
        self.persists = False
        self.writes = 0

    def write(self, batch: Batch, sync: bool = True) -> None:
        self.writes += 1
        if self.fail is not None:
            error, self.fail = self.fail, None
            if self.persists:
                super().write(batch, sync)
            raise error
        super().write(batch, sync)


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    yield opened
    opened.close()


def contents(store: Store) -> list[tuple[bytes, bytes]]:
    return list(store.iterate(b"", b"\xff" * 8))


def test_an_empty_store_wants_a_genesis_and_takes_it_once() -> None:
    chain = Chain.open(MemoryStore())
    assert (chain.size, chain.height, chain.applied, chain.last_block) == (0, 0, 0, None)
    with pytest.raises(Misuse):
        _ = chain.genesis
    world = World()
    with pytest.raises(Misuse):
        world.chain.initialise(world.genesis, {})
    assert parse_entry(world.chain.entry(0)) == world.genesis == world.chain.genesis
    assert world.chain.root == leaf_hash(world.genesis.encode())


def test_a_block_is_its_statements_and_a_record_of_them(store: Store) -> None:
    world = World(store)
    enrol = world.enrol("kz/truck/1")
    checkpoint = world.append(enrol, world.add("kz/truck/1", "c1", 5))
    chain = world.chain
    assert checkpoint == Checkpoint(ORIGIN, 4, chain.root)
    record = parse_entry(chain.entry(3))
    assert record == chain.last_block == chain.block(1) == chain.block_of(1) == chain.block_of(3)
    assert record == BlockRecord(1, START_MS + 250, 1, 2, leaf_hash(chain.entry(0)), chain.state.root, "kz-kgd-1")
    world.append(world.add("kz/truck/1", "c1", 2))
    second = chain.block_of(4)
    assert (second.height, second.first, second.count, second.previous) == (2, 4, 1, leaf_hash(chain.entry(3)))
    assert chain.state.get("counter/c1") == (7).to_bytes(8, "big")
    verify_state_proof(second.state_root, "counter/c1", (7).to_bytes(8, "big"), chain.state.prove("counter/c1"))
    assert chain.find(enrol.id) == 1
    assert chain.find_cti(enrol.iss, enrol.cti) == 1
    assert chain.find_cti("someone/else", enrol.cti) is None
    assert chain.subject_entries("c1") == [2, 4]
    assert chain.subject_entries("c1", after=2) == [4]
    assert chain.subject_entries("c1", limit=1) == [2]
    assert chain.subject_entries("c") == []
    assert chain.applied == 2


def test_tiles_and_proofs_agree_with_the_definition_at_every_size_across_tile_boundaries(store: Store) -> None:
    world = World(store)
    world.append(world.enrol("kz/truck/1"))
    leaves = [leaf_hash(world.chain.entry(index)) for index in range(world.chain.size)]
    roots: dict[int, bytes] = {}
    for count in (250, 1, 0, 2, 255, 256, 257, 3):
        world.append(*(world.add("kz/truck/1", f"c{number}") for number in range(count)))
        leaves += [leaf_hash(raw) for raw in world.chain.entries(len(leaves), world.chain.size)]
        roots[len(leaves)] = naive_root(leaves)
        assert world.chain.root == roots[len(leaves)]
        assert Chain.open(store, thorough=True).head == world.chain.head
    chain = world.chain
    size = chain.size
    for index in range(size // 256):
        assert chain.tile(tile_path(0, index)) == b"".join(leaves[index * 256 : index * 256 + 256])
        assert len(decode_entry_bundle(chain.tile(entries_path(index)), 256)) == 256
    assert chain.tile(tile_path(1, 0, 2)) == naive_root(leaves[:256]) + naive_root(leaves[256:512])
    last = size // 256
    for width in (1, size % 256):
        assert chain.tile(tile_path(0, last, width)) == b"".join(leaves[last * 256 : last * 256 + width])
    with pytest.raises(Misuse):
        chain.tile(tile_path(0, last, size % 256 + 1))
    with pytest.raises(Malformed):
        chain.tile("tile/0/0")
    for old, root in roots.items():
        assert chain.root_at(old) == root
        verify_consistency(old, root, size, chain.root, chain.consistency_proof(old, size))
        for index in (0, 1, 255, 256, old - 1):
            if index < old:
                verify_inclusion(index, old, leaves[index], chain.inclusion_proof(index, old), root)
    # Whole tiles replace the chunks in which they came.
    assert len(list(store.iterate(TILE, TILE + b"\xff"))) == size // 256
    assert sum(len(hashes) for _, hashes in store.iterate(CHUNK, CHUNK + b"\xff")) == 32 * (size % 256 + size // 256)


def test_a_chain_opened_again_goes_on_as_if_it_had_never_stopped() -> None:
    one, other = World(seed="same"), MemoryStore()
    again = Chain.open(other)
    again.initialise(one.genesis, one.replay.genesis_state(one.genesis))
    one.append(one.enrol("kz/truck/1"))
    for _ in range(60):
        one.append(*(one.add("kz/truck/1", f"c{number}") for number in range(9)))
    for height in range(1, one.chain.height + 1):
        record = one.chain.block(height)
        statements = [parse_entry(raw) for raw in one.chain.entries(record.first, record.first + record.count)]
        accepted = [each for each in statements if isinstance(each, Statement)]
        block = one.replay.begin_block(again.state, record.time_ms, record.height)
        for statement in accepted:
            block.execute(statement, lambda statement, key: None)
        again.append_block(height, record.time_ms, record.proposer, accepted, block.changes)
        again = Chain.open(other, thorough=height % 20 == 0)
    assert again.head == one.chain.head
    assert contents(other) == contents(one.store)


@pytest.mark.parametrize("persists", [False, True])
@pytest.mark.parametrize("step", ["initialise", "append", "advance", "note", "fill a tile"])
def test_a_write_that_fails_leaves_the_chain_as_it_was_and_the_store_whole(step: str, persists: bool) -> None:
    store = FailingStore()
    world = World(store)
    world.append(world.enrol("kz/truck/1"))
    before = world.chain.head, contents(store)
    block = [world.add("kz/truck/1", f"c{n}") for n in range(300 if step == "fill a tile" else 3)]
    fresh = FailingStore()
    chain = Chain.open(fresh) if step == "initialise" else world.chain
    failing = fresh if step == "initialise" else store
    state = world.replay.genesis_state(world.genesis)
    changes = world.execute(block)

    def write() -> None:
        if step == "initialise":
            chain.initialise(world.genesis, state)
        elif step == "advance":
            chain.advance(9)
        elif step == "note":
            chain.put_cosigned(2, b"note")
        else:
            chain.append_block(2, START_MS + 500, "kz-kgd-1", block, changes, {b"node/x": b"y"})

    failing.fail, failing.persists = UnknownDurableState("the answer was lost"), persists
    with pytest.raises(UnknownDurableState):
        write()
    if step != "initialise":
        assert chain.head == before[0]
        # It is not known what is on the disk: this chain writes no more.
        with pytest.raises(UnknownDurableState):
            write()
    reopened = Chain.open(failing.reopen(), thorough=True)
    if not persists:
        assert contents(failing) == ([] if step == "initialise" else before[1])
    elif step in ("append", "fill a tile"):
        assert (reopened.height, reopened.applied) == (2, 2)
        assert failing.get(b"node/x") == b"y"
    elif step == "initialise":
        assert reopened.size == 1


def test_a_full_disk_leaves_nothing_behind_and_the_same_block_can_be_tried_again() -> None:
    store = FailingStore()
    world = World(store)
    world.append(world.enrol("kz/truck/1"))
    reference = World(seed="other")
    block = [world.add("kz/truck/1", f"c{n}") for n in range(300)]
    changes = world.execute(block)
    before = world.chain.head, world.chain.state.root, contents(store)
    for _ in range(3):
        store.fail = StoreUnavailable("disk full")
        with pytest.raises(StoreUnavailable):
            world.chain.append_block(2, START_MS + 500, "kz-kgd-1", block, changes)
        assert (world.chain.head, world.chain.state.root, contents(store)) == before
    world.chain.append_block(2, START_MS + 500, "kz-kgd-1", block, changes)
    Chain.open(store, thorough=True)
    assert world.chain.root != reference.chain.root


def test_a_block_is_one_write_and_what_the_node_is_about_to_sign_is_in_it() -> None:
    store = FailingStore()
    world = World(store)
    writes = store.writes
    seen: list[Checkpoint] = []

    def extra(checkpoint: Checkpoint) -> dict[bytes, bytes]:
        seen.append(checkpoint)
        return {b"node/intent": checkpoint.root}

    statement = world.enrol("kz/truck/1")
    checkpoint = world.chain.append_block(1, START_MS, "kz-kgd-1", [statement], world.execute([statement]), extra)
    assert store.writes == writes + 1
    assert seen == [checkpoint]
    assert store.get(b"node/intent") == checkpoint.root
    for key in (HEAD, ENTRY + b"x", b"\x02r", b""):
        before = contents(store)
        with pytest.raises(Misuse):
            world.chain.append_block(2, START_MS, "kz-kgd-1", [], {}, {key: b"x"})
        assert contents(store) == before


def test_a_rejected_block_moves_the_applied_position_and_no_byte_of_the_log() -> None:
    world = World()
    world.append(world.enrol("kz/truck/1"))
    head = world.chain.head
    world.chain.advance(7)
    assert world.chain.applied == 7 == Chain.open(world.store).applied
    assert (world.chain.size, world.chain.root) == (head.size, head.root)
    with pytest.raises(Misuse):
        world.chain.advance(6)
    with pytest.raises(Misuse):
        world.chain.append_block(7, START_MS + 900, "kz-kgd-1", [], {})


def test_what_no_honest_caller_asks_for_is_misuse() -> None:
    world = World()
    statement = world.enrol("kz/truck/1")
    chain = world.chain
    with pytest.raises(Misuse, match="twice"):
        chain.append_block(1, START_MS, "kz-kgd-1", [statement, statement], {})
    with pytest.raises(Misuse, match="time"):
        chain.append_block(1, START_MS - 1, "kz-kgd-1", [], {})
    for index in (-1, 1):
        with pytest.raises(Misuse):
            chain.entry(index)
    with pytest.raises(Misuse):
        chain.entries(0, 2)
    with pytest.raises(Misuse):
        chain.block_of(0)
    with pytest.raises(Misuse):
        chain.block(1)
    with pytest.raises(Misuse):
        chain.inclusion_proof(0, 2)
    with pytest.raises(Misuse):
        chain.put_cosigned(2, b"")
    assert chain.size == 1


def test_final_notes_are_kept_by_size_so_that_a_proof_stays_the_same() -> None:
    world = World()
    assert world.chain.latest_final is None
    world.grow(4)
    for size in (3, 9):
        world.chain.put_cosigned(size, b"note %d" % size)
    assert world.chain.cosigned_at_or_after(1) == (3, b"note 3")
    assert world.chain.cosigned_at_or_after(3) == (3, b"note 3")
    assert world.chain.cosigned_at_or_after(4) == (9, b"note 9")
    assert world.chain.cosigned_at_or_after(10) is None
    assert world.chain.latest_final == (9, b"note 9")


@pytest.mark.parametrize("thorough", [False, True])
def test_a_store_that_contradicts_itself_does_not_open(thorough: bool) -> None:
    world = World()
    world.grow(70)
    size = world.chain.size
    chunk = next(world.store.iterate(CHUNK, CHUNK + b"\xff"))[0]
    damaged = [
        HEAD,
        numbered_key(ENTRY, size - 1),
        chunk,
        tile_key(0, 0) if thorough else chunk,
        numbered_key(ENTRY, 0),
        b"\x02r",
        b"\x02p\x00",
    ]
    if thorough:
        damaged += [numbered_key(ENTRY, 7), next(world.store.iterate(b"\x02v", b"\x02w"))[0]]
    for key in damaged:
        value = world.store.get(key)
        assert value is not None
        for wrong in (None, value[:-1], bytes((value[0] ^ 1,)) + value[1:], value[:-1] + bytes((value[-1] ^ 1,))):
            if key == numbered_key(ENTRY, 0) and wrong is not None and not thorough:
                continue
            copy = world.store.reopen() if isinstance(world.store, MemoryStore) else MemoryStore()
            copy.write({key: wrong})
            with pytest.raises(UnknownDurableState):
                Chain.open(copy, thorough=thorough)


def test_missing_pieces_are_named_when_they_are_read() -> None:
    world = World()
    world.grow(70)
    world.store.write({numbered_key(ENTRY, 5): None, tile_key(0, 0): None, block_at_key(5 + 3): None})
    for ask in (
        lambda: world.chain.entry(5),
        lambda: list(world.chain.entries(0, 9)),
        lambda: world.chain.tile(tile_path(0, 0)),
        lambda: world.chain.inclusion_proof(0, world.chain.size),
    ):
        with pytest.raises(UnknownDurableState):
            ask()
    world.store.write(dict.fromkeys((key for key, _ in world.store.iterate(BLOCK_AT, BLOCK_AT + b"\xff" * 9))))
    with pytest.raises(UnknownDurableState):
        world.chain.block_of(1)


def test_whoever_reads_beside_the_writer_can_tell_that_a_block_is_half_there() -> None:
    world, seen = World(), list[tuple[int, int, bool]]()
    world.append(world.enrol("kz/truck/1"))
    write = world.store.write

    def watched(batch: Batch, sync: bool = True) -> None:
        write(batch, sync)
        seen.append((world.chain.growths % 2, world.chain.size, world.chain.state.get("counter/c") is not None))

    world.store.write = watched  # type: ignore[method-assign]
    before = world.chain.growths
    size = world.chain.size
    world.append(world.add("kz/truck/1", "c", 1))
    assert seen == [(1, size, True)], "the state is there, and the head does not name it yet"
    assert (world.chain.growths % 2, world.chain.growths != before, world.chain.size > size) == (0, True, True)


def test_readers_in_other_threads_always_see_a_whole_block(tmp_path: Path) -> None:
    world = World(LevelDBStore(tmp_path / "db"))
    world.append(world.enrol("kz/truck/1"))
    stop, faults = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            while not stop.is_set():
                head = world.chain.head
                index = head.size - 1
                record = BlockRecord.decode(world.chain.entry(index))
                if record != head.last_block:
                    raise ValueError("the last entry is not the last block record")
                proof = world.chain.inclusion_proof(index, head.size)
                verify_inclusion(index, head.size, leaf_hash(world.chain.entry(index)), proof, head.root)
                tile, width = divmod(head.size, 256)
                if width and world.chain.tile(tile_path(0, tile, width))[-32:] != leaf_hash(world.chain.entry(index)):
                    raise ValueError("the tile does not end in the last leaf")
                world.chain.state.prove("counter/c1")
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(120):
        world.append(*(world.add("kz/truck/1", f"c{n}", number + 1) for n in range(5)))
    stop.set()
    for thread in threads:
        thread.join()
    world.store.close()
    assert faults == []
