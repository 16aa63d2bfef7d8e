"""Whom to believe: C2SP tlog-policy.

Promises: the whole grammar (logs, witnesses, groups of `all`, `any` or k, `quorum none`), every rule on duplicates
and on the order of lines. A checkpoint is valid when a listed log signed it and the witnesses that cosigned it
satisfy the quorum; whoever asks is told who signed, when, and who is missing. Names are opaque octets; they are held
as text whose undecodable bytes are surrogates, which maps both ways without loss.

Does not: fetch anything from the URLs it may list; take keys of other types than 0x01 and 0x06 (logs), and 0x04 and
0x06 (witnesses); judge whether a cosignature's time is plausible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ledger.calendar import time_text
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosignature import verify_cosignature
from ledger.errors import Malformed, Misuse, Untrue
from ledger.note import (
    COSIGNATURE_V1,
    ED25519,
    SUBTREE_V1,
    Note,
    NoteSignature,
    VerifierKey,
    format_vkey,
    parse_note,
    parse_vkey,
)

MAX_POLICY_BYTES = 256 * 1024
MAX_LOGS = 64
MAX_WITNESSES = 256
MAX_GROUPS = 256
NONE = "none"
LOG_KEYS = (ED25519, SUBTREE_V1)
WITNESS_KEYS = (COSIGNATURE_V1, SUBTREE_V1)

_FORBIDDEN = re.compile(rb"[^\x09\x0a\x20-\x7e\x80-\xff]")
_SPACE = re.compile(rb"[ \t]+")
_match_threshold = re.compile(r"[1-9][0-9]{0,2}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Log:
    """A log whose checkpoints are believed; its key's name is its origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A cosigner, under the name that this policy gives it."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Members, at least `threshold` of which must have witnessed a checkpoint for the group to have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuorumResult:
    """Who vouched for one checkpoint."""

    checkpoint: Checkpoint
    log: Log | None  # the listed log that signed, if any did
    signed: tuple[str, ...]  # witnesses with a valid cosignature, in the policy's order
    missing: tuple[str, ...]  # witnesses without one
    timestamps: Mapping[str, int]  # each signed witness's own time, Unix seconds
    groups_signed: tuple[str, ...]  # groups whose threshold is reached
    groups_missing: tuple[str, ...]  # groups whose threshold is not
    quorum: str
    quorum_met: bool

    @property
    def satisfied(self) -> bool:
        """Whether the checkpoint is valid under the policy."""
        return self.log is not None and self.quorum_met

    @property
    def told(self) -> str:
        """In words, who cosigned and when; unless that is enough, who is missing."""
        signed = ", ".join(f"{name} at {time_text(at_s)}" for name, at_s in self.timestamps.items()) or "nobody"
        told = f"{self.quorum}: cosigned by {signed}"
        return told if self.quorum_met else f"{told}; missing {', '.join((*self.groups_missing, *self.missing))}"

    def check(self) -> None:
        """Raise Untrue unless the checkpoint is valid under the policy."""
        if self.log is None:
            raise Untrue("log_signature_missing", f"no listed log signed the checkpoint of {self.checkpoint.origin}")
        if not self.quorum_met:
            signed = ", ".join(self.signed) or "none"
            lacking = [*(f"group {name}" for name in self.groups_missing), *self.missing]
            raise Untrue(
                "quorum_not_met", f"quorum {self.quorum} is not met: signed {signed}; missing {', '.join(lacking)}"
            )


