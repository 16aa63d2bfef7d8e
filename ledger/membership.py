"""Who belongs to a network's order, and the documents by which the authorities change that. Pure.

A change is a C2SP signed note. Its text says, in lines that people read to each other: of which log and which genesis
record, the how-manyeth change it is, the hash of the membership that it applies to, and what is done. It holds only
with the signatures of the registrar keys of *all* authorities of the genesis record, which no node has on its disk.
The hash and the number chain one change to the next, so that none can be used twice, nor out of its order, nor in
another network; from the genesis record and the changes anybody derives the same `Register`, whoever brought them.

Promises: one spelling: parsing formats again and compares. A name or a cosigner key that was ever used is never used
again: a validator that comes back under its name with an empty disk could sign or vote twice. A newcomer begins as an
observer, and is promoted by a later change. No change leaves an authority without a voter.

Does not: say when a change takes effect (the order does), nor reach anybody; an auditor may use it without a node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256

from ledger.algorithms import EDDSA, PrivateKey, PublicKey
from ledger.entry import Genesis
from ledger.errors import Malformed, Untrue
from ledger.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    NoteSignature,
    VerifierKey,
    decode_base64,
    encode_base64,
    format_note,
    format_vkey,
    is_key_name,
    parse_decimal,
    parse_note,
    parse_vkey,
)

HEADER = "comity membership change v1"
REGISTER_HEADER = "comity membership v1"
MAX_CHANGE_BYTES = 32 * 1024
MAX_STEPS = 16
MAX_MEMBERS = 64
# Names that were used once stay in the register for ever; far more than two authorities replace in their lives.
MAX_RETIRED = 2048
MAX_NUMBER = MAX_RETIRED * 4
MAX_ADDRESS_CHARS = 255
MAX_CERTIFICATE_BYTES = 4096
# Keys of one authority of which any signs changes: the registrar's, a deputy's, and those of a rotation.
MAX_SIGNERS = 4
MAX_CHAIN_BYTES = 64 * 1024 * 1024

_match_name = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII).fullmatch
_match_address = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})", re.ASCII).fullmatch
_match_digest = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_CERTIFICATE = "ca:"
_NOTHING = "-"


class Role(Enum):
    """What a member is. A voter of no authority is a witness; an observer has no vote."""

    VOTER = "voter"
    WITNESS = "witness"
    OBSERVER = "observer"


class Verb(Enum):
    """What a line of a change does. Whom `promote` makes a voter or a witness depends on whose it is."""

    ADD = "add"
    PROMOTE = "promote"
    DEMOTE = "demote"
    REMOVE = "remove"
    TRUST = "trust"
    DISTRUST = "distrust"


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    # An authority of the genesis record, or a neutral party of any other name.
    party: str
    role: Role
    # Host and port; empty for a member since genesis, whose address each operator's configuration says.
    address: str
    # Ed25519; empty for a member of a neutral party, which cosigns nothing.
    cosigner_key: bytes = b""
    # DER of the CA of a neutral party; empty for an authority's member: genesis names the CA of an authority.
    ca_certificate: bytes = b""

    @property
    def credential(self) -> str:
        """The last item of the line that brings the member in."""
        if self.cosigner_key:
            return format_vkey(VerifierKey(self.name, COSIGNATURE_V1, self.cosigner_key))
        return _CERTIFICATE + encode_base64(self.ca_certificate)

    def line(self) -> str:
        """The member's line in the text of a register."""
        return f"{self.role.value} {self.name} {self.party} {self.address or _NOTHING} {self.credential}\n"


@dataclass(frozen=True, slots=True)
class Step:
    verb: Verb
    name: str
    # All of a newcomer, as an observer; of others the name says who it is.
    member: Member | None = None
    # Of `trust` and `distrust`, whose name is an authority's: a key that signs changes for it.
    signer: VerifierKey | None = None

    @property
    def about(self) -> str:
        """What it changes: of one thing there is one step in a change."""
        return self.name if self.signer is None else format_vkey(self.signer)

    def line(self) -> str:
        if self.signer is not None:
            return f"{self.verb.value} {self.name} {format_vkey(self.signer)}\n"
        if self.member is None:
            return f"{self.verb.value} {self.name}\n"
        member = self.member
        return f"{self.verb.value} {self.name} {member.party} {member.address} {member.credential}\n"


