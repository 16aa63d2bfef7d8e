"""Persist, then sign; collect what the others signed; say when a checkpoint is final.

A validator vouches for a size at most once. What it is about to sign, size, root and time, is written in the same
atomic batch as the block (`Intent`); the signature is made after that, and as Ed25519 is deterministic, signing again
after a crash gives the same bytes. `Cosigner` refuses to sign anything that its last intent contradicts.

`Finality` collects signature lines of the known keys, verified, for sizes that this validator has executed itself. A
checkpoint is final when the policy's quorum has cosigned it and every authority's log key has signed it. A valid
signature of another root than ours at a size that we have executed is a `Divergence`: evidence to keep, for people to
judge.

Which log keys count is a question of the height (`contracts.authority_keys`): a key that both authorities have replaced
counts for the overlap that they agreed on, in which whoever has both signs with both, so that neither the policy files
of before nor the new ones are left without a line. A line of a key before its height, or after its end, is none.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger import cbor
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, log_verifier
from ledger.cosignature import cosign, cosignature_timestamp_s, cosigner_verifier, verify_cosignature
from ledger.entry import Genesis
from ledger.errors import LedgerError, Malformed, Misuse, UnknownDurableState, Untrue
from ledger.membership import Member
from ledger.note import Note, NoteSignature, NoteSigner, VerifierKey, format_note, parse_note
from ledger.policy import Policy

INTENT_KEY = b"node/intent"
MAX_INTENT_BYTES = 256
# Signatures for sizes that we have not executed yet, kept for each peer.
EARLY_MAX_SIZES = 64
RECENT_MAX_ROOTS = 1024
MAX_LINES = 64
ROOT_BYTES = 32
MAX_LINE_BYTES = 128


class Contradiction(LedgerError):
    """Signing this would contradict what was signed before."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be signed, or was."""

    size: int
    root: bytes
    time_s: int

    def encode(self) -> bytes:
        return cbor.encode({"root": self.root, "size": self.size, "time_s": self.time_s})

    @classmethod
    def decode(cls, data: bytes) -> Intent:
        try:
            value = cbor.decode(data, max_bytes=MAX_INTENT_BYTES)
        except Malformed as error:
            raise UnknownDurableState(f"record of what was signed cannot be read: {error}") from error
        if isinstance(value, dict):
            size, root, time_s = value.get("size"), value.get("root"), value.get("time_s")
            if isinstance(size, int) and isinstance(root, bytes) and isinstance(time_s, int):
                return cls(size, root, time_s)
        raise UnknownDurableState("record of what was signed cannot be read: wrong shape")


class Cosigner:
    """The keys of a validator: its own, and its authority's log key, or those, while one takes the place of another.
    Used in one thread at a time.
    """

    def __init__(
        self,
        name: str,
        key: NoteSigner | None,
        log_keys: Sequence[NoteSigner],
        last: Intent | None,
        *,
        not_before_s: int = 0,
    ) -> None:
        """Without keys, as for a witness, nothing can be signed, and nothing may be asked to be. `not_before_s`: what
        is known to have been signed last, where the intent itself is lost.
        """
        self._not_before_s = not_before_s
        self._name = name
        self._key = key
        self._log_keys = tuple(log_keys)
        self.intent = last

    def intend(self, checkpoint: Checkpoint, now_s: int) -> Intent:
        """What to write down before signing. The time never goes back, even if the clock does."""
        last = self.intent
        if last is not None and checkpoint.size <= last.size:
            raise Contradiction(f"size {checkpoint.size} cannot be signed: {last.size} was signed before")
        return Intent(
            checkpoint.size, checkpoint.root, max(now_s, self._not_before_s, 0 if last is None else last.time_s)
        )

    def sign(
        self, checkpoint: Checkpoint, intent: Intent, counting: Container[bytes] | None = None
    ) -> tuple[NoteSignature, ...]:
        """The log's signatures, by those of our log keys that count there, and the cosignature. `intent` must be on
        the disk. `counting`: public keys; None, where it is not a question, are all that we have.

        Without a log key that counts the cosignature is made all the same: it is our own, and a colleague may have one.
        """
        if (intent.size, intent.root) != (checkpoint.size, checkpoint.root):
            raise Contradiction(
                f"the intent is to sign size {intent.size} with root {intent.root.hex()}, "
                f"the ledger has size {checkpoint.size} with root {checkpoint.root.hex()}"
            )
        last = self.intent
        if last is not None and (intent.size < last.size or (intent.size == last.size and intent != last)):
            raise Contradiction(f"the intent to sign size {intent.size} contradicts that of size {last.size}")
        if self._key is None or not self._log_keys:
            raise Misuse(f"{self._name} has no keys to sign with: expected nobody to ask it")
        self.intent = intent
        lines = [
            log_signature(each, checkpoint)
            for each in self._log_keys
            if counting is None or each.public_key in counting
        ]
        return (*lines, cosign(self._key, self._name, checkpoint, intent.time_s))


