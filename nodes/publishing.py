"""Our signatures on their way to the others.

They go to the other authorities, to witnesses and to observers; our own colleagues have their own, or ask. Where one
validator of each authority is enough, one speaks at once: who leads, else the first that is there. The others speak
when nothing has become final for a moment.

Where the policy wants several of a side (docs/adr/0031), ours is needed by everybody, colleagues too: then everybody
speaks at once, and to all. Waiting for the exchange that happens once a second would be waiting for finality.
"""

from __future__ import annotations

import asyncio

from ledger.membership import Role
from nodes import wire
from nodes.cosigning import Finality
from nodes.environment import Transport
from nodes.execution import Signed
from nodes.ordering import RaftOrdering
from nodes.participation import Participation

# A signature that nobody seems to need is sent all the same if nothing has become final for so long.
LATE_S = 0.15


class Publishing:
    """See the module. Belongs to the event loop."""

    def __init__(
        self,
        name: str,
        authority: str,
        finality: Finality,
        participation: Participation,
        ordering: RaftOrdering,
        transport: Transport,
    ) -> None:
        self._name = name
        self._authority = authority
        self._finality = finality
        self._participation = participation
        self._ordering = ordering
        self._transport = transport
        self._late_scheduled = False

    def publish(self, signed: Signed) -> None:
        """We have signed a checkpoint."""
        self._finality.signed(signed.checkpoint, signed.lines)
        if self._speaker() == self._name or not self._one_is_enough():
            self._send_own()
        elif not self._late_scheduled:
            self._late_scheduled = True
            asyncio.get_running_loop().call_later(LATE_S, self._publish_late)

    def _publish_late(self) -> None:
        self._late_scheduled = False
        if self._finality.own is not None and self._finality.own[0].size > self._finality.final_size:
            self._send_own()

    def _speaker(self) -> str:
        colleagues = self._participation.names(self._authority, Role.VOTER)
        leader = self._ordering.leader
        if leader in colleagues and (leader == self._name or self._transport.reachable(leader)):
            return leader
        present = (name for name in colleagues if name == self._name or self._transport.reachable(name))
        return next(present, self._name)

    def _one_is_enough(self) -> bool:
        return self._finality.is_enough_of(self._authority, self._name)

    def _send_own(self) -> None:
        if self._finality.own is None:
            return
        checkpoint, lines = self._finality.own
        envelope = wire.to_cosignatures(checkpoint.size, checkpoint.root, lines)
        colleagues_too = not self._one_is_enough()
        for peer in self._transport.connected():
            if self._participation.hears_cosignatures(peer, colleagues_too=colleagues_too):
                self._transport.send(peer, envelope)
