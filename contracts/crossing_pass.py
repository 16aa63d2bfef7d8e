"""A crossing pass: what a truck shows at a gate that has no network, signed by a validator of each authority.

    98([ h'{3: "application/comity.pass.v1+cbor"}', {}, h'facts', [ [h'{1: alg, 4: kid}', {}, h'signature'], ... ] ])

COSE_Sign (RFC 9052 section 4.1): one payload, several signers. The facts are a map, see `PassFacts`: which movement, on
which vehicle, with which containers and seals, which declarations in which version and how they stand, as of which
time and checkpoint, and until when the pass counts. Each validator has worked them out for itself, from the state that
both authorities made final, and signs only if the movement may go on: everything released, recognised in the version
that the movement was planned with, not suspended (`objections`).

Promises: one spelling; compact enough for one QR code; verified with the policy file alone. Neither authority can issue
one by itself. `check_pass` says of each thing whether it holds, and of what it cannot tell that it was not checked.

What binds it to the truck: the vehicle, containers and seals in it, which the gate reads for itself and compares, and
the thumbprint of the truck's key, with which it can answer a challenge. A copied pass on another vehicle shows at the
first. That a pass was used before, a gate without a network knows only of its own; that is why it is short-lived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.identifiers import (
    IdentifierError,
    parse_container,
    parse_mrn,
    parse_participant_id,
    parse_seal,
    parse_ucr,
    parse_vehicle,
)
from ledger import cbor
from ledger.algorithms import EDDSA, KID_BYTES
from ledger.attestation import ALG, CONTENT_TYPE, KID, check_enough, check_kids, check_log, kid_of, members, witness_of
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE
from ledger.note import NoteSigner, is_key_name
from ledger.policy import Policy

MAX_PASS_BYTES = 16 * 1024
# What a gate needs is here and in `ledger` alone, so that it starts at once: these are as `contracts.escort_payloads`,
# `contracts.parameters`, `contracts.movement` and `contracts.declaration_record` have them, held equal by a test.
MAX_DECLARATIONS, MAX_CONTAINERS, MAX_SEALS = 20, 10, 32
MAX_PASS_MINUTES = 1_440
RELEASED, RECOGNISED = "released", "recognised"
MAX_PASS_HEADER_BYTES = 128
MAX_TRUCK_KEYS = 4
MAX_TEXT_CHARS = 128
SIGNATURE_BYTES = 64
PASS_TYPE = "application/comity.pass.v1+cbor"
# How every pass begins: tag 98, an array of four.
PASS_START = b"\xd8\x62\x84"
# By how much the clock of a gate may be behind that of the validators that signed.
MAX_GATE_BEHIND_S = 60
MAX_TIME_S = 253_402_300_799
# In these states a movement is on its way, and may pass a gate.
PASSING = ("started", "at_border", "offered", "handed_over")

_BODY_HEADER = cbor.encode({CONTENT_TYPE: PASS_TYPE})
_NAMES = (
    "as_of_s",
    "containers",
    "custody",
    "declarations",
    "entry_post",
    "exit_post",
    "mrn",
    "origin",
    "root",
    "seals",
    "size",
    "state",
    "truck",
    "truck_keys",
    "until_s",
    "vehicle",
)


@dataclass(frozen=True, slots=True)
class PassedDeclaration:
    """A declaration of the movement, as it stands. `planned`: the version that the movement was planned with."""

    ucr: str
    planned: int
    version: int
    status: str
    recognition: str
    recognised: int  # the version that the recognition is of

    def objection(self) -> str | None:
        """Why a movement with it may not pass; None if it may."""
        if self.status != RELEASED:
            return f"declaration {self.ucr} is {self.status}: expected {RELEASED}"
        if self.recognition != RECOGNISED:
            return f"recognition of declaration {self.ucr} is {self.recognition}: expected {RECOGNISED}"
        if self.recognised != self.version or self.planned != self.version:
            return (
                f"declaration {self.ucr} has version {self.version}: recognised is {self.recognised}, "
                f"planned with was {self.planned}"
            )
        return None


@dataclass(frozen=True, slots=True)
class PassFacts:
    """What a pass says."""

    origin: str  # of the log
    size: int  # the final checkpoint: its size and root
    root: bytes
    as_of_s: int  # when the validators looked, Unix seconds
    until_s: int
    mrn: str
    state: str
    custody: str  # the authority
    exit_post: str
    entry_post: str
    truck: str  # participant id of the vehicle's computer
    truck_keys: tuple[bytes, ...]  # thumbprints of its keys in force
    vehicle: str
    containers: tuple[str, ...]
    seals: tuple[str, ...]  # in force
    declarations: tuple[PassedDeclaration, ...]

    def encode(self) -> bytes:
        """Return the payload of a pass."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        values["declarations"] = [
            [each.ucr, each.planned, each.version, each.status, each.recognition, each.recognised]
            for each in self.declarations
        ]
        return cbor.encode({name: list(v) if type(v) is tuple else v for name, v in values.items()})


