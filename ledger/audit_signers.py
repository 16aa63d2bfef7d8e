"""Who vouches for an archive: its policy, its checkpoint with every signature line, and the membership that it brings.

Promises: a line is verified with the keys that the auditor's policy, the genesis record and the signed changes of the
membership name. What only the executed log can tell, as whose a log key is that came into force on the log, waits for
`finish`: no line is passed over, and none is held against a key before it is known whether that counted.

Does not: read entries; compute the root, which `ledger.audit_tree` does; decide what the log makes of a change
(`ledger.audit_replay` is told by the contracts).
"""

from __future__ import annotations

import os
from dataclasses import replace

from ledger.archive import CHECKPOINT, MEMBERSHIP, POLICY, archive_policy
from ledger.audit_chunks import read_file
from ledger.audit_report import Check, FaultList
from ledger.checkpoint import Checkpoint, log_verifier, parse_checkpoint
from ledger.cosignature import cosigner_verifier, verify_cosignature
from ledger.entry import Genesis
from ledger.errors import Malformed, Untrue
from ledger.membership import MAX_CHAIN_BYTES, Member, parse_change, split_chain, verify_chain
from ledger.note import COSIGNATURE_V1, ED25519, MAX_NOTE_BYTES, Note, NoteSignature, VerifierKey, parse_note
from ledger.policy import MAX_POLICY_BYTES, Policy, parse_policy
from ledger.tenure import Tenures