@dataclass(frozen=True, slots=True)
class Change:
    """The text of a change, whoever has signed it."""

    origin: str
    network: bytes  # SHA-256 of the genesis record
    number: int  # 1 for the first change after genesis
    present: bytes  # digest of the register that it applies to
    steps: tuple[Step, ...]

    def text(self) -> str:
        """The one spelling, which is what is signed."""
        head = (
            f"{HEADER}\norigin {self.origin}\nnetwork {self.network.hex()}\n"
            f"number {self.number}\npresent {self.present.hex()}\n"
        )
        return head + "".join(step.line() for step in self.steps)


@dataclass(frozen=True, slots=True)
class Signatures:
    """Which authorities have signed a change, and which have not."""

    signed: tuple[str, ...]
    missing: tuple[str, ...]

    def check(self) -> None:
        """Raise Untrue unless all have."""
        if self.missing:
            signed = ", ".join(self.signed) or "nobody"
            raise Untrue(
                "signature_missing",
                f"expected the signatures of all authorities: signed {signed}; missing {', '.join(self.missing)}",
            )


# --- the register ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Register:
    """The members after so many changes, and every name and key that was used before."""

    origin: str
    network: bytes
    authorities: tuple[str, ...]
    number: int
    members: Mapping[str, Member]
    # Name to cosigner key (or CA) of those who left, in the order in which they did.
    retired: Mapping[str, str]
    # By authority, the keys of which any signs changes for it. None that is Ed25519: it can sign none.
    signers: Mapping[str, tuple[VerifierKey, ...]]
    # Whether they are others than those of the genesis record.
    signers_changed: bool = False

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> Register:
        """The register before any change."""
        members = {
            validator.name: Member(validator.name, authority.name, Role.VOTER, "", validator.cosigner_key)
            for authority in genesis.authorities
            for validator in authority.validators
        }
        for witness in genesis.witnesses:
            members[witness.name] = Member(
                witness.name, witness.party, Role.WITNESS, "", ca_certificate=witness.ca_certificate
            )
        names = tuple(authority.name for authority in genesis.authorities)
        network = sha256(genesis.encode()).digest()
        return cls(genesis.origin, network, names, 0, members, {}, _genesis_signers(genesis))

    def text(self) -> str:
        """The one spelling, which is what `digest` is of."""
        head = f"{REGISTER_HEADER}\norigin {self.origin}\nnetwork {self.network.hex()}\nnumber {self.number}\n"
        members = "".join(self.members[name].line() for name in sorted(self.members))
        retired = "".join(f"retired {name} {key}\n" for name, key in sorted(self.retired.items()))
        if not self.signers_changed:
            return head + members + retired
        lines = [f"signer {name} {format_vkey(key)}\n" for name, keys in self.signers.items() for key in keys]
        return head + members + retired + "".join(sorted(lines))

    @property
    def digest(self) -> bytes:
        return sha256(self.text().encode()).digest()

    def of(self, role: Role, party: str | None = None) -> tuple[Member, ...]:
        """The members of a role, of one party if it is named, in the order in which they came."""
        return tuple(
            each for each in self.members.values() if each.role is role and (party is None or each.party == party)
        )

    def change(self, steps: Iterable[Step]) -> Change:
        """The change that does these steps to this register. Raises Untrue if it may not be."""
        change = Change(self.origin, self.network, self.number + 1, self.digest, tuple(steps))
        parse_change(change.text())
        self.after(change)
        return change

    def after(self, change: Change) -> Register:
        """The register after a change. Raises Untrue; signatures are for `verify_change`."""
        self._check_place(change)
        members, retired = dict(self.members), dict(self.retired)
        signers = {name: list(keys) for name, keys in self.signers.items()}
        if all(step.signer is not None for step in change.steps):
            raise Untrue("no_member_step", "expected a step about a member beside trust and distrust: add an observer")
        for step in change.steps:
            if step.signer is not None:
                self._change_signer(step, step.signer, signers)
                continue
            if step.member is not None:
                self._check_newcomer(step.member, members)
                members[step.name] = step.member
                continue
            member = self.members.get(step.name)
            if member is None:
                raise Untrue("unknown_member", f"{step.verb.value} {step.name}: is no member")
            if step.verb is Verb.REMOVE:
                del members[step.name]
                retired[step.name] = member.credential
            else:
                members[step.name] = replace(member, role=self._new_role(step.verb, member))
        if len(members) > MAX_MEMBERS or len(retired) > MAX_RETIRED:
            raise Untrue("too_many_members", f"expected at most {MAX_MEMBERS} members and {MAX_RETIRED} retired ones")
        kept = {name: tuple(keys) for name, keys in signers.items()}
        after = replace(
            self,
            number=change.number,
            members=members,
            retired=retired,
            signers=kept,
            signers_changed=self.signers_changed or kept != self.signers,
        )
        for authority in self.authorities:
            if not after.of(Role.VOTER, authority):
                raise Untrue("authority_without_voter", f"would leave {authority} without a voter")
        return after

    def _check_place(self, change: Change) -> None:
        for code, what, expected, got in (
            ("other_network", "origin", self.origin, change.origin),
            ("other_network", "network", self.network.hex(), change.network.hex()),
            ("out_of_turn", "number", self.number + 1, change.number),
            ("out_of_turn", "hash of the present membership", self.digest.hex(), change.present.hex()),
        ):
            if expected != got:
                raise Untrue(code, f"{what}: expected {expected}, got {got}")

    def _change_signer(self, step: Step, key: VerifierKey, signers: dict[str, list[VerifierKey]]) -> None:
        """Add or take a key that signs for an authority. Nobody is left without one, nor with one of the other's."""
        keys = signers.get(step.name)
        if keys is None:
            raise Untrue("unknown_authority", f"{step.verb.value} {step.name}: is no authority of the genesis record")
        if step.verb is Verb.DISTRUST:
            if key not in keys:
                raise Untrue("unknown_signer", f"distrust {key.name}: signs nothing for {step.name}")
            if len(keys) == 1:
                raise Untrue("authority_without_signer", f"would leave {step.name} without a key that signs changes")
            keys.remove(key)
            return
        if any(key.public_key == other.public_key for others in signers.values() for other in others):
            raise Untrue("key_used", f"trust {key.name}: the key signs changes already")
        if len(keys) >= MAX_SIGNERS:
            raise Untrue("too_many_signers", f"trust {key.name}: expected at most {MAX_SIGNERS} keys of {step.name}")
        keys.append(key)

    def _check_newcomer(self, new: Member, members: Mapping[str, Member]) -> None:
        if new.name in members or new.name in self.retired:
            raise Untrue("name_used", f"add {new.name}: the name is or was a member's; a newcomer needs a new one")
        if new.cosigner_key and new.party not in self.authorities:
            raise Untrue("unknown_authority", f"add {new.name}: {new.party} is no authority: expected its CA")
        if new.ca_certificate and new.party in self.authorities:
            raise Untrue("not_neutral", f"add {new.name}: {new.party} is an authority: expected a cosigner key")
        for other in members.values():
            if new.address == other.address:
                raise Untrue("address_used", f"add {new.name}: {new.address} is the address of {other.name}")
            if new.ca_certificate and other.party == new.party and other.ca_certificate != new.ca_certificate:
                raise Untrue("other_ca", f"add {new.name}: {new.party} has another CA, that of {other.name}")
            if new.ca_certificate and other.party != new.party and other.ca_certificate == new.ca_certificate:
                raise Untrue("key_used", f"add {new.name}: its CA is that of {other.party}")
            if new.cosigner_key and new.cosigner_key == other.cosigner_key:
                raise Untrue("key_used", f"add {new.name}: its cosigner key is that of {other.name}")
        if new.cosigner_key:
            # The name is part of a vkey, so the key itself is what must not come again.
            for name, credential in self.retired.items():
                if not credential.startswith(_CERTIFICATE) and parse_vkey(credential).public_key == new.cosigner_key:
                    raise Untrue("key_used", f"add {new.name}: its cosigner key was that of {name}")

    def _new_role(self, verb: Verb, member: Member) -> Role:
        if verb is Verb.PROMOTE:
            if member.role is not Role.OBSERVER:
                raise Untrue("nothing_changes", f"promote {member.name}: is a {member.role.value} already")
            return Role.VOTER if member.cosigner_key else Role.WITNESS
        if member.role is Role.OBSERVER:
            raise Untrue("nothing_changes", f"demote {member.name}: is an observer already")
        return Role.OBSERVER


