"""Catching up by a snapshot: a validator that needs entries of the order which nobody keeps any more (docs/adr/0015).

A new ledger is made in a folder beside the present one, piece by piece and verified (`ledger.snapshot_building`), while
the validator goes on voting and keeping the order. Whatever it signed or holds stays untouched until the new ledger is
whole; then the validator ends, the ledgers change places (`nodes.catch_up_adoption`), and it starts again.

Two things the final checkpoint does not vouch for, which position of the order the snapshot is of and who the members
were then. A peer of each authority is asked about both, and they have to agree. The term of that position decides
elections, so one authority's word is not enough for it.

What was verified is kept over a lost connection, a dead peer or a restart. Entries that the present ledger has are
taken from there, verified like any others. A peer whose snapshot does not hold is told so in the log, and another one
is asked.

Does not: believe progress that a peer claims, or hold more of a snapshot in memory than one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from consensus import Membership
from ledger.chain import Chain
from ledger.errors import Malformed, Misuse, UnknownDurableState, Untrue
from ledger.merkle import TILE_WIDTH
from ledger.snapshot import Descriptor
from ledger.snapshot_building import STATE_BEGUN, SnapshotBuilder
from ledger.store import Store, StoreUnavailable
from ledger.tiles import entries_path, tile_path
from nodes.catch_up_adoption import LEDGER, ORDER_BASE, STAGING, UNCONFIRMED, OrderBase, Place
from nodes.files import Files
from nodes.proto import peer_pb2

# A bundle: 256 statements of the largest size.
MAX_BUNDLE_BYTES = 16 * 1024 * 1024
RETRY_S = 1.0
# How long the peers may take to have executed what one of them sent as final.
POSITION_WAIT_S = 15.0
POSITION_POLL_S = 0.2
# Bundles taken from the present ledger in one turn of the thread.
OWN_BUNDLES_IN_TURN = 16


class PeerFailed(Exception):
    """The peer is gone, refuses, or does not answer: nothing is wrong with what it sent."""


Fetch = Callable[[str, peer_pb2.FetchRequest], AsyncGenerator[peer_pb2.FetchPiece, None]]


@dataclass(frozen=True, slots=True)
class Progress:
    """For people: where the snapshot comes from and how much of it is here."""

    peer: str
    entries: int
    entries_of: int
    records: int
    state_fraction: float
    entries_per_s: float
    records_per_s: float

    @property
    def fraction(self) -> float:
        """By entries, then by the part of the state, each counted as half; from 0 to 1."""
        entries = self.entries / self.entries_of if self.entries_of else 0.0
        return (entries + self.state_fraction) / 2

    def __str__(self) -> str:
        rate = f"{self.records_per_s:.0f} records/s" if self.records else f"{self.entries_per_s:.0f} entries/s"
        return (
            f"a snapshot from {self.peer}, {self.fraction:.0%}: {self.entries} of {self.entries_of} entries, "
            f"{self.records} records, {rate}"
        )


class CatchUp:
    """See the module. `need` starts it; `done` is set when a verified ledger stands ready to take over."""

    def __init__(
        self,
        data: Path,
        *,
        open_store: Callable[[Path], Store],
        make_builder: Callable[[Store], SnapshotBuilder],
        own: Chain,
        fetch: Fetch,
        peers: Callable[[], Sequence[str]],
        authority: str,
        authority_of: Mapping[str, str],
        decode_membership: Callable[[bytes], Membership],
        executor: Executor,
        writer: Executor,
        files: Files,
    ) -> None:
        self._folder = data / STAGING
        self._open_store = open_store
        self._make_builder = make_builder
        self._own = own
        self._fetch = fetch
        self._peers = peers
        self._authority = authority
        self._authority_of = authority_of
        self._decode_membership = decode_membership
        self._executor = executor
        self._writer = writer
        self._writing: asyncio.Future[None] | None = None
        self._files = files
        self._log = structlog.get_logger().bind(part="catch_up")
        self._store: Store | None = None
        self._builder: SnapshotBuilder | None = None
        self._needed = self._applied_then = 0
        self._first: str | None = None
        self._wanted = asyncio.Event()
        self._peer = ""
        self._began_s = self._state_began_s = 0.0
        self._entries_before = 0
        self.done = asyncio.Event()
        self.trouble: str | None = None
        self.refused = 0

    def set_authorities(self, authority_of: Mapping[str, str]) -> None:
        """The validators have changed: whose each is."""
        self._authority_of = authority_of

    @property
    def wanted(self) -> bool:
        return self._wanted.is_set()

    def need(self, index: int, peer: str | None = None) -> None:
        """The order before ``index`` is kept by nobody; ``peer`` may be asked first. Once it runs, it runs."""
        self._needed = index  # the present leader's word, whatever another said
        if not self._wanted.is_set():
            self._first = peer
            self._applied_then = self._own.applied
            self._log.warning("catching_up_by_snapshot", needed=index, peer=peer, own_size=self._own.size)
            self._wanted.set()

    def __str__(self) -> str:
        progress = self.progress()
        return str(progress) if progress is not None else f"a snapshot: {self.trouble or 'looking for a peer'}"

    def progress(self) -> Progress | None:
        builder = self._builder
        if builder is None or not self._peer:
            return None
        try:
            of = builder.descriptor.size
        except Misuse:
            return None
        entries = of if builder.entries_complete else builder.bundles * TILE_WIDTH
        now_s = asyncio.get_running_loop().time()
        entries_until_s = self._state_began_s or now_s
        entries_s, state_s = entries_until_s - self._began_s, now_s - self._state_began_s if self._state_began_s else 0
        return Progress(
            peer=self._peer,
            entries=entries,
            entries_of=of,
            records=builder.records,
            state_fraction=builder.state_fraction,
            entries_per_s=(entries - self._entries_before) / entries_s if entries_s > 0 else 0.0,
            records_per_s=builder.records / state_s if state_s > 0 else 0.0,
        )

    async def run(self) -> None:
        """Wait until there is need; return when the new ledger is whole. Raises UnknownDurableState."""
        while not self.done.is_set():
            await self._wanted.wait()
            if self._own.applied > self._applied_then:
                # The order goes on by itself: who said that nobody has it was wrong, or lied.
                self._log.info("no_snapshot_needed", applied=self._own.applied, needed=self._needed)
                self._wanted.clear()
                self.trouble = None
                await self.close()
                continue
            for peer in self._candidates():
                try:
                    await self._take_from(peer)
                    break
                except (Malformed, Untrue) as error:
                    self.refused += 1
                    self.trouble = f"the snapshot of {peer} was refused: {error}"
                    self._log.error("snapshot_refused", peer=peer, code=error.code, reason=str(error))
                except PeerFailed as error:
                    self.trouble = f"no snapshot from {peer}: {error}"
                    self._log.warning("snapshot_interrupted", peer=peer, reason=str(error))
                except StoreUnavailable as error:
                    self.trouble = f"waiting for the disk: {error}"
                    self._log.error("disk_unavailable", reason=str(error))
                    await self._make_room()
            else:
                await asyncio.sleep(RETRY_S)

    # --- one peer ----------------------------------------------------------------------------------------------------

    def _candidates(self) -> list[str]:
        peers = list(self._peers())
        if self._first in peers:
            peers.remove(self._first)
            peers.insert(0, self._first)
        return peers

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    async def _open(self) -> SnapshotBuilder:
        if self._builder is None:
            self._store, self._builder = await self._in_thread(self._open_staging)
        return self._builder

    def _open_staging(self) -> tuple[Store, SnapshotBuilder]:
        """What an earlier attempt left, if it is the beginning of a snapshot; else an empty store."""
        path = self._folder / LEDGER
        for last in (False, True):
            try:
                store = self._open_store(path)
            except UnknownDurableState:
                # Nothing of it was synced, so a loss of power may have torn it; nobody was promised anything by it.
                if last:
                    raise
                self._files.remove_folder(path)
                continue
            try:
                return store, self._make_builder(store)
            except (Malformed, Misuse) as error:
                store.close()
                if last:
                    raise UnknownDurableState(f"{path}: {error}") from error
                self._files.remove_folder(path)
        raise UnknownDurableState(f"{path}: cannot be begun")

    async def _make_room(self) -> None:
        """Give the disk back, on which the order has to go on, if the state that was coming has filled it.

        Nothing but its root bounds a state, and that is compared at the end: whoever lies can send any amount. A full
        store takes no deletions either, so all of it goes, with the entries.
        """
        if self._store is None or await self._in_thread(self._store.get, STATE_BEGUN) is None:
            return
        await self.close()
        await self._in_thread(self._files.remove_folder, self._folder / LEDGER)

    async def close(self) -> None:
        store, self._store, self._builder = self._store, None, None
        self._peer = ""
        if store is not None:
            await self._in_thread(store.close)

    async def _take_from(self, peer: str) -> None:
        builder = await self._open()
        own_bundles = self._own.size // TILE_WIDTH if self._own.initialised else 0
        request = peer_pb2.FetchRequest(hashes_from=builder.bundles, bundles_from=max(builder.bundles, own_bundles))
        pieces = self._fetch(peer, request)
        try:
            beginning = await self._beginning(peer, pieces)
            descriptor = Descriptor.decode(beginning.descriptor)
            if descriptor.applied < self._needed:
                raise PeerFailed(f"its ledger is at {descriptor.applied} of the order, expected {self._needed}")
            await self._in_thread(builder.begin, descriptor)
            base = OrderBase(descriptor.applied, beginning.order_term, beginning.membership)
            self._decode_membership(base.membership)
            agreed = await self._agree_on(peer, descriptor, base)
            loop = asyncio.get_running_loop()
            self._peer, self._began_s, self._state_began_s = peer, loop.time(), 0.0
            self._entries_before = builder.bundles * TILE_WIDTH
            self._log.info(
                "snapshot_begun", peer=peer, size=descriptor.size, applied=descriptor.applied, have=self._entries_before
            )
            await self._take_pieces(builder, pieces, request.bundles_from)
        finally:
            await pieces.aclose()
        unconfirmed = self._authority in self._authority_of.values() and self._authority not in agreed
        await self._in_thread(self._finish, builder, base, descriptor.height if unconfirmed else None)
        progress = self.progress()
        await self.close()
        self._log.info(
            "snapshot_complete",
            peer=peer,
            size=descriptor.size,
            applied=descriptor.applied,
            records=progress.records if progress else 0,
            took_s=round(loop.time() - self._began_s, 3),
        )
        self.trouble = None
        self.done.set()

    async def _beginning(self, peer: str, pieces: AsyncGenerator[peer_pb2.FetchPiece, None]) -> peer_pb2.FetchBeginning:
        first = await anext(pieces, None)
        if first is None or first.WhichOneof("piece") != "beginning":
            raise Malformed("bad_snapshot_stream", f"{peer} did not begin with a descriptor")
        return first.beginning

    async def _take_pieces(
        self, builder: SnapshotBuilder, pieces: AsyncGenerator[peer_pb2.FetchPiece, None], bundles_from: int
    ) -> None:
        try:
            await self._take_each(builder, pieces, bundles_from)
        finally:
            await self._written()

    async def _written(self) -> None:
        """The state that was handed over for writing is with the store."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _take_each(
        self, builder: SnapshotBuilder, pieces: AsyncGenerator[peer_pb2.FetchPiece, None], bundles_from: int
    ) -> None:
        bundle = bytearray()
        own_taken = False
        async for piece in pieces:
            kind = piece.WhichOneof("piece")
            if kind == "hashes":
                await self._in_thread(builder.add_hashes, piece.hashes)
                continue
            if not own_taken and not builder.hashes_missing:
                await self._take_own(builder, bundles_from)
                own_taken = True
            try:
                if kind == "bundle":
                    bundle += piece.bundle.data
                    if len(bundle) > MAX_BUNDLE_BYTES:
                        raise Malformed("bad_snapshot_stream", f"bundle: expected at most {MAX_BUNDLE_BYTES} bytes")
                    if not piece.bundle.more:
                        await self._in_thread(builder.add_bundle, bytes(bundle))
                        bundle.clear()
                elif kind == "state":
                    if not self._state_began_s:
                        self._state_began_s = asyncio.get_running_loop().time()
                    writes = await self._in_thread(builder.state_writes, piece.state)
                    await self._written()
                    # LevelDB lets the interpreter go while it writes: the next piece is hashed meanwhile.
                    loop = asyncio.get_running_loop()
                    self._writing = loop.run_in_executor(self._writer, builder.write_state, writes)
                elif kind == "end":
                    return
                else:
                    raise Malformed("bad_snapshot_stream", f"expected the next piece, got {kind}")
            except Misuse as error:  # pieces in an order in which nobody honest sends them
                raise Malformed("bad_snapshot_stream", str(error)) from error
        raise PeerFailed("the stream ended before the snapshot did")

    async def _take_own(self, builder: SnapshotBuilder, stop: int) -> None:
        """The bundles that the present ledger has need not be sent. They are verified like any others."""
        while builder.bundles < stop:
            await self._in_thread(self._take_own_some, builder, min(stop, builder.bundles + OWN_BUNDLES_IN_TURN))

    def _take_own_some(self, builder: SnapshotBuilder, stop: int) -> None:
        while builder.bundles < stop:
            index = builder.bundles
            tile, at = divmod(index, TILE_WIDTH)
            known = self._own.tile(tile_path(1, tile, at + 1))[at * 32 :]
            if known != builder.bundle_hash(index):
                raise UnknownDurableState(
                    f"entries {index * TILE_WIDTH} to {(index + 1) * TILE_WIDTH - 1} of this ledger are not those that "
                    "both authorities cosigned: keep the folder as evidence, and let people look"
                )
            builder.add_bundle(self._own.tile(entries_path(index)))

    def _finish(self, builder: SnapshotBuilder, base: OrderBase, unconfirmed_height: int | None) -> None:
        if self._store is None:
            raise Misuse("no snapshot has begun")
        # With the same sync as the ledger's head: whoever finds the one finds the other.
        place = None
        if unconfirmed_height is not None:
            digest = sha256(base.membership).digest()
            place = Place(base.index, base.term, digest, unconfirmed_height).encode()
        self._store.write({ORDER_BASE: base.encode(), UNCONFIRMED: place}, sync=False)
        builder.finish()

    # --- the position of the order -----------------------------------------------------------------------------------

    async def _agree_on(self, sender: str, descriptor: Descriptor, base: OrderBase) -> set[str]:
        """Hear one validator of each authority on what no hash covers. Raises Untrue where two contradict each other.
        Returns the authorities that were heard.

        The sender has spoken for its authority. Colleagues of ours are heard where one can be reached; the other
        authority always.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + POSITION_WAIT_S
        agreed = {self._authority_of.get(sender, "")}
        while True:
            asked = set(self._peers()) - {sender}
            waiting = self._missing(agreed, asked)
            if not waiting:
                return agreed
            for peer in sorted(asked):
                if self._authority_of.get(peer) in waiting and await self._confirms(peer, descriptor, base):
                    agreed.add(self._authority_of[peer])
            if not self._missing(agreed, asked):
                return agreed
            if loop.time() > deadline_s:
                raise PeerFailed(f"nobody of {', '.join(sorted(waiting))} confirms position {base.index} of the order")
            await asyncio.sleep(POSITION_POLL_S)

    def _missing(self, agreed: Iterable[str], asked: set[str]) -> set[str]:
        """The authorities still to be heard: the others in any case, our own where a colleague can be asked."""
        return {
            authority
            for authority in set(self._authority_of.values()) - set(agreed)
            if authority != self._authority or any(self._authority_of.get(peer) == authority for peer in asked)
        }

    async def _confirms(self, peer: str, descriptor: Descriptor, base: OrderBase) -> bool:
        query = peer_pb2.PositionQuery(applied=base.index, height=descriptor.height)
        answers = self._fetch(peer, peer_pb2.FetchRequest(position=query))
        try:
            answer = await anext(answers, None)
        except PeerFailed:
            return False
        finally:
            await answers.aclose()
        if answer is None or answer.WhichOneof("piece") != "position":
            return False
        position = answer.position
        if position.verdict == peer_pb2.Position.UNKNOWN:
            return False
        same = position.order_term == base.term and position.membership_sha256 == sha256(base.membership).digest()
        if position.verdict != peer_pb2.Position.YES or not same:
            raise Untrue(
                "order_position_disputed",
                f"{peer} contradicts position {base.index} (term {base.term}) at height {descriptor.height}",
            )
        return True