@dataclass(frozen=True)
class Policy:
    """Logs, witnesses, groups in order of definition, and the name that must have witnessed."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    @property
    def told(self) -> str:
        """In words, how much it asks for."""
        return f"{len(self.logs)} log, {len(self.witnesses)} witnesses, quorum {self.quorum}"

    @cached_property
    def _logs_by_line(self) -> dict[tuple[str, bytes], Log]:
        return {(log.key.name, log.key.key_id): log for log in self.logs}

    @cached_property
    def _witnesses_by_line(self) -> dict[tuple[str, bytes], Witness]:
        return {(witness.key.name, witness.key.key_id): witness for witness in self.witnesses}

    def check(self, note: Note) -> QuorumResult:
        """Verify every signature of a known key on a checkpoint note and weigh them.

        Lines of unknown keys are ignored. Untrue if a known key's signature is bad, as such a note has been tampered
        with; Malformed if the note is no checkpoint. Whether what remains is enough is in the result.
        """
        checkpoint = parse_checkpoint(note.text)
        log: Log | None = None
        timestamps: dict[str, int] = {}
        for signature in note.signatures:
            line = (signature.name, signature.key_id)
            known_log = self._logs_by_line.get(line)
            witness = self._witnesses_by_line.get(line)
            if known_log is not None and _verify_log(known_log, checkpoint, note.text, signature):
                log = log or known_log
            if witness is not None:
                timestamp_s = verify_cosignature(witness.key, note.text, signature)
                timestamps.setdefault(witness.name, timestamp_s)
        witnessed = self._witnessed(timestamps)
        return QuorumResult(
            checkpoint=checkpoint,
            log=log,
            signed=tuple(each.name for each in self.witnesses if each.name in timestamps),
            missing=tuple(each.name for each in self.witnesses if each.name not in timestamps),
            timestamps=timestamps,
            groups_signed=tuple(group.name for group in self.groups if group.name in witnessed),
            groups_missing=tuple(group.name for group in self.groups if group.name not in witnessed),
            quorum=self.quorum,
            quorum_met=self.quorum == NONE or self.quorum in witnessed,
        )

    def quorum_met_by(self, witnesses: Iterable[str]) -> bool:
        """Return whether cosignatures of these witnesses would satisfy the quorum."""
        return self.quorum == NONE or self.quorum in self._witnessed(witnesses)

    def _witnessed(self, signed: Iterable[str]) -> set[str]:
        """Return the names, of witnesses and groups, that have witnessed when these witnesses have signed."""
        witnessed = set(signed)
        for group in self.groups:  # members precede the groups that they are in
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return witnessed


def _verify_log(log: Log, checkpoint: Checkpoint, text: str, signature: NoteSignature) -> bool:
    """Check a log's signature; it counts only for the log's own origin."""
    if log.key.algorithm == SUBTREE_V1:
        verify_cosignature(log.key, text, signature)
    else:
        log.key.verify(text.encode(), signature.signature)
    return checkpoint.origin == log.key.name


def verify_checkpoint(note_bytes: bytes, policy: Policy) -> Checkpoint:
    """Return the checkpoint of a note that is valid under the policy; Malformed or Untrue otherwise."""
    result = policy.check(parse_note(note_bytes))
    result.check()
    return result.checkpoint


class _Parser:
    """What the lines read so far have defined."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self._names: set[str] = set()
        self._grouped: set[str] = set()

    def line(self, items: list[str]) -> None:
        keyword, *arguments = items
        if keyword == "log":
            self._log(arguments)
        elif keyword == "witness":
            self._witness(arguments)
        elif keyword == "group":
            self._group(arguments)
        elif keyword == "quorum":
            self._quorum(arguments)
        else:
            raise _bad(f"unknown keyword: expected log, witness, group or quorum, got {keyword[:40]!r}")

    def _log(self, arguments: list[str]) -> None:
        _count(arguments, "log <vkey> [<url>]", 1, 2)
        _limit("logs", self.logs, MAX_LOGS)
        key = _key(arguments[0], LOG_KEYS)
        if any(key.public_key == log.key.public_key for log in self.logs):
            raise _bad(f"log key stands twice: {key.name}")
        self.logs.append(Log(key, arguments[1] if len(arguments) > 1 else None))

    def _witness(self, arguments: list[str]) -> None:
        _count(arguments, "witness <name> <vkey> [<url>]", 2, 3)
        _limit("witnesses", self.witnesses, MAX_WITNESSES)
        key = _key(arguments[1], WITNESS_KEYS)
        if any(key.public_key == witness.key.public_key for witness in self.witnesses):
            raise _bad(f"witness key stands twice: {arguments[0]}")
        self._define(arguments[0])
        self.witnesses.append(Witness(arguments[0], key, arguments[2] if len(arguments) > 2 else None))

    def _group(self, arguments: list[str]) -> None:
        _count(arguments, "group <name> all|any|<k> <name>...", 3, None)
        _limit("groups", self.groups, MAX_GROUPS)
        name, threshold_word, *members = arguments
        for member in members:
            if member not in self._names:
                raise _bad(f"group {name} has an undefined member: {member}")
            if member in self._grouped:
                raise _bad(f"{member} is a member twice: of group {name} and before")
            self._grouped.add(member)
        if threshold_word in ("all", "any"):
            threshold = len(members) if threshold_word == "all" else 1
        elif _match_threshold(threshold_word) and int(threshold_word) <= len(members):
            threshold = int(threshold_word)
        else:
            expected = f"expected all, any or 1 to {len(members)}, got {threshold_word[:40]}"
            raise _bad(f"threshold of group {name} is wrong: {expected}")
        self._define(name)
        self.groups.append(Group(name, threshold, tuple(members)))

    def _quorum(self, arguments: list[str]) -> None:
        _count(arguments, "quorum <name>", 1, 1)
        if self.quorum is not None:
            raise _bad("quorum is defined twice")
        if arguments[0] != NONE and arguments[0] not in self._names:
            raise _bad(f"quorum is undefined: {arguments[0]}")
        self.quorum = arguments[0]

    def _define(self, name: str) -> None:
        if name == NONE:
            raise _bad("none is predefined")
        if name in self._names:
            raise _bad(f"name is defined twice: {name}")
        self._names.add(name)