# --- the text of a change --------------------------------------------------------------------------------------------


def newcomer(name: str, party: str, address: str, credential: str) -> Step:
    """The step that adds an observer. Raises Malformed."""
    return parse_step(f"{Verb.ADD.value} {name} {party} {address} {credential}")


def ca_credential(der: bytes) -> str:
    """How the CA certificate of a neutral party is written in a change."""
    return _CERTIFICATE + encode_base64(der)


def _bad(text: str) -> Malformed:
    return Malformed("bad_membership_change", text)


def parse_step(line: str) -> Step:
    """The step that a line is, without its newline. Raises Malformed."""
    verb, _, rest = line.partition(" ")
    items = rest.split(" ")
    try:
        kind = Verb(verb)
    except ValueError as error:
        raise _bad(f"expected add, promote, demote, remove, trust or distrust, got {line[:80]!r}") from error
    if kind in (Verb.TRUST, Verb.DISTRUST):
        return _signer_step(kind, items, line)
    if len(items) != (4 if kind is Verb.ADD else 1):
        expected = "add NAME PARTY HOST:PORT KEY" if kind is Verb.ADD else f"{verb} NAME"
        raise _bad(f"expected {expected}, got {line[:80]!r}")
    name = items[0]
    if not _match_name(name):
        raise _bad(f"name: expected 1 to 64 of a-z0-9._-, got {name[:80]!r}")
    if kind is not Verb.ADD:
        return Step(kind, name)
    _, party, address, credential = items
    if not _match_name(party):
        raise _bad(f"party of {name}: expected 1 to 64 of a-z0-9._-, got {party[:80]!r}")
    port = _match_address(address)
    if port is None or len(address) > MAX_ADDRESS_CHARS or int(port[1]) > 65_535:
        raise _bad(f"address of {name}: expected host:port, got {address[:80]!r}")
    if credential.startswith(_CERTIFICATE):
        der = decode_base64(credential.removeprefix(_CERTIFICATE), f"CA certificate of {party}")
        if not 0 < len(der) <= MAX_CERTIFICATE_BYTES:
            raise _bad(f"CA certificate of {party}: expected 1 to {MAX_CERTIFICATE_BYTES} bytes, got {len(der)}")
        return Step(kind, name, Member(name, party, Role.OBSERVER, address, b"", der))
    key = parse_vkey(credential)
    if key.name != name or key.algorithm != COSIGNATURE_V1:
        raise _bad(
            f"key of {name}: expected a cosigner's of that name, got that of {key.name} type {key.algorithm:#04x}"
        )
    return Step(kind, name, Member(name, party, Role.OBSERVER, address, key.public_key))


