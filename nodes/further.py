"""Further cosignatures: those that make nothing final, and that somebody's policy demands all the same.

They are of the validators' ML-DSA-44 keys, and of third parties' witnesses (C2SP tlog-witness). Who counts stands in a
policy file of its own. Now and then a validator takes a checkpoint that is final, asks everybody for a cosignature of
it, and keeps the note with all lines once that policy is satisfied. Lines travel as every other cosignature does;
whoever does not know their keys ignores them.

Promises: every line that is kept was verified; a checkpoint is one of this very ledger; one that was kept stays, so
that proofs made from it stay the same but for more lines. A line of ML-DSA says when only of the newest size here.

Does not: delay or decide anything: with all further cosigners gone the ledger goes on as before. Drafts are in memory;
a validator that starts again begins with the next. No sockets: `feeding` asks the witnesses.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.cosignature import MlDsaCosigner, verify_cosignature
from ledger.errors import LedgerError, Malformed, Untrue
from ledger.note import (
    COSIGNATURE_V1,
    MAX_NOTE_SIGNATURES,
    Note,
    NoteSignature,
    format_note,
    parse_note,
)
from ledger.policy import Policy, Witness
from ledger.store import Store

FURTHER_KEY = b"node/further/"
MAX_DRAFTS = 8
# Answering costs a signature: for checkpoints that others bring, so often at most.
MIN_ANSWER_S = 0.2
Line = tuple[str, bytes]


def further_witnesses(policy: Policy) -> tuple[Witness, ...]:
    """The cosigners of a policy that are no validators' classical keys: a third party is named with its URL."""
    return tuple(each for each in policy.witnesses if each.url is not None or each.key.algorithm != COSIGNATURE_V1)


@dataclass(slots=True)
class Cosigner:
    """What a further cosigner has signed last, and what was wrong with it last."""

    name: str
    size: int = 0
    time_s: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """How far behind the further cosigners are."""

    size: int
    # By the block time of the oldest final entry that no checkpoint which satisfies the policy covers; 0 without one.
    lag_ms: int
    cosigners: tuple[Cosigner, ...]


@dataclass(slots=True)
class Draft:
    """A final checkpoint whose further cosignatures are being collected."""

    checkpoint: Checkpoint
    body: str
    # As it became final; the first lines of the note.
    lines: tuple[NoteSignature, ...]
    signed: frozenset[str]
    begun_s: float
    told_s: float | None = None  # when we told the other validators last
    further: dict[Line, NoteSignature] = field(default_factory=dict)

    def all_lines(self) -> tuple[NoteSignature, ...]:
        return (*self.lines, *self.further.values())