class SignerCheck:
    """Reads at once what the archive says of itself, under the auditor's policy; `finish` when the log is executed."""

    def __init__(self, directory: str, policy: bytes, genesis: Genesis | None, faults: FaultList) -> None:
        """`genesis`: as it was peeked at, ahead of everything, for the keys that it names."""
        self._directory = directory
        self._faults = faults
        self._policy = self._read_policy(policy)
        # Who joined after genesis, by changes that all authorities' registrars signed.
        self.joined: list[Member] = []
        # The steps of each change of the membership, as the registrars signed them.
        self.changes: tuple[tuple[str, ...], ...] = ()
        self._texts: tuple[str, ...] = ()
        # Who has cosigned, with its own time, and who of the policy has not.
        self.signed: dict[str, int] = {}
        self.missing: tuple[str, ...] = ()
        # What only the executed log can tell: whose these lines of the checkpoint are, and these keys of the archive's
        # policy; and which log keys, of whom, have signed.
        self._strangers: list[tuple[Note, NoteSignature]] = []
        self._archive_logs: list[VerifierKey] = []
        self._logged: set[VerifierKey] = set()
        self._read_membership(genesis)
        # The checkpoint, if it can be read, and whether its signatures are enough to go by its size.
        self.checkpoint, self.vouched = self._check_checkpoint(genesis)
        self._check_archive_policy()

    def undecided(self, decided: frozenset[str] | None) -> tuple[int, ...]:
        """The changes of the membership that the log did not decide, by number; none where nothing is known of it."""
        if decided is None:
            return ()
        return tuple(number for number, text in enumerate(self._texts, 1) if text not in decided)

    def finish(self, genesis: Genesis | None, tenures: Tenures | None, place: tuple[int, int]) -> None:
        """Judge what waited, now that the log has been executed up to this height and block time.

        `genesis`: as it stands in the log. `tenures`: None where the log could not be executed.
        """
        log_keys = LogKeys(self.checkpoint, genesis, tenures, place)
        self._check_log_keys(log_keys)
        self._check_genesis(genesis, log_keys)

    def _read_membership(self, genesis: Genesis | None) -> None:
        """The signed changes that the archive brings, if any: what they do not prove, they do not change."""
        if genesis is None or not os.path.lexists(os.path.join(self._directory, MEMBERSHIP)):
            return
        data = read_file(self._directory, MEMBERSHIP, MAX_CHAIN_BYTES)
        if isinstance(data, str):
            self._faults.add(Check.GENESIS, data, file=MEMBERSHIP)
            return
        try:
            notes = split_chain(data)
            registers = verify_chain(genesis, notes)
            changes = [parse_change(parse_note(note).text) for note in notes]
        except (Malformed, Untrue) as error:
            self._faults.add(Check.GENESIS, f"changes of the membership do not hold: {error}", file=MEMBERSHIP)
            return
        first = registers[0].members
        joined = {name: each for register in registers for name, each in register.members.items() if name not in first}
        self.joined = list(joined.values())
        self.changes = tuple(tuple(step.line().rstrip() for step in change.steps) for change in changes)
        self._texts = tuple(change.text() for change in changes)

    def _read_policy(self, data: bytes) -> Policy | None:
        try:
            return parse_policy(data)
        except Malformed as error:
            self._faults.add(Check.POLICY, str(error))
            return None

    def _check_archive_policy(self) -> None:
        data = read_file(self._directory, POLICY, MAX_POLICY_BYTES)
        if isinstance(data, str):
            self._faults.add(Check.ARCHIVE_POLICY, data, file=POLICY)
            return
        try:
            found = parse_policy(data)
        except Malformed as error:
            self._faults.add(Check.ARCHIVE_POLICY, str(error), file=POLICY)
            return
        if archive_policy(found) != data:
            self._faults.add(Check.ARCHIVE_POLICY, "is not spelled as an archive's policy is", file=POLICY)
        if self._policy is None:
            return
        own = parse_policy(archive_policy(self._policy))
        if replace(found, logs=()) != replace(own, logs=()):
            self._faults.add(Check.ARCHIVE_POLICY, "witnesses, groups or quorum are not the auditor's", file=POLICY)
        # Each authority hands out its own log key; one log has them all, and says itself whose they are.
        known = {log.key for log in own.logs}
        self._archive_logs = [log.key for log in found.logs if log.key not in known]

    def _check_checkpoint(self, genesis: Genesis | None) -> tuple[Checkpoint | None, bool]:
        data = read_file(self._directory, CHECKPOINT, MAX_NOTE_BYTES)
        if isinstance(data, str):
            self._faults.add(Check.LOG_SIGNATURE, data, file=CHECKPOINT)
            return None, False
        try:
            note = parse_note(data)
            checkpoint = parse_checkpoint(note.text)
        except Malformed as error:
            self._faults.add(Check.LOG_SIGNATURE, f"cannot be read: {error}", file=CHECKPOINT)
            return None, False
        good = self._check_lines(note, checkpoint, genesis)
        policy = self._policy
        if policy is None:
            return checkpoint, False
        logged = any(log.key in good and checkpoint.origin == log.key.name for log in policy.logs)
        if not logged:
            message = f"no log of the policy has signed the checkpoint of {checkpoint.origin}"
            self._faults.add(Check.LOG_SIGNATURE, message, file=CHECKPOINT)
        self.signed = {each.name: good[each.key] for each in policy.witnesses if each.key in good}
        self.missing = tuple(each.name for each in policy.witnesses if each.key not in good)
        met = policy.quorum_met_by(self.signed)
        if not met:
            signed, missing = ", ".join(self.signed) or "none", ", ".join(self.missing) or "none"
            message = f"quorum {policy.quorum} is not met: signed {signed}; missing {missing}"
            self._faults.add(Check.QUORUM, message, file=CHECKPOINT)
        return checkpoint, logged and met

    def _check_lines(self, note: Note, checkpoint: Checkpoint, genesis: Genesis | None) -> dict[VerifierKey, int]:
        """Verify every signature line; return the keys whose lines are valid, with a cosigner's own time."""
        keys = self._known_keys(genesis)
        good: dict[VerifierKey, int] = {}
        seen: set[tuple[str, bytes]] = set()
        for line in note.signatures:
            who = f"{line.name} ({line.key_id.hex()})"
            if (line.name, line.key_id) in seen:
                self._faults.add(Check.SIGNATURE_LINES, f"{who} has signed twice", file=CHECKPOINT)
            seen.add((line.name, line.key_id))
            candidates = [key for key in keys if key.name == line.name and key.key_id == line.key_id]
            if not candidates:
                self._strangers.append((note, line))
                continue
            faults = []
            for key in candidates:
                try:
                    good.setdefault(key, _verify_line(key, note.text, line))
                    if key.algorithm != COSIGNATURE_V1:
                        self._logged.add(key)
                except (Untrue, Malformed) as error:
                    faults.append(str(error))
            if len(faults) == len(candidates):
                self._faults.add(Check.SIGNATURE_LINES, f"{who}: {faults[0]}", file=CHECKPOINT)
        return good

    def _known_keys(self, genesis: Genesis | None) -> list[VerifierKey]:
        keys: dict[VerifierKey, None] = {}
        if self._policy is not None:
            keys.update(dict.fromkeys(log.key for log in self._policy.logs))
            keys.update(dict.fromkeys(witness.key for witness in self._policy.witnesses))
        for authority in () if genesis is None else genesis.authorities:
            keys[log_verifier(genesis.origin if genesis is not None else "", authority.log_key)] = None
            for validator in authority.validators:
                keys[cosigner_verifier(validator.name, validator.cosigner_key)] = None
        for member in self.joined:
            if member.cosigner_key:
                keys[cosigner_verifier(member.name, member.cosigner_key)] = None
        return list(keys)

    def _check_log_keys(self, log_keys: LogKeys) -> None:
        """Now that the log has been executed: which keys it gave its authorities, and whether they counted here."""
        for key in self._archive_logs:
            if key not in log_keys.known:
                message = f"log key {key.public_key.hex()} is neither the auditor's nor one that the log names"
                self._faults.add(Check.ARCHIVE_POLICY, message, file=POLICY)
        for note, line in self._strangers:
            who = f"{line.name} ({line.key_id.hex()})"
            candidates = [key for key in log_keys.known if (key.name, key.key_id) == (line.name, line.key_id)]
            if not candidates:
                self._faults.add(
                    Check.SIGNATURE_LINES, f"{who} is not known to policy, genesis or log", file=CHECKPOINT
                )
                continue
            try:
                candidates[0].verify(note.text.encode(), line.signature)
            except Untrue as error:
                self._faults.add(Check.SIGNATURE_LINES, f"{who}: {error}", file=CHECKPOINT)
            else:
                self._logged.add(candidates[0])
        for key in sorted(self._logged, key=lambda each: each.public_key):
            why = log_keys.objection(key)
            if why is not None:
                self._faults.add(Check.LOG_SIGNATURE, why, file=CHECKPOINT)

    def _check_genesis(self, genesis: Genesis | None, log_keys: LogKeys) -> None:
        if genesis is None:
            return
        checkpoint = self.checkpoint
        if checkpoint is not None and genesis.origin != checkpoint.origin:
            message = f"genesis is of another log: expected {checkpoint.origin}, got {genesis.origin}"
            self._faults.add(Check.GENESIS, message, entry=0)
        if self._policy is None:
            return
        if not any(log.key in log_keys.known for log in self._policy.logs):
            message = "no log key of the policy is in the genesis record, nor did the log bring one into force"
            self._faults.add(Check.GENESIS, message, entry=0)
        validators = {
            cosigner_verifier(each.name, each.cosigner_key)
            for authority in genesis.authorities
            for each in authority.validators
        }
        validators |= {cosigner_verifier(each.name, each.cosigner_key) for each in self.joined if each.cosigner_key}
        for witness in self._policy.witnesses:
            # A third party's witness is named with its URL, and of a validator's keys genesis has the classical one.
            further = witness.url is not None or witness.key.algorithm != COSIGNATURE_V1
            if witness.key not in validators and not further:
                message = f"witness {witness.name} of the policy is no validator of the genesis record or of a change"
                self._faults.add(Check.GENESIS, message, entry=0)