def _signer_step(kind: Verb, items: list[str], line: str) -> Step:
    if len(items) != 2 or not _match_name(items[0]):
        raise _bad(f"expected {kind.value} AUTHORITY KEY, got {line[:80]!r}")
    key = parse_vkey(items[1])
    if key.algorithm != ED25519:
        raise _bad(f"key of {key.name}: expected one that signs notes, type {ED25519:#04x}, got {key.algorithm:#04x}")
    return Step(kind, items[0], signer=key)


def _field(line: str, name: str) -> str:
    key, space, value = line.partition(" ")
    if key != name or not space:
        raise _bad(f"expected a line that begins with {name!r}, got {line[:80]!r}")
    return value


def _digest(line: str, name: str) -> bytes:
    value = _field(line, name)
    if not _match_digest(value):
        raise _bad(f"{name}: expected a SHA-256 in lower-case hex, got {value[:80]!r}")
    return bytes.fromhex(value)


def parse_change(text: str) -> Change:
    """The change that a text is. Raises Malformed."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_CHANGE_BYTES:
        raise Malformed("too_large", f"change is too large: expected at most {MAX_CHANGE_BYTES} bytes")
    lines = text.removesuffix("\n").split("\n")
    if lines[0] != HEADER:
        raise _bad(f"expected the first line {HEADER!r}, got {lines[0][:80]!r}")
    if not 6 <= len(lines) <= 5 + MAX_STEPS:
        raise _bad(f"expected 1 to {MAX_STEPS} steps, got {max(len(lines) - 5, 0)}")
    origin = _field(lines[1], "origin")
    if not is_key_name(origin):
        raise _bad(f"origin: expected text usable as a key name, got {origin[:80]!r}")
    change = Change(
        origin,
        _digest(lines[2], "network"),
        parse_decimal(_field(lines[3], "number"), "number of the change", MAX_NUMBER),
        _digest(lines[4], "present"),
        tuple(map(parse_step, lines[5:])),
    )
    if len({step.about for step in change.steps}) != len(change.steps):
        raise _bad("a member stands in two steps: expected one change of a member at a time")
    if change.text() != text:
        raise _bad("change is not in its canonical form")
    return change


# --- signatures ------------------------------------------------------------------------------------------------------


def _genesis_signers(genesis: Genesis) -> dict[str, tuple[VerifierKey, ...]]:
    """Authority to its registrar's key of the genesis record, named by its id; none where notes do not know it."""
    keys: dict[str, tuple[VerifierKey, ...]] = {}
    for authority in genesis.authorities:
        key = PublicKey.from_cose_key(authority.registrar_key)
        known = key.alg == EDDSA
        keys[authority.name] = (VerifierKey(authority.registrar_id, ED25519, key.material),) if known else ()
    return keys