class Further:
    """See the module. Belongs to the event loop."""

    def __init__(self, name: str, chain: Chain, store: Store, policy: Policy, key: MlDsaCosigner | None) -> None:
        self._name = name
        self._chain = chain
        self._store = store
        self._policy = policy
        self._key = key
        self._witnesses = {(each.key.name, each.key.key_id): each for each in further_witnesses(policy)}
        self._drafts: collections.OrderedDict[int, Draft] = collections.OrderedDict()
        self._last_time_s = 0
        self._answered_s: float | None = None
        self.cosigners = {each.name: Cosigner(each.name) for each in self._witnesses.values()}

    # --- collecting --------------------------------------------------------------------------------------------------

    def begin(self, monotonic_s: float, now_s: int, interval_s: float) -> Draft | None:
        """The draft of the newest final checkpoint; None if there is none, or one was begun a moment ago."""
        latest = self._chain.latest_final
        if latest is None:
            return None
        size, note = latest
        known = self._drafts.get(size)
        if known is not None:
            return known
        if any(monotonic_s - draft.begun_s < interval_s for draft in self._drafts.values()):
            return None
        parsed = parse_note(note)
        return self._open(size, self._chain.root_at(size), parsed.signatures, monotonic_s, now_s)

    def receive(
        self, size: int, root: bytes, lines: Sequence[NoteSignature], monotonic_s: float, now_s: int
    ) -> Draft | None:
        """Take lines for a checkpoint. Returns the draft if it has something new to tell the others."""
        if not any((line.name, line.key_id) in self._witnesses for line in lines) or len(lines) > MAX_NOTE_SIGNATURES:
            return None
        if not 0 < size <= self._chain.size or self._chain.root_at(size) != root:
            return None  # not executed here yet, or another history: what to do about that is for `cosigning`
        draft = self._drafts.get(size)
        ours = draft is None
        if draft is None:
            if self._answered_s is not None and monotonic_s - self._answered_s < MIN_ANSWER_S:
                return None
            self._answered_s = monotonic_s
            if not self._vouched(Checkpoint(self._chain.genesis.origin, size, root), lines):
                return None
            draft = self._open(size, root, lines, monotonic_s, now_s)
            if draft is None:
                return None
        self.add(draft, lines)
        return draft if ours and self._has_own(draft) else None

    def _vouched(self, checkpoint: Checkpoint, lines: Sequence[NoteSignature]) -> bool:
        """Whether some further cosigner has signed this: nobody else makes us sign anything."""
        body = checkpoint_body(checkpoint)
        for line in lines:
            witness = self._witnesses.get((line.name, line.key_id))
            if witness is not None:
                try:
                    verify_cosignature(witness.key, body, line)
                except (Malformed, Untrue):
                    return False
                return True
        return False

    def _open(
        self, size: int, root: bytes, lines: Sequence[NoteSignature], monotonic_s: float, now_s: int
    ) -> Draft | None:
        checkpoint = Checkpoint(self._chain.genesis.origin, size, root)
        body = checkpoint_body(checkpoint)
        base = tuple(line for line in lines if (line.name, line.key_id) not in self._witnesses)
        try:
            result = self._policy.check(Note(body, base))
        except (Malformed, Untrue):
            return None
        if result.log is None:
            return None
        draft = Draft(checkpoint, body, base, frozenset(result.signed), monotonic_s)
        self._drafts[size] = draft
        while len(self._drafts) > MAX_DRAFTS:
            self._drafts.popitem(last=False)
        if self._key is not None:
            # The time says that the tree was then the largest that we had seen. Of an older one we do not say when.
            time_s = max(now_s, self._last_time_s) if self._chain.size == size else 0
            self._last_time_s = max(self._last_time_s, time_s)
            self.add(draft, [self._key.cosign(self._name, checkpoint, time_s)])
        return draft

    def _has_own(self, draft: Draft) -> bool:
        if self._key is None:
            return False
        key = self._key.verifier(self._name)
        return (key.name, key.key_id) in draft.further

    def add(self, draft: Draft, lines: Iterable[NoteSignature]) -> bool:
        """Verify and keep the lines of further cosigners; whether there was a new one. Others are ignored."""
        grown = False
        for line in lines:
            witness = self._witnesses.get((line.name, line.key_id))
            if witness is None or (line.name, line.key_id) in draft.further:
                continue
            cosigner = self.cosigners[witness.name]
            try:
                time_s = verify_cosignature(witness.key, draft.body, line)
            except LedgerError as error:
                cosigner.trouble = str(error)
                continue
            draft.further[line.name, line.key_id] = line
            if draft.checkpoint.size >= cosigner.size:
                cosigner.size, cosigner.time_s, cosigner.trouble = draft.checkpoint.size, time_s, ""
            grown = True
        if grown and self._satisfied(draft):
            self._keep(draft)
        return grown

    def _satisfied(self, draft: Draft) -> bool:
        names = {self._witnesses[line].name for line in draft.further}
        return self._policy.quorum_met_by(draft.signed | names)

    def _keep(self, draft: Draft) -> None:
        note = format_note(Note(draft.body, draft.all_lines()[:MAX_NOTE_SIGNATURES]))
        # Without a sync of its own: cosignatures can be asked for again.
        self._store.write({FURTHER_KEY + draft.checkpoint.size.to_bytes(8, "big"): note}, sync=False)

    def is_complete(self, draft: Draft) -> bool:
        """Whether every further cosigner has signed it."""
        return len(draft.further) == len(self._witnesses)

    def unsigned(self, draft: Draft) -> list[Witness]:
        """The witnesses with a URL that have not signed this draft yet."""
        return [each for line, each in self._witnesses.items() if each.url is not None and line not in draft.further]

    # --- handing out -------------------------------------------------------------------------------------------------

    def at_or_after(self, size: int) -> tuple[int, bytes] | None:
        """Size and note of the first checkpoint of at least `size` that satisfies the policy, or None."""
        start = FURTHER_KEY + size.to_bytes(8, "big")
        return _read(next(self._store.iterate(start, FURTHER_KEY + b"\xff" * 9), None))

    @property
    def newest(self) -> tuple[int, bytes] | None:
        """Size and note of the newest checkpoint that satisfies the policy, or None."""
        return _read(next(self._store.iterate(FURTHER_KEY, FURTHER_KEY + b"\xff" * 9, reverse=True), None))

    # --- how far behind ----------------------------------------------------------------------------------------------

    def health(self, now_ms: int) -> Health:
        """How much is under a checkpoint that satisfies the policy, and how long the first final entry has not been."""
        newest, final = self.newest, self._chain.latest_final
        size = 0 if newest is None else newest[0]
        first = max(size, 1)  # the genesis record is in no block
        waits = final is not None and first < final[0]
        lag_ms = max(0, now_ms - self._chain.block_of(first).time_ms) if waits else 0
        return Health(size, lag_ms, tuple(self.cosigners.values()))


def _read(found: tuple[bytes, bytes] | None) -> tuple[int, bytes] | None:
    return None if found is None else (int.from_bytes(found[0][-8:], "big"), found[1])
