"""Cosignatures in, final checkpoints out: on record here before anybody is told.

Promises: what is called final is on the disk; where the disk refuses, the note is kept and tried again with `retry`.
A cosignature of another root than ours goes to the divergences, which may halt this validator.

Does not: verify or weigh signatures (`nodes.cosigning`), or send ours (`nodes.publishing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from ledger.chain import Chain
from ledger.note import NoteSignature
from ledger.store import StoreUnavailable
from nodes.clock import Clock
from nodes.cosigning import Finality
from nodes.divergence import Divergences


class Concluding:
    """See the module. Belongs to the event loop; `became_final` is told the size."""

    def __init__(
        self,
        chain: Chain,
        finality: Finality,
        divergences: Divergences,
        clock: Clock,
        *,
        halt: Callable[[str], None],
        became_final: Callable[[int], None],
    ) -> None:
        self._chain = chain
        self._finality = finality
        self._divergences = divergences
        self._clock = clock
        self._halt = halt
        self._became_final = became_final
        self._log = structlog.get_logger().bind(part="validator")
        self._unsaved: tuple[int, bytes] | None = None
        # Final, and on record here: what others may be told.
        self.latest = chain.latest_final

    def receive(self, peer: str, size: int, root: bytes, lines: Sequence[NoteSignature]) -> None:
        """Take in what a peer says is cosigned."""
        divergence = self._finality.receive(peer, size, root, lines, self._chain.root_at)
        if divergence is not None:
            why = self._divergences.add(divergence, self._clock.monotonic_s())
            if why is not None:
                self._halt(why)

    def receive_early(self) -> None:
        """Take in again what came before we had executed so far."""
        for early in self._finality.early():
            self.receive(*early)

    def conclude(self) -> bool:
        """Store the note of the newest checkpoint that has become final, and say so."""
        final = self._finality.conclude() or self._unsaved
        if final is None:
            return False
        size, note = final
        try:
            self._chain.put_cosigned(size, note, sync=False)
        except StoreUnavailable as error:
            # Kept, and tried again with every exchange. Until then nobody is told that this is final.
            self._log.error("disk_unavailable", reason=str(error))
            self._unsaved = final
            return False
        self._unsaved = None
        self.latest = final
        self._became_final(size)
        return True

    def retry(self) -> None:
        """Store what the disk refused before, if there is anything."""
        if self._unsaved is not None:
            self.conclude()