def registrar_verifiers(by: Genesis | Register) -> dict[str, tuple[VerifierKey, ...]]:
    """Authority to the keys of which any signs changes for it: those of the genesis record, or of a register.

    Raises Untrue where an authority has none: its registrar's key is no Ed25519 key, and notes know no other.
    """
    signers = _genesis_signers(by) if isinstance(by, Genesis) else dict(by.signers)
    for name, keys in signers.items():
        if not keys:
            raise Untrue("registrar_key_unsuitable", f"registrar key of {name}: expected Ed25519")
    return signers


def signer_key(name: str, cose_key: bytes) -> VerifierKey:
    """A registrar's public key as changes name it. Raises Malformed, Untrue."""
    key = PublicKey.from_cose_key(cose_key)
    if key.alg != EDDSA:
        raise Untrue("registrar_key_unsuitable", f"key of {name}: expected Ed25519")
    return VerifierKey(name, ED25519, key.material)


def sign_change(data: bytes, key: PrivateKey, by: Genesis | Register) -> bytes:
    """A change, bare or signed by others, with one signature more. Raises Untrue if the key is no registrar's."""
    change, signatures = split_change(data)
    signers = registrar_verifiers(by)
    for name, keys in signers.items():
        for verifier in keys:
            if key.public.alg == EDDSA and key.public.material == verifier.public_key:
                line = NoteSignature(verifier.name, verifier.key_id, key.sign(change.text().encode()))
                if name in _owners(signers, signatures):
                    raise Untrue("signed_already", f"{name} has signed this change already")
                return _signed(change, signers, [*signatures, line])
    raise Untrue(
        "not_a_registrar", "key is of no registrar that signs changes: expected one of the membership in force"
    )


def _owners(signers: Mapping[str, tuple[VerifierKey, ...]], lines: Iterable[NoteSignature]) -> list[str | None]:
    """Whose each line is, by its name and key id."""
    known = {(key.name, key.key_id): name for name, keys in signers.items() for key in keys}
    return [known.get((line.name, line.key_id)) for line in lines]


def _signed(change: Change, signers: Mapping[str, tuple[VerifierKey, ...]], lines: list[NoteSignature]) -> bytes:
    """The note, its lines in the order of the authorities."""
    order = {name: number for number, name in enumerate(signers)}
    owners = _owners(signers, lines)
    placed = sorted(zip(owners, lines, strict=True), key=lambda each: order.get(each[0] or "", len(order)))
    return format_note(Note(change.text(), tuple(line for _, line in placed)))