@dataclass(frozen=True, slots=True)
class CrossingPass:
    """A pass, parsed. `signatures` are thumbprints of keys, and what those claim to have signed."""

    facts: PassFacts
    signatures: tuple[tuple[bytes, bytes], ...]

    def encode(self) -> bytes:
        """Return the pass as a file. Misuse if it breaks a rule of the format."""
        signers: list[cbor.Encodable] = [[_signer_header(kid), {}, signature] for kid, signature in self.signatures]
        raw = PASS_START[:2] + cbor.encode([_BODY_HEADER, {}, self.facts.encode(), signers])
        try:
            parse_pass(raw)
        except Malformed as error:
            raise Misuse(f"no such pass can be: {error}") from error
        return raw


# --- making ----------------------------------------------------------------------------------------------------------


def objections(facts: PassFacts) -> list[str]:
    """Why the movement may not pass, in plain words; none if it may."""
    found = []
    if facts.state not in PASSING:
        found.append(f"movement {facts.mrn} is {facts.state}: expected {', '.join(PASSING)}")
    if not facts.truck_keys:
        found.append(f"truck {facts.truck} has no key in force: it is suspended, or its keys have ended")
    return found + [why for each in facts.declarations if (why := each.objection()) is not None]


def pass_message(payload: bytes, kid: bytes) -> bytes:
    """Return what a validator signs: the Sig_structure of one signer of a COSE_Sign."""
    return cbor.encode(["Signature", _BODY_HEADER, _signer_header(kid), b"", payload])


def sign_pass(key: NoteSigner, facts: PassFacts) -> tuple[bytes, bytes]:
    """Return a validator's thumbprint and signature. Misuse for facts with which nothing may pass."""
    refused = objections(facts)
    if refused:
        raise Misuse(f"no pass may be signed: {'; '.join(refused)}")
    kid = kid_of(key.public_key)
    return kid, key.sign(pass_message(facts.encode(), kid))


def _signer_header(kid: bytes) -> bytes:
    return cbor.encode({ALG: EDDSA, KID: kid})


# --- reading ---------------------------------------------------------------------------------------------------------


def _bad(message: str) -> Malformed:
    return Malformed("bad_pass", message)


