"""Catching up from peers, some of whom lie or die: what is taken, what is refused, and who is asked next."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consensus import Configuration, Membership
from ledger.chain import Chain
from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.merkle import TILE_WIDTH
from ledger.snapshot import Descriptor
from ledger.store import Batch, MemoryStore, Store, StoreUnavailable, check_batch
from nodes import catch_up, catch_up_serving
from nodes.catch_up import CatchUp, PeerFailed
from nodes.catch_up_adoption import LEDGER, ORDER_BASE, STAGING, OrderBase
from nodes.catch_up_serving import FetchRefused, SnapshotServer
from nodes.files import Files
from nodes.proto import peer_pb2
from nodes.raft_store import membership_from_bytes, membership_to_bytes
from tests.ledger.snapshots import make_builder
from tests.ledger.toy import World

NETWORK = bytes(32)
AUTHORITY_OF = {"kz-kgd-2": "kz-kgd", "cn-gacc-1": "cn-gacc", "cn-gacc-2": "cn-gacc"}
MEMBERS = membership_to_bytes(Membership(Configuration({"kz-kgd-1": "kz-kgd", "cn-gacc-1": "cn-gacc"})))
TERM = 4

Piece = peer_pb2.FetchPiece
Lie = Callable[[int, Piece], Piece | None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in these tests is late: who does not know now never will."""
    for module, name in (
        (catch_up, "RETRY_S"),
        (catch_up, "POSITION_WAIT_S"),
        (catch_up, "POSITION_POLL_S"),
        (catch_up_serving, "FINAL_WAIT_S"),
        (catch_up_serving, "FINAL_POLL_S"),
    ):
        monkeypatch.setattr(module, name, 0.001)


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(60, statements=9)
    grown.chain.put_cosigned(grown.chain.size, grown.note())
    return grown


def honest(number: int, piece: Piece) -> Piece:
    return piece