def signed_change(genesis: Genesis, notes: Sequence[bytes], text: str, signatures: Mapping[str, bytes]) -> bytes:
    """The note of a change that `notes` come before, from its text and the signature of each authority.

    Raises Malformed, Untrue: nothing comes of signatures that do not hold, nor of a change for another place.
    """
    change = parse_change(text)
    register = verify_chain(genesis, notes)[-1]
    signers = registrar_verifiers(register)
    lines = []
    for name, keys in signers.items():
        if name in signatures:
            key = _that_signed(keys, text.encode(), signatures[name])
            lines.append(NoteSignature(key.name, key.key_id, signatures[name]))
    check_signatures(register, change, lines).check()
    register.after(change)
    return _signed(change, signers, lines)


def _that_signed(keys: Sequence[VerifierKey], message: bytes, signature: bytes) -> VerifierKey:
    for key in keys[:-1]:
        try:
            key.verify(message, signature)
        except Untrue:
            continue
        return key
    keys[-1].verify(message, signature)
    return keys[-1]


def split_change(data: bytes) -> tuple[Change, tuple[NoteSignature, ...]]:
    """The change and its signature lines, none if it is the bare text. Raises Malformed. Nothing is verified."""
    if len(data) > MAX_CHANGE_BYTES:
        raise Malformed("too_large", f"change is too large: expected at most {MAX_CHANGE_BYTES} bytes, got {len(data)}")
    if b"\n\n" not in data:
        try:
            return parse_change(data.decode()), ()
        except UnicodeDecodeError as error:
            raise _bad("change is not utf-8") from error
    note = parse_note(data)
    return parse_change(note.text), note.signatures


def check_signatures(by: Genesis | Register, change: Change, lines: Sequence[NoteSignature]) -> Signatures:
    """Who has signed. Raises Untrue for a line that is no authority's, that stands twice, or that does not verify.

    `by`: the register that the change applies to, whose signers count; the genesis record stands for the first.
    """
    signers = registrar_verifiers(by)
    signed: list[str] = []
    message = change.text().encode()
    for line, owner in zip(lines, _owners(signers, lines), strict=True):
        if owner is None:
            raise Untrue("unknown_signer", f"{line.name} with key id {line.key_id.hex()} signs for no authority")
        if owner in signed:
            raise Untrue("signed_twice", f"{owner} has signed twice: expected one signature of each authority")
        key = next(each for each in signers[owner] if (each.name, each.key_id) == (line.name, line.key_id))
        key.verify(message, line.signature)
        signed.append(owner)
    order = list(signers)
    if signed != sorted(signed, key=order.index):
        raise Untrue("wrong_order", f"signatures: expected in the order {', '.join(order)}")
    return Signatures(tuple(signed), tuple(name for name in signers if name not in signed))


def verify_change(by: Genesis | Register, data: bytes) -> Change:
    """The change that all authorities have signed, by the keys of `by`. Raises Malformed, Untrue."""
    change, lines = split_change(data)
    check_signatures(by, change, lines).check()
    return change


# --- one change after another ----------------------------------------------------------------------------------------


def split_chain(data: bytes) -> list[bytes]:
    """The notes of a file that holds one after the other, in order. Raises Malformed. Nothing is verified."""
    if len(data) > MAX_CHAIN_BYTES:
        raise Malformed("too_large", f"changes are too large: expected at most {MAX_CHAIN_BYTES} bytes")
    start = (HEADER + "\n").encode()
    if not data:
        return []
    if not data.startswith(start):
        raise _bad(f"expected the first line {HEADER!r}, got {data[:80]!r}")
    # No other line of a note can be that line, and every note ends in a newline.
    parts = (b"\n" + data).split(b"\n" + start)[1:]
    return [*(start + part + b"\n" for part in parts[:-1]), start + parts[-1]]


def verify_chain(genesis: Genesis, notes: Sequence[bytes]) -> list[Register]:
    """The registers from genesis on, one more than there are changes. Raises Malformed, Untrue."""
    registers = [Register.of_genesis(genesis)]
    for number, note in enumerate(notes, 1):
        try:
            registers.append(registers[-1].after(verify_change(registers[-1], note)))
        except (Malformed, Untrue) as error:
            raise type(error)(error.code, f"change {number}: {error.args[0]}") from error
    return registers