def parse_pass(data: bytes) -> CrossingPass:
    """Return the pass that the bytes are; Malformed unless they are its one spelling. Nothing is verified."""
    if len(data) > MAX_PASS_BYTES:
        raise Malformed("too_large", f"pass is too large: expected at most {MAX_PASS_BYTES} bytes, got {len(data)}")
    if data[:2] != PASS_START[:2]:
        raise Malformed("wrong_tag", f"pass must start with tag 98 (cose_sign): got {data[:2].hex() or 'nothing'}")
    items = cbor.decode(data[2:], max_bytes=MAX_PASS_BYTES)
    if type(items) is not list or len(items) != 4:
        raise _bad("pass must be an array of four")
    body, unprotected, payload, signers = items
    if body != _BODY_HEADER or unprotected != {}:
        raise _bad(f"pass must have the content type {PASS_TYPE}, and nothing else, in its header")
    if type(payload) is not bytes or type(signers) is not list:
        raise _bad("pass must have a payload and an array of signatures")
    signatures = tuple(_parse_signer(each) for each in signers)
    check_kids("bad_pass", [kid for kid, _ in signatures])
    return CrossingPass(parse_facts(payload), signatures)


def _parse_signer(value: cbor.Value) -> tuple[bytes, bytes]:
    if type(value) is not list or len(value) != 3 or type(value[0]) is not bytes or value[1] != {}:
        raise _bad("signature of a pass must be an array of header, empty map and signature")
    header = members("bad_pass", "header of a signature", value[0], {ALG, KID}, MAX_PASS_HEADER_BYTES)
    kid, signature = header[KID], value[2]
    if header[ALG] != EDDSA or type(kid) is not bytes:
        raise _bad(f"signature of a pass must be of algorithm {EDDSA} and name a kid")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise _bad(f"signature of a pass must be {SIGNATURE_BYTES} bytes")
    return kid, signature


def parse_facts(payload: bytes) -> PassFacts:
    """Return the facts that a payload is; Malformed unless it is their one spelling."""
    values = cbor.decode(payload, max_bytes=MAX_PASS_BYTES)
    if type(values) is not dict or values.keys() != set(_NAMES):
        raise _bad(f"facts of a pass must be a map of exactly {', '.join(_NAMES)}")
    as_of_s = _number(values, "as_of_s", MAX_TIME_S)
    until_s = _number(values, "until_s", MAX_TIME_S)
    if not as_of_s < until_s <= as_of_s + 60 * MAX_PASS_MINUTES:
        raise _bad(f"pass must count for 1 to {60 * MAX_PASS_MINUTES} s: got {until_s - as_of_s}")
    origin = _text(values, "origin")
    if not is_key_name(origin):
        raise _bad(f"origin must be usable as a key name: got {origin[:80]!r}")
    return PassFacts(
        origin=origin,
        size=_number(values, "size", MAX_TREE_SIZE),
        root=_octets(values["root"], HASH_BYTES, "root"),
        as_of_s=as_of_s,
        until_s=until_s,
        mrn=_identifier(parse_mrn, values, "mrn"),
        state=_text(values, "state"),
        custody=_text(values, "custody"),
        exit_post=_text(values, "exit_post"),
        entry_post=_text(values, "entry_post"),
        truck=_identifier(parse_participant_id, values, "truck"),
        truck_keys=tuple(
            _octets(each, KID_BYTES, "truck_keys") for each in _array(values, "truck_keys", MAX_TRUCK_KEYS)
        ),
        vehicle=_identifier(parse_vehicle, values, "vehicle"),
        containers=_identifiers(parse_container, values, "containers", MAX_CONTAINERS),
        seals=_identifiers(parse_seal, values, "seals", MAX_SEALS),
        declarations=tuple(_declaration(each) for each in _array(values, "declarations", MAX_DECLARATIONS)),
    )


def _number(values: dict[str | int, cbor.Value], name: str, highest: int) -> int:
    value = values[name]
    if type(value) is not int or not 1 <= value <= highest:
        raise _bad(f"{name} must be 1 to {highest}: got {value!r:.40}")
    return value


def _text(values: dict[str | int, cbor.Value], name: str) -> str:
    value = values[name]
    if type(value) is not str or not 1 <= len(value) <= MAX_TEXT_CHARS or not value.isprintable():
        raise _bad(f"{name} must be 1 to {MAX_TEXT_CHARS} printable characters")
    return value