class LogKeys:
    """Which log keys a log has given its authorities, and which counted where it ends."""

    def __init__(
        self, checkpoint: Checkpoint | None, genesis: Genesis | None, tenures: Tenures | None, place: tuple[int, int]
    ) -> None:
        """`tenures`: None where the log could not be executed; then the genesis record is all there is to go by."""
        self._place = place
        self._tenures = [each for held in (tenures or {}).values() for each in held]
        named = () if genesis is None else genesis.authorities
        raw = {authority.log_key for authority in named} | {each.value for each in self._tenures}
        origin = genesis.origin if genesis is not None else "" if checkpoint is None else checkpoint.origin
        self.known = frozenset(log_verifier(origin, each) for each in raw) if origin else frozenset()

    def objection(self, key: VerifierKey) -> str | None:
        """Why a key's signature under the last checkpoint is worth nothing; None if it counts, or is not known."""
        held = [each for each in self._tenures if each.value == key.public_key]
        if not held or key not in self.known or any(each.counts(*self._place) for each in held):
            return None
        height, time_ms = self._place
        told = "; ".join(map(str, held))
        return f"a log key has signed that does not count at height {height}, block time {time_ms} ms: {told}"


def _verify_line(key: VerifierKey, text: str, line: NoteSignature) -> int:
    """Return a cosigner's time, 0 for a log; `Untrue` or `Malformed` if the line is not this key's."""
    if key.algorithm != ED25519:
        return verify_cosignature(key, text, line)
    key.verify(text.encode(), line.signature)
    return 0
