"""A snapshot as a list of pieces, and a receiver that takes such a list: for tests that alter pieces on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.chain import Chain
from ledger.chain_layout import STATE
from ledger.policy import parse_policy
from ledger.snapshot import Descriptor, SnapshotSource
from ledger.snapshot_building import SnapshotBuilder
from ledger.statemap import StateMap
from ledger.store import MemoryStore, Store
from tests.ledger.toy import World


class Piece(NamedTuple):
    kind: str
    data: bytes


def genesis_state_root(world: World) -> bytes:
    return StateMap(MemoryStore(), STATE).update(dict(world.replay.genesis_state(world.genesis))).root


def pieces_of(world: World, first_bundle: int = 0, chunk_bytes: int = 200, without: Sequence[str] = ()) -> list[Piece]:
    """What an honest sender sends, the present size being final by a note that lacks the lines ``without``."""
    source = SnapshotSource(world.store)
    world.chain.put_cosigned(world.chain.size, world.note(without=without))
    descriptor = source.describe(world.chain)
    if descriptor is None:
        raise ValueError("the present size is final, so there is a descriptor")
    pieces = [Piece("descriptor", descriptor.encode())]
    pieces += [Piece("hashes", chunk) for chunk in source.hashes(first_bundle)]
    pieces += [Piece("bundle", bundle) for bundle in source.bundles(first_bundle)]
    pieces += [Piece("state", chunk) for chunk in source.state(chunk_bytes)]
    source.close()
    return pieces


def make_builder(world: World, store: Store) -> SnapshotBuilder:
    return SnapshotBuilder(store, [parse_policy(world.policy())], world.genesis, genesis_state_root(world))


def take(builder: SnapshotBuilder, pieces: Iterable[Piece]) -> None:
    for kind, data in pieces:
        if kind == "descriptor":
            builder.begin(Descriptor.decode(data))
        elif kind == "hashes":
            builder.add_hashes(data)
        elif kind == "bundle":
            builder.add_bundle(data)
        else:
            builder.add_state(data)


def receive(world: World, pieces: Iterable[Piece], store: Store | None = None) -> Chain:
    builder = make_builder(world, MemoryStore() if store is None else store)
    take(builder, pieces)
    return builder.finish()