def _octets(value: cbor.Value, length: int, name: str) -> bytes:
    if type(value) is not bytes or len(value) != length:
        raise _bad(f"{name} must be {length} bytes")
    return value


def _array(values: dict[str | int, cbor.Value], name: str, most: int) -> list[cbor.Value]:
    value = values[name]
    if type(value) is not list or len(value) > most:
        raise _bad(f"{name} must be an array of at most {most}")
    return value


def _parsed(parse: Callable[[str], object], value: cbor.Value, name: str) -> str:
    try:
        if type(value) is str and len(value) <= MAX_TEXT_CHARS:
            parse(value)
            return value
    except IdentifierError as error:
        raise _bad(f"{name}: {error}") from error
    raise _bad(f"{name} must be text of at most {MAX_TEXT_CHARS} characters")


def _identifier(parse: Callable[[str], object], values: dict[str | int, cbor.Value], name: str) -> str:
    return _parsed(parse, values[name], name)


def _identifiers(
    parse: Callable[[str], object], values: dict[str | int, cbor.Value], name: str, most: int
) -> tuple[str, ...]:
    found = tuple(_parsed(parse, each, name) for each in _array(values, name, most))
    if len(set(found)) != len(found):
        raise _bad(f"{name}: one stands twice")
    return found


def _declaration(value: cbor.Value) -> PassedDeclaration:
    if type(value) is not list or len(value) != 6:
        raise _bad("a declaration of a pass must be an array of six")
    ucr, planned, version, status, recognition, recognised = value
    named: dict[str | int, cbor.Value] = {"status": status, "recognition": recognition}
    numbers = []
    for name, number in (("planned", planned), ("version", version), ("recognised", recognised)):
        if type(number) is not int or not 0 <= number <= MAX_TREE_SIZE:
            raise _bad(f"{name} version of a declaration must be a number: got {number!r:.40}")
        numbers.append(number)
    return PassedDeclaration(
        _parsed(parse_ucr, ucr, "ucr"),
        numbers[0],
        numbers[1],
        _text(named, "status"),
        _text(named, "recognition"),
        numbers[2],
    )


# --- verifying -------------------------------------------------------------------------------------------------------


def verify_signatures(crossing: CrossingPass, policy: Policy) -> tuple[str, ...]:
    """Return the witnesses of a policy that signed; Untrue unless all of known keys hold and they are enough."""
    check_log(policy, crossing.facts.origin)
    payload = crossing.facts.encode()
    names = []
    for kid, signature in crossing.signatures:
        witness = witness_of(policy, kid)
        if witness is not None:
            witness.key.verify(pass_message(payload, kid), signature)
            names.append(witness.name)
    check_enough(policy, names)
    return tuple(names)


def verify_pass(crossing: CrossingPass, policy: Policy, at_s: int) -> tuple[str, ...]:
    """Return who signed a pass that counts at a time; Untrue, with a code for each way in which it does not."""
    names = verify_signatures(crossing, policy)
    check_time(crossing.facts, at_s)
    refused = objections(crossing.facts)
    if refused:
        raise Untrue("may_not_pass", "; ".join(refused))
    return names


def check_time(facts: PassFacts, at_s: int) -> None:
    """Raise Untrue unless the pass counts at this time."""
    if at_s > facts.until_s:
        raise Untrue("pass_expired", f"pass expired {at_s - facts.until_s} s ago")
    if at_s < facts.as_of_s - MAX_GATE_BEHIND_S:
        raise Untrue(
            "pass_not_yet_valid", f"pass is not valid for another {facts.as_of_s - at_s} s: is the clock right?"
        )


def check_seen(what: str, said: Sequence[str], seen: Sequence[str]) -> None:
    """Raise Untrue unless a gate has seen exactly what the pass says."""
    if sorted(said) != sorted(seen):
        expected, got = (", ".join(sorted(each)) or "none" for each in (said, seen))
        raise Untrue("other_" + what, f"pass is for other {what}: expected {expected}, got {got}")
