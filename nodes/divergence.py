"""What to do when somebody validly signed another root than ours.

The signed note is kept in a file in any case, and made into a bundle that a third party can check as soon as there is
a head to set against it (`nodes.evidence`). Then:

- a quorum of the policy signed the other root: we are the odd one, and halt;
- within `PATIENCE_S` a checkpoint at or above that size becomes final here, with both authorities behind our root: the
  other one is the odd one; it is named in the status, and we go on;
- neither: the two authorities may have come apart; nothing can become final, and we halt rather than commit on.

So one validator that lies, or whose memory failed, cannot stop the others; and nobody goes on in doubt.
"""

from __future__ import annotations

import collections
from pathlib import Path

import structlog

from ledger.policy import Policy
from nodes.cosigning import Divergence
from nodes.evidence import Bundles
from nodes.files import Files
from nodes.metrics import Metrics

PATIENCE_S = 5.0
# Of one signer. One is enough for a judge; what comes after these is only counted.
LIES_MAX = 16


class Divergences:
    """Belongs to the event loop. What `add` and `verdict` return is the reason to halt."""

    def __init__(
        self, policy: Policy, directory: Path, metrics: Metrics, files: Files, bundles: Bundles | None = None
    ) -> None:
        self._policy = policy
        self._bundles = bundles
        self._directory = directory
        self._metrics = metrics
        self._files = files
        self._log = structlog.get_logger().bind(part="divergence")
        self._signers: dict[tuple[int, bytes], set[str]] = {}
        self._lies: collections.Counter[str] = collections.Counter()
        self._open: dict[str, tuple[int, float]] = {}
        # Validators that both authorities have outvoted.
        self.odd: dict[str, int] = {}

    def set_policy(self, policy: Policy) -> None:
        """What a quorum is, changes with the membership."""
        self._policy = policy

    def add(self, divergence: Divergence, now_s: float) -> str | None:
        self._metrics.divergences.inc()
        if self._lies[divergence.signer] >= LIES_MAX:
            return None
        signers = self._signers.setdefault((divergence.size, divergence.their_root), set())
        if divergence.signer in signers and divergence.cosigners <= signers:
            return None
        signers.add(divergence.signer)
        signers.update(divergence.cosigners)
        self._lies[divergence.signer] += 1
        path = self._keep(divergence)
        self._log.error(
            "divergence",
            peer=divergence.peer,
            signer=divergence.signer,
            size=divergence.size,
            our_root=divergence.our_root.hex(),
            their_root=divergence.their_root.hex(),
            evidence=str(path),
        )
        if self._bundles is not None:
            self._bundles.add(path, divergence.note)
        if self._policy.quorum_met_by(signers):
            names = ", ".join(sorted(signers))
            return f"{names} signed another root than ours at size {divergence.size}; evidence is in {self._directory}"
        self._open.setdefault(divergence.signer, (divergence.size, now_s))
        return None

    def verdict(self, final_size: int, now_s: float) -> str | None:
        """To be asked now and then."""
        for signer, (size, since_s) in list(self._open.items()):
            if final_size >= size:
                del self._open[signer]
                self.odd[signer] = size
                self._log.error("outvoted", signer=signer, size=size, final_size=final_size)
            elif now_s - since_s > PATIENCE_S:
                return (
                    f"{signer} signed another root than ours at size {size}, and its authority has not signed ours; "
                    f"evidence is in {self._directory}"
                )
        return None

    def _keep(self, divergence: Divergence) -> Path:
        signer = divergence.signer.replace(" ", "-")
        path = self._directory / f"{divergence.size}-{signer}-{divergence.their_root.hex()}.note"
        try:
            if not self._files.exists(path):
                self._files.keep(path, divergence.note)
        except OSError as error:
            self._log.error("evidence_not_kept", reason=str(error), note=divergence.note.decode())
        return path