class Peers:
    """Servers of one ledger, and what each makes of it: `lies` alter, drop or interrupt the n-th piece."""

    def __init__(self, world: World, names: tuple[str, ...] = tuple(AUTHORITY_OF)) -> None:
        self.names = list(names)
        self.executor = ThreadPoolExecutor(1)
        self.lies: dict[str, Lie] = {}
        self.requests: list[tuple[str, peer_pb2.FetchRequest]] = []
        self.servers = {
            name: SnapshotServer(world.store, world.chain, NETWORK, lambda _: (TERM, MEMBERS), self.executor)
            for name in names
        }

    async def fetch(self, name: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[Piece, None]:
        request.network = NETWORK
        if not request.HasField("position"):
            self.requests.append((name, request))
        lie = self.lies.get(name, honest)
        pieces = self.servers[name].serve("kz-kgd-1", request)
        number = 0
        try:
            async for piece in pieces:
                told = lie(number, piece)
                number += 1
                if told is not None:
                    yield told
        except FetchRefused as error:
            raise PeerFailed(str(error)) from error
        finally:
            await pieces.aclose()

    def asked(self) -> list[str]:
        return [name for name, _ in self.requests]


def make_catch_up(
    data: Path,
    world: World,
    peers: Peers,
    own: Chain | None = None,
    open_store: Callable[[Path], Store] = LevelDBStore,
) -> CatchUp:
    return CatchUp(
        data,
        open_store=open_store,
        make_builder=lambda store: make_builder(world, store),
        own=own or Chain.open(MemoryStore()),
        fetch=peers.fetch,
        peers=lambda: peers.names,
        authority="kz-kgd",
        authority_of=AUTHORITY_OF,
        decode_membership=membership_from_bytes,
        executor=peers.executor,
        writer=ThreadPoolExecutor(1),
        files=Files(),
    )


async def run(catching_up: CatchUp, needed: int = 1, first: str | None = "cn-gacc-1") -> bool:
    """To its end."""
    catching_up.need(needed, first)
    await catching_up.run()
    await catching_up.close()
    return catching_up.done.is_set()


async def trouble_of(catching_up: CatchUp, needed: int = 1) -> str:
    """What keeps it from coming to an end, as soon as it says so."""
    catching_up.need(needed, "cn-gacc-1")
    task = asyncio.create_task(catching_up.run())
    while catching_up.trouble is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert not catching_up.done.is_set()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await catching_up.close()
    return catching_up.trouble


def check(data: Path, world: World) -> None:
    store = LevelDBStore(data / STAGING / LEDGER)
    chain = Chain.open(store, thorough=True)
    assert (chain.size, chain.root, chain.applied) == (world.chain.size, world.chain.root, world.chain.applied)
    assert OrderBase.decode(store.get(ORDER_BASE) or b"") == OrderBase(world.chain.applied, TERM, MEMBERS)
    store.close()


async def test_a_snapshot_is_taken_from_the_leader_where_a_colleague_agrees_on_its_position(
    world: World, tmp_path: Path
) -> None:
    peers = Peers(world)
    catching_up = make_catch_up(tmp_path, world, peers)
    assert str(catching_up) == "a snapshot: looking for a peer"
    assert await run(catching_up, needed=world.chain.applied)
    assert peers.asked() == ["cn-gacc-1"]
    check(tmp_path, world)


async def test_what_was_verified_is_kept_when_the_peer_dies_and_another_goes_on(world: World, tmp_path: Path) -> None:
    peers = Peers(world)

    def die(number: int, piece: Piece) -> Piece:
        if number == 4:  # a beginning, hashes, two bundles
            raise PeerFailed("connection lost")
        return piece

    peers.lies["cn-gacc-1"] = die
    assert await run(make_catch_up(tmp_path, world, peers))
    assert peers.asked()[0] == "cn-gacc-1"
    assert [request.hashes_from for _, request in peers.requests] == [0, 2]
    check(tmp_path, world)


async def test_what_was_verified_is_kept_over_a_restart(world: World, tmp_path: Path) -> None:
    peers = Peers(world, ("cn-gacc-1", "kz-kgd-2"))
    stuck = asyncio.Event()

    def stall(number: int, piece: Piece) -> Piece:
        if number == 3:
            stuck.set()
            raise PeerFailed("connection lost")
        return piece

    peers.lies = dict.fromkeys(peers.names, stall)
    first = make_catch_up(tmp_path, world, peers)
    first.need(1)
    task = asyncio.create_task(first.run())
    await stuck.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await first.close()
    peers.lies, peers.requests = {}, []
    assert await run(make_catch_up(tmp_path, world, peers))
    assert peers.requests[0][1].hashes_from >= 1
    check(tmp_path, world)


@pytest.mark.parametrize("which", ["beginning", "hashes", "bundle", "state"])
async def test_who_alters_a_piece_is_refused_and_another_is_asked(world: World, tmp_path: Path, which: str) -> None:
    peers = Peers(world)

    def alter(number: int, piece: Piece) -> Piece:
        altered = Piece()
        altered.CopyFrom(piece)
        if which == "beginning" and piece.HasField("beginning"):
            descriptor = Descriptor.decode(piece.beginning.descriptor)
            altered.beginning.descriptor = dataclasses.replace(descriptor, state_root=bytes(32)).encode()
        elif which == "hashes" and piece.HasField("hashes"):
            altered.hashes = piece.hashes[::-1]
        elif which == "bundle" and piece.HasField("bundle"):
            altered.bundle.data = piece.bundle.data[:-1] + bytes((piece.bundle.data[-1] ^ 1,))
        elif which == "state" and piece.HasField("state"):
            altered.state = piece.state[:-1] + bytes((piece.state[-1] ^ 1,))
        return altered

    peers.lies["cn-gacc-1"] = alter
    catching_up = make_catch_up(tmp_path, world, peers)
    assert await run(catching_up)
    assert catching_up.refused == 1
    assert peers.asked() == ["cn-gacc-1", "kz-kgd-2"]
    check(tmp_path, world)


class SmallDisk(LevelDBStore):
    """Takes so many bytes, and then nothing at all."""

    room_bytes = 2 * 1024 * 1024

    def write(self, batch: Batch, sync: bool = True) -> None:
        self.room_bytes -= check_batch(batch)
        if self.room_bytes < 0:
            raise StoreUnavailable("the disk is full")
        super().write(batch, sync)


async def test_a_liar_that_fills_the_disk_with_state_is_left_for_another_and_the_disk_is_given_back(
    world: World, tmp_path: Path
) -> None:
    records = {sha256(name).digest(): name for name in (b"junk/%d" % number for number in range(40))}
    names = [records[path] for path in sorted(records)]
    junk = [
        b"".join(
            (2 + len(name) + 64_000).to_bytes(4, "big") + len(name).to_bytes(2, "big") + name + bytes(64_000)
            for name in some
        )
        for some in (names[:20], names[20:])
    ]
    peers = Peers(world)
    peers.lies["cn-gacc-1"] = lambda _, piece: (
        Piece(state=junk.pop(0)) if junk and piece.WhichOneof("piece") in ("state", "end") else piece
    )
    catching_up = make_catch_up(tmp_path, world, peers, open_store=SmallDisk)
    freed: list[bool] = []
    taking = catching_up._take_from

    async def take(peer: str) -> None:
        freed.append(not (tmp_path / STAGING / LEDGER).exists())
        await taking(peer)

    catching_up._take_from = take  # type: ignore[method-assign]
    assert await run(catching_up)
    assert len(set(peers.asked())) == 2
    assert freed == [True, True]
    check(tmp_path, world)


@pytest.mark.parametrize("what", ["applied", "term", "membership"])
async def test_who_lies_about_the_position_of_the_order_is_contradicted_by_the_other_authority(
    world: World, tmp_path: Path, what: str
) -> None:
    peers = Peers(world)

    def lie(number: int, piece: Piece) -> Piece:
        if not piece.HasField("beginning"):
            return piece
        beginning = piece.beginning
        if what == "applied":
            descriptor = Descriptor.decode(beginning.descriptor)
            lied = dataclasses.replace(descriptor, applied=descriptor.applied - 1).encode()
            return Piece(beginning=peer_pb2.FetchBeginning(descriptor=lied, order_term=TERM, membership=MEMBERS))
        liars = membership_to_bytes(Membership(Configuration({"cn-gacc-1": "kz-kgd", "cn-gacc-2": "cn-gacc"})))
        return Piece(
            beginning=peer_pb2.FetchBeginning(
                descriptor=beginning.descriptor,
                order_term=TERM + 9 if what == "term" else TERM,
                membership=liars if what == "membership" else MEMBERS,
            )
        )

    peers.lies["cn-gacc-1"] = lie
    catching_up = make_catch_up(tmp_path, world, peers)
    assert await run(catching_up)
    assert catching_up.refused == 1
    check(tmp_path, world)


async def test_the_word_of_one_authority_alone_is_not_enough(world: World, tmp_path: Path) -> None:
    peers = Peers(world, ("kz-kgd-2",))
    assert "nobody of cn-gacc confirms" in await trouble_of(make_catch_up(tmp_path, world, peers))


async def test_where_no_colleague_can_be_asked_the_other_authority_is_believed(world: World, tmp_path: Path) -> None:
    """What it could lie about decides elections, not what is final; and there may be no colleague any more."""
    assert await run(make_catch_up(tmp_path, world, Peers(world, ("cn-gacc-1",))))


async def test_entries_that_the_present_ledger_has_are_not_sent(world: World, tmp_path: Path) -> None:
    store = MemoryStore()
    store.write(dict(world.store.iterate(b"", b"\xff")))
    peers = Peers(world)
    assert await run(make_catch_up(tmp_path, world, peers, Chain.open(store)))
    request = peers.requests[0][1]
    assert (request.hashes_from, request.bundles_from) == (0, world.chain.size // TILE_WIDTH)
    check(tmp_path, world)


async def test_a_present_ledger_with_other_entries_than_the_cosigned_ones_stops_the_validator(
    world: World, tmp_path: Path
) -> None:
    other = World(seed="other")
    other.grow(40, statements=9)
    catching_up = make_catch_up(tmp_path, world, Peers(world), other.chain)
    with pytest.raises(UnknownDurableState, match="keep the folder as evidence"):
        await run(catching_up)


async def test_a_peer_that_is_not_far_enough_itself_is_not_asked_for_more(world: World, tmp_path: Path) -> None:
    needed = world.chain.applied + 1
    assert f"expected {needed}" in await trouble_of(make_catch_up(tmp_path, world, Peers(world)), needed)


async def test_a_leader_that_lied_about_what_nobody_has_is_not_waited_for_once_the_order_goes_on(
    tmp_path: Path,
) -> None:
    world, behind = World(), World(seed="own")
    behind.grow(2)
    catching_up = make_catch_up(tmp_path, world, Peers(world, ()), behind.chain)
    catching_up.need(2**60, "cn-gacc-1")
    task = asyncio.create_task(catching_up.run())
    await asyncio.sleep(0)
    assert catching_up.wanted
    behind.grow(1)
    while catching_up.wanted:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert not catching_up.done.is_set()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_pieces_in_an_order_that_nobody_honest_sends_are_refused(world: World, tmp_path: Path) -> None:
    for dropped in ("beginning", "hashes", "bundle", "end"):
        peers = Peers(world)
        seen: list[int] = []

        def drop(number: int, piece: Piece, dropped: str = dropped, seen: list[int] = seen) -> Piece | None:
            if piece.WhichOneof("piece") == dropped and not seen:
                seen.append(number)
                return None
            return piece

        peers.lies["cn-gacc-1"] = drop
        catching_up = make_catch_up(tmp_path / dropped, world, peers)
        assert await run(catching_up)
        assert len(peers.requests) == 2
        check(tmp_path / dropped, world)


# --- who serves -----------------------------------------------------------------------------------------------------


def server_of(world: World, **more: Any) -> SnapshotServer:
    return SnapshotServer(world.store, world.chain, NETWORK, lambda _: (TERM, MEMBERS), ThreadPoolExecutor(1), **more)


async def test_a_position_is_confirmed_only_for_the_height_that_followed_it(world: World) -> None:
    server = server_of(world)
    applied, height = world.chain.applied, world.chain.height
    position = peer_pb2.Position
    for query, verdict in (
        ((applied, height), position.YES),
        ((applied - 1, height - 1), position.YES),
        ((0, 0), position.YES),
        ((applied - 1, height), position.NO),
        ((applied, height - 1), position.NO),
        ((applied, height + 1), position.NO),
        ((applied + 1, height), position.UNKNOWN),
        ((applied + 1, height + 1), position.UNKNOWN),
    ):
        assert (server.position(*query).verdict, query) == (verdict, query)
    known = server.position(applied, height)
    assert (known.order_term, len(known.membership_sha256)) == (TERM, 32)
    forgetful = SnapshotServer(world.store, world.chain, NETWORK, lambda _: None, ThreadPoolExecutor(1))
    assert forgetful.position(applied, height).verdict == position.UNKNOWN


async def test_a_peer_that_asks_over_and_over_for_what_is_not_final_waits_in_one_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catch_up_serving, "FINAL_WAIT_S", 1e9)
    young = World()
    young.grow(2)
    server = server_of(young)
    request = peer_pb2.FetchRequest(network=NETWORK)
    asked = [asyncio.ensure_future(anext(server.serve("a", request))) for _ in range(20)]
    for each in asked[:-1]:
        with pytest.raises(FetchRefused, match="newer session"):
            await each
    young.chain.put_cosigned(young.chain.size, young.note())
    assert (await asked[-1]).HasField("beginning")


async def test_two_that_lie_hold_no_session_that_a_machine_of_another_party_needs(world: World) -> None:
    """Each takes a piece now and then, so that its session never ends."""
    parties = {"kz-kgd-1": "kz-kgd", "kz-kgd-2": "kz-kgd", "cn-gacc-1": "cn-gacc"}
    server = server_of(world, party_of=parties.__getitem__)
    request = peer_pb2.FetchRequest(network=NETWORK)
    first, second, honest = (server.serve(peer, request) for peer in parties)
    assert (await anext(first)).HasField("beginning")
    with pytest.raises(FetchRefused, match="kz-kgd-1, of the same party, is being served"):
        await anext(second)
    assert (await anext(honest)).HasField("beginning")
    await first.aclose()
    again = server.serve("kz-kgd-2", request)
    assert (await anext(again)).HasField("beginning")
    for session in (honest, again):
        await session.aclose()


async def test_sessions_are_few_and_one_for_each_peer(world: World) -> None:
    server = server_of(world)
    request = peer_pb2.FetchRequest(network=NETWORK)
    first, second, other, third = (server.serve(peer, request) for peer in ("a", "b", "o", "c"))
    assert (await anext(first)).HasField("beginning")
    assert (await anext(second)).HasField("beginning")
    assert (await anext(other)).HasField("beginning")
    with pytest.raises(FetchRefused, match="3 others"):
        await anext(third)
    await other.aclose()
    again = server.serve("a", request)
    assert (await anext(again)).HasField("beginning")
    with pytest.raises(FetchRefused, match="newer session"):
        async for _ in first:
            pass
    assert server.sessions == 2
    await second.aclose()
    await again.aclose()
    assert server.sessions == 0


async def test_another_network_an_impossible_place_and_what_is_not_final_are_refused(world: World) -> None:
    server = server_of(world)
    for request, why in (
        (peer_pb2.FetchRequest(network=b"\x01" * 32), "another network"),
        (peer_pb2.FetchRequest(network=NETWORK, bundles_from=10**9), "bundles from at most"),
        (peer_pb2.FetchRequest(network=NETWORK, hashes_from=1), "bundles from at most"),
    ):
        with pytest.raises(FetchRefused, match=why):
            await anext(server.serve("a", request))
    young = World()
    young.grow(2)
    with pytest.raises(FetchRefused, match="is final"):
        await anext(server_of(young).serve("a", peer_pb2.FetchRequest(network=NETWORK)))
    assert server.sessions == 0
