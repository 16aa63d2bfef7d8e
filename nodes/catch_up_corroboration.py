"""Hearing a colleague afterwards on a snapshot whose place in the order only the other authority vouched for.

Two things no hash covers: which position of the order a snapshot is of, and who the members were then. A validator asks
a peer of each authority about both (`nodes.catch_up`); where no colleague of its own can be reached, it goes on with
the word of the other authority alone, since there may be no colleague any more. What that side could lie about decides
elections, not what is final.

So it is written down, with the ledger, that nobody of our own has confirmed the place; the status and a metric say so;
and every colleague that connects is asked until one confirms it, or contradicts it: then the validator halts, for
people to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from ledger.store import Store, StoreUnavailable
from nodes.catch_up import Fetch, PeerFailed
from nodes.catch_up_adoption import UNCONFIRMED, Place
from nodes.proto import peer_pb2

ASK_EVERY_S = 2.0


class Corroboration:
    """`run` ends when there is nothing to confirm. `halt` is called with the reason if a colleague contradicts."""

    def __init__(
        self, store: Store, *, fetch: Fetch, colleagues: Callable[[], Sequence[str]], halt: Callable[[str], None]
    ) -> None:
        """`colleagues`: the validators of our own authority that are connected. Raises UnknownDurableState."""
        self._store = store
        self._fetch = fetch
        self._colleagues = colleagues
        self._halt = halt
        self._log = structlog.get_logger().bind(part="catch_up")
        stored = store.get(UNCONFIRMED)
        self.place = None if stored is None else Place.decode(stored)

    def __str__(self) -> str:
        if self.place is None:
            return "nothing is unconfirmed"
        return (
            f"nobody of our own authority has confirmed yet that its snapshot is of position {self.place.index} "
            "of the order: start a colleague"
        )

    async def run(self) -> None:
        if self.place is not None:
            self._log.warning("snapshot_unconfirmed", index=self.place.index, height=self.place.height)
        while self.place is not None:
            for colleague in self._colleagues():
                if await self._asked(colleague, self.place):
                    return
            await asyncio.sleep(ASK_EVERY_S)

    async def _asked(self, colleague: str, place: Place) -> bool:
        """Whether this one had something to say on it."""
        query = peer_pb2.PositionQuery(applied=place.index, height=place.height)
        try:
            async with aclosing(self._fetch(colleague, peer_pb2.FetchRequest(position=query))) as answers:
                answer = await anext(answers, None)
        except PeerFailed:
            return False
        if answer is None or answer.WhichOneof("piece") != "position":
            return False
        position = answer.position
        if position.verdict == peer_pb2.Position.UNKNOWN:
            return False
        same = (position.order_term, position.membership_sha256) == (place.term, place.membership_sha256)
        if position.verdict != peer_pb2.Position.YES or not same:
            self._halt(
                f"{colleague}, of our own authority, contradicts position {place.index} of the order at height "
                f"{place.height}, which only the other authority vouched for when this ledger came by a snapshot"
            )
            return True
        try:
            self._store.write({UNCONFIRMED: None}, sync=False)
        except StoreUnavailable:
            return False
        self._log.info("snapshot_confirmed", peer=colleague, index=place.index)
        self.place = None
        return True