def _bad(message: str) -> Malformed:
    return Malformed("bad_policy", message)


def _count(arguments: list[str], form: str, minimum: int, maximum: int | None) -> None:
    if len(arguments) < minimum or (maximum is not None and len(arguments) > maximum):
        raise _bad(f"line has the wrong number of items: expected {form}, got {len(arguments)} after the keyword")


def _limit(what: str, known: list[Log] | list[Witness] | list[Group], maximum: int) -> None:
    if len(known) >= maximum:
        raise _bad(f"too many {what}: expected at most {maximum}")


def _key(vkey: str, algorithms: tuple[int, ...]) -> VerifierKey:
    try:
        key = parse_vkey(vkey)
    except Malformed as error:
        raise _bad(error.args[0]) from error
    if key.algorithm not in algorithms:
        expected = " or ".join(f"{algorithm:#04x}" for algorithm in algorithms)
        raise _bad(f"key of {key.name} has the wrong type: expected {expected}, got {key.algorithm:#04x}")
    return key


def parse_policy(data: bytes) -> Policy:
    """Return the policy that the file is; Malformed, naming the line, if it is none."""
    if len(data) > MAX_POLICY_BYTES:
        raise Malformed("too_large", f"policy is too large: expected at most {MAX_POLICY_BYTES} bytes, got {len(data)}")
    if data and not data.endswith(b"\n"):
        raise _bad("last line does not end in a newline: is the file cut short?")
    forbidden = _FORBIDDEN.search(data)
    if forbidden:
        raise _bad(f"octet is not allowed: got {forbidden[0][0]:#04x} at byte {forbidden.start()}")
    parser = _Parser()
    for number, line in enumerate(data.split(b"\n"), 1):
        items = _SPACE.split(line.strip(b" \t"))
        if not items[0] or items[0].startswith(b"#"):
            continue
        try:
            parser.line([item.decode("utf-8", "surrogateescape") for item in items])
        except Malformed as error:
            raise _bad(f"line {number}: {error.args[0]}") from error
    if parser.quorum is None:
        raise _bad("quorum line is missing")
    return Policy(tuple(parser.logs), tuple(parser.witnesses), tuple(parser.groups), parser.quorum)


def format_policy(policy: Policy) -> bytes:
    """Return the policy as a file, without comments. Misuse if it breaks a rule of the format."""
    lines = [" ".join(["log", format_vkey(log.key), *([log.url] if log.url else [])]) for log in policy.logs]
    for witness in policy.witnesses:
        url = [witness.url] if witness.url else []
        lines.append(" ".join(["witness", witness.name, format_vkey(witness.key), *url]))
    for group in policy.groups:
        word = {len(group.members): "all", 1: "any"}.get(group.threshold, str(group.threshold))
        if len(group.members) == 1:
            word = "any"
        lines.append(" ".join(["group", group.name, word, *group.members]))
    lines.append(f"quorum {policy.quorum}")
    data = "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    try:
        parsed = parse_policy(data)
    except Malformed as error:
        raise Misuse(f"no such policy can be: {error}") from error
    if parsed != policy:
        raise Misuse("policy cannot be written: a name or url would be read differently")
    return data