@dataclass(frozen=True, slots=True)
class Divergence:
    """Somebody's valid signature of another root at a size that we executed."""

    peer: str
    # Who it is held against: a validator, or (only the log's line is valid) "<authority> log".
    signer: str
    # All validators that cosigned the other root in this note.
    cosigners: frozenset[str]
    size: int
    our_root: bytes
    their_root: bytes
    note: bytes


# A line's name and key id, to whose key that is.
KnownLines = Mapping[tuple[str, bytes], tuple[str, VerifierKey]]


class _Open:
    """One size that we executed and that is not final yet."""

    __slots__ = ("body", "checkpoint", "cosignatures", "log_keys", "logs")

    def __init__(self, checkpoint: Checkpoint, log_keys: KnownLines) -> None:
        self.checkpoint = checkpoint
        self.body = checkpoint_body(checkpoint)
        # Those that may sign it, and the lines of those that have.
        self.log_keys = log_keys
        self.logs: dict[tuple[str, bytes], NoteSignature] = {}
        self.cosignatures: dict[str, NoteSignature] = {}


@dataclass(slots=True)
class AuthorityTimes:
    """The newest size that an authority was seen to have cosigned, and when it said so."""

    size: int = 0
    time_s: int = 0


class Finality:
    """See the module. Belongs to the event loop."""

    def __init__(
        self, genesis: Genesis, policy: Policy, final_note: bytes | None, members: Iterable[Member] = ()
    ) -> None:
        """`members`: who joined after genesis, and may have signed the final note that is on record. Until `executed`
        says otherwise, the log keys of the genesis record count.
        """
        self._origin = genesis.origin
        self._policy = policy
        self._authorities = [authority.name for authority in genesis.authorities]
        self._raw_log_keys: Mapping[str, Sequence[bytes]] = {each.name: (each.log_key,) for each in genesis.authorities}
        self._log_keys = self._lines_of(self._raw_log_keys)
        self._cosigner_keys: dict[tuple[str, bytes], tuple[str, VerifierKey]] = {}
        self._order: dict[tuple[str, bytes], int] = {}
        for authority in genesis.authorities:
            for validator in authority.validators:
                key = cosigner_verifier(validator.name, validator.cosigner_key)
                self._cosigner_keys[key.name, key.key_id] = (authority.name, key)
        for line in self._cosigner_keys:
            self._order[line] = len(self._order)
        # Of everybody who ever could: what they signed while they could, stays signed.
        self._known_keys = dict(self._cosigner_keys)
        self._know(members)
        self._authority_of = {key.name: authority for authority, key in self._known_keys.values()}
        self._open: dict[int, _Open] = {}
        self._roots: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._early: dict[str, collections.OrderedDict[int, tuple[bytes, tuple[NoteSignature, ...]]]] = {}
        self._executed = 0
        self.times = {name: AuthorityTimes() for name in self._authorities}
        self.final_size = 0
        self.final_note = final_note
        self.final_lines: tuple[NoteSignature, ...] = ()
        self.final_root = b""
        self.own: tuple[Checkpoint, tuple[NoteSignature, ...]] | None = None
        self.refused = 0
        # Who signed another root of that size at least, until a line of theirs under our root of such a size is seen.
        self._watched: dict[str, int] = {}
        self._vouched: dict[str, tuple[int, bytes]] = {}
        if final_note is not None:
            self._restore(final_note)

    def _know(self, members: Iterable[Member]) -> None:
        for member in members:
            if member.cosigner_key:
                key = cosigner_verifier(member.name, member.cosigner_key)
                self._known_keys[key.name, key.key_id] = (member.party, key)

    def _lines_of(self, log_keys: Mapping[str, Sequence[bytes]]) -> KnownLines:
        found = {}
        for authority in self._authorities:
            for raw in log_keys.get(authority, ()):
                key = log_verifier(self._origin, raw)
                found[key.name, key.key_id] = (authority, key)
        return found

    def set_voters(self, voters: Iterable[Member], policy: Policy) -> None:
        """From now on these are the validators whose cosignatures count: of what is not final yet, those of others
        are let go.
        """
        voters = list(voters)
        self._policy = policy
        self._know(voters)
        self._authority_of = {key.name: authority for authority, key in self._known_keys.values()}
        self._cosigner_keys = {}
        for member in voters:
            key = cosigner_verifier(member.name, member.cosigner_key)
            self._cosigner_keys[key.name, key.key_id] = (member.party, key)
        names = {member.name for member in voters}
        for opened in self._open.values():
            opened.cosignatures = {name: line for name, line in opened.cosignatures.items() if name in names}
        # Nobody's place among the lines of a note changes.
        for line in self._cosigner_keys:
            self._order.setdefault(line, len(self._order))

    def _restore(self, final_note: bytes) -> None:
        result = self._policy.check(parse_note(final_note))
        result.check()
        self.final_lines = parse_note(final_note).signatures
        self.final_size, self.final_root = result.checkpoint.size, result.checkpoint.root
        for name, time_s in result.timestamps.items():
            self._note_time(name, self.final_size, time_s)

    def _note_time(self, validator: str, size: int, time_s: int) -> None:
        times = self.times[self._authority_of[validator]]
        if size > times.size:
            times.size, times.time_s = size, time_s

    def is_enough_of(self, authority: str, name: str) -> bool:
        """Whether this validator's cosignature alone speaks for its authority, where all the others' are there."""
        others = (other for other, party in self._authority_of.items() if party != authority)
        return self._policy.quorum_met_by({name, *others})

    # --- our own -----------------------------------------------------------------------------------------------------

    def executed(self, checkpoint: Checkpoint, log_keys: Mapping[str, Sequence[bytes]] | None = None) -> None:
        """This validator has executed up to here, and may or may not sign it. `log_keys`: those of each authority that
        may sign it, the one in force first; None where they are the same as before.
        """
        if log_keys is not None and log_keys != self._raw_log_keys:
            self._raw_log_keys, self._log_keys = log_keys, self._lines_of(log_keys)
        self._executed = checkpoint.size
        self._roots[checkpoint.size] = checkpoint.root
        while len(self._roots) > RECENT_MAX_ROOTS:
            self._roots.popitem(last=False)
        if checkpoint.size > self.final_size:
            self._open[checkpoint.size] = _Open(checkpoint, self._log_keys)
            while len(self._open) > RECENT_MAX_ROOTS:
                del self._open[next(iter(self._open))]

    def signed(self, checkpoint: Checkpoint, lines: Sequence[NoteSignature]) -> None:
        """Our own signatures of a size that we have executed."""
        self.own = (checkpoint, tuple(lines))
        opened = self._open.get(checkpoint.size)
        if opened is not None:
            for line in lines:
                self._put(opened, line)

    # --- the others' -------------------------------------------------------------------------------------------------

    def receive(
        self, peer: str, size: int, root: bytes, lines: Iterable[NoteSignature], root_at: Callable[[int], bytes]
    ) -> Divergence | None:
        """Take what a peer sent. What is unknown, late or does not verify changes nothing."""
        opened = self._open.get(size)
        log_keys = self._log_keys if opened is None else opened.log_keys
        known_lines = (
            line
            for line in lines
            if (line.name, line.key_id) in self._cosigner_keys
            or (line.name, line.key_id) in log_keys
            # Which log keys count at a size is known once that is executed.
            or (size > self._executed and line.name == self._origin)
        )
        kept = tuple(
            itertools.islice((line for line in known_lines if len(line.signature) <= MAX_LINE_BYTES), MAX_LINES)
        )
        if not kept or len(root) != ROOT_BYTES:
            return None
        if size > self._executed:
            early = self._early.setdefault(peer, collections.OrderedDict())
            early[size] = (root, kept)
            while len(early) > EARLY_MAX_SIZES:
                del early[min(early)]
            return None
        if size <= self.final_size or opened is None:
            # Too late to be of use; a lie is still of interest while the root is at hand.
            known = self._roots.get(size) or (self.final_root if size == self.final_size else None)
            if known is None and size > self.final_size and size > 0:
                known = root_at(size)
            if known == root:
                self._heed(size, root, kept)
            return self._diverged(peer, size, known, root, kept, log_keys) if known not in (None, root) else None
        if root != opened.checkpoint.root:
            return self._diverged(peer, size, opened.checkpoint.root, root, kept, log_keys)
        self._heed(size, root, kept)
        for line in kept:
            try:
                self._verify_and_put(opened, line)
            except (Untrue, Malformed):
                self.refused += 1
        return None

    def log_keys(self) -> list[bytes]:
        """The public log keys that count where we have executed to, of all authorities."""
        return [key for keys in self._raw_log_keys.values() for key in keys]

    def cosigner_keys(self) -> list[VerifierKey]:
        """Of everybody who ever could cosign, former validators too."""
        return [key for _, key in self._known_keys.values()]

    def watch(self, signer: str, size: int) -> None:
        """Keep the next line of a validator that vouches for our root, of this size at least: it signed another one."""
        if signer not in self._vouched or self._vouched[signer][0] < size:
            self._watched[signer] = max(size, self._watched.get(signer, 0))

    def vouched(self, signer: str, size: int) -> bytes | None:
        """A note of our root, of this size at least, with the line of a watched validator; None if none came."""
        found = self._vouched.get(signer)
        return found[1] if found is not None and found[0] >= size else None

    def _heed(self, size: int, root: bytes, lines: Sequence[NoteSignature]) -> None:
        for line in lines if self._watched else ():
            known = self._cosigner_keys.get((line.name, line.key_id))
            if known is None or size < self._watched.get(line.name, size + 1):
                continue
            body = checkpoint_body(Checkpoint(self._origin, size, root))
            try:
                verify_cosignature(known[1], body, line)
            except (Untrue, Malformed):
                continue
            self._vouched[line.name] = size, format_note(Note(body, (line,)))
            del self._watched[line.name]

    def signed_note(self, size: int) -> bytes | None:
        """Our root of a size that is not final yet, with all lines that we have; None if nobody has signed it."""
        opened = self._open.get(size)
        lines = [] if opened is None else [*opened.logs.values(), *opened.cosignatures.values()]
        return format_note(Note(opened.body, tuple(lines))) if opened is not None and lines else None

    def early(self) -> list[tuple[str, int, bytes, tuple[NoteSignature, ...]]]:
        """What came before its time and is of use now; `receive` it again."""
        ready = []
        for peer, early in self._early.items():
            for size in [size for size in early if size <= self._executed]:
                root, lines = early.pop(size)
                ready.append((peer, size, root, lines))
        return ready

    def _put(self, opened: _Open, line: NoteSignature) -> None:
        key = (line.name, line.key_id)
        if key in opened.log_keys:
            opened.logs.setdefault(key, line)
        elif key in self._known_keys:
            opened.cosignatures.setdefault(line.name, line)
            self._note_time(line.name, opened.checkpoint.size, cosignature_timestamp_s(line))

    def _verify_and_put(self, opened: _Open, line: NoteSignature) -> None:
        log = opened.log_keys.get((line.name, line.key_id))
        if log is not None:
            # Each of them: who verifies by a policy of before looks for another line than who has the new one.
            if (line.name, line.key_id) not in opened.logs:
                log[1].verify(opened.body.encode(), line.signature)
                self._put(opened, line)
            return
        authority, key = self._cosigner_keys[line.name, line.key_id]
        # What is not needed is not checked: where the authority has enough already, a further one is as good as none.
        others = (name for name, party in self._authority_of.items() if party != authority)
        if line.name not in opened.cosignatures and not self._policy.quorum_met_by({*opened.cosignatures, *others}):
            verify_cosignature(key, opened.body, line)
            self._put(opened, line)

    def _diverged(
        self,
        peer: str,
        size: int,
        ours: bytes | None,
        theirs: bytes,
        lines: Sequence[NoteSignature],
        log_keys: KnownLines,
    ) -> Divergence | None:
        try:
            body = checkpoint_body(Checkpoint(self._origin, size, theirs))
        except LedgerError:
            self.refused += 1
            return None
        valid, signer = [], ""
        cosigners: set[str] = set()
        for line in lines:
            try:
                log = log_keys.get((line.name, line.key_id))
                if log is not None:
                    log[1].verify(body.encode(), line.signature)
                    signer = signer or f"{log[0]} log"
                else:
                    verify_cosignature(self._cosigner_keys[line.name, line.key_id][1], body, line)
                    signer = line.name
                    cosigners.add(line.name)
            except (Untrue, Malformed):
                self.refused += 1
                continue
            valid.append(line)
        if not valid or ours is None:
            return None
        note = format_note(Note(body, tuple(valid)))
        return Divergence(peer, signer, frozenset(cosigners), size, ours, theirs, note)

    # --- final -------------------------------------------------------------------------------------------------------

    def conclude(self) -> tuple[int, bytes] | None:
        """The newest size that has become final since the last call, with its note; None if there is none."""
        for size in sorted(self._open, reverse=True):
            opened = self._open[size]
            logged = {opened.log_keys[line][0] for line in opened.logs}
            if len(logged) == len(self._authorities) and self._policy.quorum_met_by(opened.cosignatures):
                lines = [
                    *(opened.logs[line] for line in opened.log_keys if line in opened.logs),
                    *sorted(opened.cosignatures.values(), key=lambda line: self._order[line.name, line.key_id]),
                ]
                note = format_note(Note(opened.body, tuple(lines)))
                self.final_size, self.final_root, self.final_note = size, opened.checkpoint.root, note
                self.final_lines = tuple(lines)
                for done in [other for other in self._open if other <= size]:
                    del self._open[done]
                return size, note
        return None

    def lacking(self) -> dict[str, tuple[str, ...]]:
        """The authorities that have not signed enough of anything that is not final yet, each with those of its
        validators that have signed none of it; nobody, where it is the line of a log key that is missing.
        """
        found: dict[str, tuple[str, ...]] = {}
        signed = {name for opened in self._open.values() for name in opened.cosignatures}
        logged = {opened.log_keys[line][0] for opened in self._open.values() for line in opened.logs}
        for authority in self._authorities if self._open else ():
            others = {name for name, party in self._authority_of.items() if party != authority}
            if not self._policy.quorum_met_by({*signed, *others}):
                theirs = (key.name for party, key in self._cosigner_keys.values() if party == authority)
                found[authority] = tuple(name for name in theirs if name not in signed)
            elif authority not in logged:
                found[authority] = ()
        return found

    def answer(
        self, final_size: int, executed_size: int, final_root: bytes
    ) -> list[tuple[int, bytes, tuple[NoteSignature, ...]]]:
        """What helps a peer that is final up to one size, with that root, and has executed up to another.

        A peer whose final root at our final size is not ours is shown ours: one of us was lied to. One that counts
        other voters than signed our final note, for the membership has changed since, is helped by our own signature.
        """
        found = []
        forked = final_size == self.final_size and bool(final_root) and final_root != self.final_root
        if final_size < self.final_size <= executed_size or forked:
            found.append((self.final_size, self.final_root, self.final_lines))
        if self.own is not None and self.own[0].size > final_size:
            size, lines = self.own[0].size, self.own[1]
            beside = size == self.final_size <= executed_size and not set(lines) <= set(self.final_lines)
            if size > self.final_size or beside:
                found.append((size, self.own[0].root, lines))
        return found

    def cosigned_at(self, note: bytes) -> dict[str, int]:
        """When each authority first cosigned a checkpoint note of ours, in Unix seconds."""
        times: dict[str, int] = {}
        for line in parse_note(note).signatures:
            known = self._known_keys.get((line.name, line.key_id))
            if known is not None:
                time_s = cosignature_timestamp_s(line)
                times[known[0]] = min(time_s, times.get(known[0], time_s))
        return times
