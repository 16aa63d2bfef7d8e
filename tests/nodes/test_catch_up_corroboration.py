"""A snapshot that only the other side placed: a colleague confirms it later, or the validator halts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.errors import UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import MemoryStore
from nodes.catch_up import PeerFailed
from nodes.catch_up_adoption import LEDGER, STAGING, UNCONFIRMED, Place
from nodes.catch_up_corroboration import Corroboration
from nodes.proto import peer_pb2
from tests.ledger.toy import World
from tests.nodes.test_catch_up import MEMBERS, TERM, Peers, make_catch_up, run

PLACE = Place(40, 3, sha256(b"members").digest(), 12)
Position = peer_pb2.Position


@pytest.fixture
def world() -> World:
    grown = World()
    grown.grow(5, statements=9)
    grown.chain.put_cosigned(grown.chain.size, grown.note())
    return grown


def said(verdict: peer_pb2.Position.Verdict, term: int = 3, members: bytes = b"members") -> Position:
    return Position(verdict=verdict, order_term=term, membership_sha256=sha256(members).digest())


class Colleagues:
    """What each colleague says when asked, in turn; None: it cannot be reached."""

    def __init__(self, *answers: Position | None) -> None:
        self.answers = list(answers)
        self.asked: list[peer_pb2.PositionQuery] = []
        self.halted: list[str] = []

    async def fetch(self, name: str, request: peer_pb2.FetchRequest) -> AsyncGenerator[peer_pb2.FetchPiece, None]:
        self.asked.append(request.position)
        answer = self.answers.pop(0)
        if answer is None:
            raise PeerFailed("cannot be reached")
        yield peer_pb2.FetchPiece(position=answer)

    def of(self, store: MemoryStore) -> Corroboration:
        names = [f"kz-kgd-{number}" for number in range(2, 2 + len(self.answers))]
        return Corroboration(store, fetch=self.fetch, colleagues=lambda: names, halt=self.halted.append)


def unconfirmed() -> MemoryStore:
    store = MemoryStore()
    store.write({UNCONFIRMED: PLACE.encode()})
    return store


async def test_a_colleague_that_confirms_the_place_ends_the_doubt_for_good() -> None:
    store = unconfirmed()
    colleagues = Colleagues(None, said(Position.UNKNOWN), said(Position.YES))
    corroboration = colleagues.of(store)
    assert "position 40 of the order: start a colleague" in str(corroboration)
    await corroboration.run()
    assert corroboration.place is None
    assert store.get(UNCONFIRMED) is None
    assert [(query.applied, query.height) for query in colleagues.asked] == [(40, 12)] * 3
    assert not colleagues.halted


@pytest.mark.parametrize(
    "answer", [said(Position.NO), said(Position.YES, term=4), said(Position.YES, members=b"others")]
)
async def test_a_colleague_that_contradicts_it_halts_the_validator_and_the_doubt_stays(answer: Position) -> None:
    store = unconfirmed()
    colleagues = Colleagues(answer)
    await colleagues.of(store).run()
    assert "kz-kgd-2, of our own authority, contradicts position 40 of the order at height 12" in colleagues.halted[0]
    assert store.get(UNCONFIRMED) == PLACE.encode()


async def test_as_long_as_nobody_of_our_own_can_be_asked_it_goes_on_asking() -> None:
    corroboration = Colleagues().of(unconfirmed())
    task = asyncio.create_task(corroboration.run())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    assert corroboration.place == PLACE


def test_a_record_that_does_not_read_stops_the_start() -> None:
    store = MemoryStore()
    store.write({UNCONFIRMED: b"\xff"})
    with pytest.raises(UnknownDurableState, match="record of an unconfirmed snapshot cannot be read"):
        Colleagues().of(store)


@pytest.mark.parametrize(
    ("peers", "alone"), [(("cn-gacc-1",), True), (("cn-gacc-1", "kz-kgd-2"), False), (("kz-kgd-2", "cn-gacc-1"), False)]
)
async def test_that_no_colleague_was_heard_goes_with_the_new_ledger(
    world: World, tmp_path: Path, peers: tuple[str, ...], alone: bool
) -> None:
    assert await run(make_catch_up(tmp_path, world, Peers(world, peers)))
    store = LevelDBStore(tmp_path / STAGING / LEDGER)
    stored = store.get(UNCONFIRMED)
    store.close()
    place = Place(world.chain.applied, TERM, sha256(MEMBERS).digest(), world.chain.height)
    assert stored == (place.encode() if alone else None)
