"""The three kinds of leaf: the genesis record, statements exactly as signed, and a block record after each block.

Promises: the kinds cannot be taken for one another: a statement begins with its COSE tag, the two records are maps
that begin with their type. Each has one spelling. A block record binds the block before it by its leaf hash, so that
records form a chain of their own, and the state root after it.

Does not: check that a record is true of the log it stands in (`ledger.audit` does), nor what the contracts make of
it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from ledger import cbor
from ledger.algorithms import PublicKey, eddsa
from ledger.errors import Malformed, Misuse
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE
from ledger.note import is_key_name
from ledger.statement import Statement, is_participant_id, parse_statement
from ledger.tiles import MAX_ENTRY_BYTES

GENESIS_TYPE = "comity.genesis.v1"
BLOCK_TYPE = "comity.block.v1"
MAX_BLOCK_RECORD_BYTES = 512
MAX_BLOCK_STATEMENTS = 65_536
MAX_TIME_MS = 253_402_300_799_999  # the last millisecond of the year 9999
MAX_AUTHORITIES = 16
MAX_VALIDATORS = 32  # of one authority
MAX_GENESIS_WITNESSES = 8
MAX_CA_CERTIFICATE_BYTES = 4096
MAX_PARAMETERS = 256
MAX_CONTRACTS = 64
MAX_NAME_CHARS = 64
MAX_PARAMETER_CHARS = 1024

_STATEMENT_START = 0xD2
_match_name = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII).fullmatch
_match_country = re.compile(r"[A-Z]{2}", re.ASCII).fullmatch

_Members: TypeAlias = dict[str | int, cbor.Value]


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """The entry that closes a block. Its own index in the log is first + count."""

    height: int  # 1 for the first block
    time_ms: int  # block time, Unix ms
    first: int  # index of the block's first statement, or of this record if it has none
    count: int  # statements in the block
    previous: bytes  # leaf hash of the block record before; of the genesis record at height 1
    state_root: bytes
    proposer: str  # the validator that led

    def encode(self) -> bytes:
        """Return the record as it stands in the log."""
        raw = cbor.encode(
            {
                "count": self.count,
                "first": self.first,
                "height": self.height,
                "previous": self.previous,
                "proposer": self.proposer,
                "state_root": self.state_root,
                "time_ms": self.time_ms,
                "type": BLOCK_TYPE,
            }
        )
        _misuse_unless_parses(BlockRecord.decode, raw)
        return raw

    @classmethod
    def decode(cls, raw: bytes) -> BlockRecord:
        """Return the record; Malformed unless the bytes are its one spelling."""
        members = _Reader("bad_block_record", "block record", cbor.decode(raw, max_bytes=MAX_BLOCK_RECORD_BYTES))
        members.exactly({"count", "first", "height", "previous", "proposer", "state_root", "time_ms", "type"})
        members.constant("type", BLOCK_TYPE)
        return cls(
            height=members.integer("height", 1, MAX_TREE_SIZE),
            time_ms=members.integer("time_ms", 0, MAX_TIME_MS),
            first=members.integer("first", 1, MAX_TREE_SIZE),
            count=members.integer("count", 0, MAX_BLOCK_STATEMENTS),
            previous=members.octets("previous", HASH_BYTES),
            state_root=members.octets("state_root", HASH_BYTES),
            proposer=members.name("proposer"),
        )


@dataclass(frozen=True, slots=True)
class GenesisValidator:
    """A validator at genesis: its name, also the key name of its cosignatures, and its cosigning key (Ed25519)."""

    name: str
    cosigner_key: bytes


@dataclass(frozen=True, slots=True)
class GenesisAuthority:
    """A customs authority at genesis."""

    name: str
    country: str  # ISO 3166-1 alpha-2
    log_key: bytes  # Ed25519, signs checkpoints under the origin
    ca_sha256: bytes  # of the authority's CA certificate, DER
    registrar_id: str
    registrar_key: bytes  # canonical COSE_Key
    validators: tuple[GenesisValidator, ...]

    def _members(self) -> dict[str, cbor.Encodable]:
        validators: list[dict[str, cbor.Encodable]] = [
            {"cosigner_key": each.cosigner_key, "name": each.name} for each in self.validators
        ]
        return {
            "ca_sha256": self.ca_sha256,
            "country": self.country,
            "log_key": self.log_key,
            "name": self.name,
            "registrar_id": self.registrar_id,
            "registrar_key": self.registrar_key,
            "validators": validators,
        }

    @classmethod
    def _parse(cls, value: cbor.Value) -> GenesisAuthority:
        members = _Reader("bad_genesis", "authority", value)
        members.exactly({"ca_sha256", "country", "log_key", "name", "registrar_id", "registrar_key", "validators"})
        country = members.text("country", 2)
        if not _match_country(country):
            raise members.error("country", "two capital letters", country)
        registrar_id = members.text("registrar_id", MAX_NAME_CHARS)
        if not is_participant_id(registrar_id):
            raise members.error("registrar_id", "a participant id", registrar_id)
        registrar_key = members.octets("registrar_key", None)
        PublicKey.from_cose_key(registrar_key)
        validators = []
        for item in members.items("validators", 1, MAX_VALIDATORS):
            validator = _Reader("bad_genesis", "validator", item)
            validator.exactly({"cosigner_key", "name"})
            validators.append(GenesisValidator(validator.name("name"), validator.ed25519("cosigner_key")))
        return cls(
            name=members.name("name"),
            country=country,
            log_key=members.ed25519("log_key"),
            ca_sha256=members.octets("ca_sha256", HASH_BYTES),
            registrar_id=registrar_id,
            registrar_key=registrar_key,
            validators=tuple(validators),
        )


@dataclass(frozen=True, slots=True)
class GenesisWitness:
    """A witness of the order at genesis: it votes for a neutral party, and cosigns nothing."""

    name: str
    party: str  # no authority's name
    ca_certificate: bytes  # of the party's own CA, DER

    @classmethod
    def _parse(cls, value: cbor.Value) -> GenesisWitness:
        members = _Reader("bad_genesis", "witness", value)
        members.exactly({"ca_certificate", "name", "party"})
        certificate = members.octets("ca_certificate", None)
        if not 0 < len(certificate) <= MAX_CA_CERTIFICATE_BYTES:
            expected = f"1 to {MAX_CA_CERTIFICATE_BYTES} bytes"
            raise members.error("ca_certificate", expected, f"{len(certificate)} bytes")
        return cls(members.name("name"), members.name("party"), certificate)


@dataclass(frozen=True, slots=True)
class Genesis:
    """Entry 0: what the authorities agreed on before the first block."""

    origin: str
    time_ms: int  # Unix ms
    authorities: tuple[GenesisAuthority, ...]
    parameters: dict[str, int | str]
    contracts: dict[str, int]  # name to version in force
    witnesses: tuple[GenesisWitness, ...] = ()  # the member is absent where there is none

    def encode(self) -> bytes:
        """Return the record as it stands in the log."""
        members: dict[str, cbor.Encodable] = {
            "authorities": [authority._members() for authority in self.authorities],
            "contracts": self.contracts,
            "origin": self.origin,
            "parameters": self.parameters,
            "time_ms": self.time_ms,
            "type": GENESIS_TYPE,
        }
        if self.witnesses:
            witnesses: list[dict[str, cbor.Encodable]] = [
                {"ca_certificate": each.ca_certificate, "name": each.name, "party": each.party}
                for each in self.witnesses
            ]
            members["witnesses"] = witnesses
        raw = cbor.encode(members)
        _misuse_unless_parses(Genesis.decode, raw)
        return raw

    @classmethod
    def decode(cls, raw: bytes) -> Genesis:
        """Return the record; Malformed unless the bytes are its one spelling and no name or key stands twice."""
        members = _Reader("bad_genesis", "genesis record", cbor.decode(raw, max_bytes=MAX_ENTRY_BYTES))
        required = {"authorities", "contracts", "origin", "parameters", "time_ms", "type"}
        members.exactly(required | {"witnesses"} if members.has("witnesses") else required)
        members.constant("type", GENESIS_TYPE)
        origin = members.text("origin", 255)
        if not is_key_name(origin):
            raise members.error("origin", "text usable as a key name", origin)
        contracts: dict[str, int] = {}
        for name, version in members.mapping("contracts", MAX_CONTRACTS):
            if type(version) is not int or not 1 <= version <= 0xFFFF:
                raise members.error("contracts", f"a version of 1 to 65535 for {name}", version)
            contracts[name] = version
        parameters: dict[str, int | str] = {}
        for name, value in members.mapping("parameters", MAX_PARAMETERS):
            if type(value) is int or (type(value) is str and len(value) <= MAX_PARAMETER_CHARS):
                parameters[name] = value
            else:
                raise members.error("parameters", f"an integer or a short text for {name}", value)
        authorities = tuple(GenesisAuthority._parse(item) for item in members.items("authorities", 1, MAX_AUTHORITIES))
        witnesses: tuple[GenesisWitness, ...] = ()
        if members.has("witnesses"):
            witnesses = tuple(
                GenesisWitness._parse(item) for item in members.items("witnesses", 1, MAX_GENESIS_WITNESSES)
            )
        _check_distinct(authorities, witnesses)
        return cls(origin, members.integer("time_ms", 0, MAX_TIME_MS), authorities, parameters, contracts, witnesses)


def _check_distinct(authorities: tuple[GenesisAuthority, ...], witnesses: tuple[GenesisWitness, ...]) -> None:
    """Two authorities that share a name, a country or any key would not be two."""
    validators = [validator for authority in authorities for validator in authority.validators]
    groups: dict[str, list[str] | list[bytes]] = {
        "authority name": [authority.name for authority in authorities],
        "country": [authority.country for authority in authorities],
        "registrar id": [authority.registrar_id for authority in authorities],
        "registrar key": [authority.registrar_key for authority in authorities],
        "validator name": [validator.name for validator in validators] + [witness.name for witness in witnesses],
        "log or cosigner key": [a.log_key for a in authorities] + [v.cosigner_key for v in validators],
        "ca certificate": [authority.ca_sha256 for authority in authorities],
    }
    for what, values in groups.items():
        if len(set(values)) != len(values):
            raise Malformed("bad_genesis", f"{what} stands twice in the genesis record")
    if len({witness.party for witness in witnesses} | set(groups["authority name"])) != len(authorities) + len(
        witnesses
    ):
        raise Malformed("bad_genesis", "party of a witness stands twice or is an authority: expected neutral parties")
    if len({witness.ca_certificate for witness in witnesses}) != len(witnesses):
        raise Malformed("bad_genesis", "ca certificate of a witness stands twice in the genesis record")


def parse_entry(raw: bytes) -> Genesis | Statement | BlockRecord:
    """Return what the entry is; Malformed unless it is the one spelling of one of the three kinds."""
    if raw[:1] == bytes((_STATEMENT_START,)):
        return parse_statement(raw)
    members = cbor.decode(raw, max_bytes=MAX_ENTRY_BYTES)
    kind = members.get("type") if type(members) is dict else None
    if kind == BLOCK_TYPE:
        return BlockRecord.decode(raw)
    if kind == GENESIS_TYPE:
        return Genesis.decode(raw)
    raise Malformed("unknown_entry", f"entry is of no known kind: got type {kind!r:.80}")


def _misuse_unless_parses(decode: object, raw: bytes) -> None:
    try:
        decode(raw)  # type: ignore[operator]
    except Malformed as error:
        raise Misuse(f"no such record can be: {error}") from error


class _Reader:
    """A decoded map, read member by member: each either has the type and range asked for or is Malformed."""

    def __init__(self, code: str, what: str, value: cbor.Value) -> None:
        self._code = code
        self._what = what
        if type(value) is not dict:
            raise Malformed(code, f"{what} must be a map: got {type(value).__name__}")
        self._members: _Members = value

    def error(self, key: str, expected: str, got: object) -> Malformed:
        return Malformed(self._code, f"{key} of the {self._what} is wrong: expected {expected}, got {got!r:.120}")

    def has(self, key: str) -> bool:
        return key in self._members

    def exactly(self, keys: Collection[str]) -> None:
        if self._members.keys() != keys:
            got = ", ".join(repr(key)[:40] for key in list(self._members)[:16])
            raise Malformed(
                self._code, f"{self._what} must have exactly the members {', '.join(sorted(keys))}: got {got}"
            )

    def constant(self, key: str, expected: str) -> None:
        if self._members[key] != expected:
            raise self.error(key, expected, self._members[key])

    def integer(self, key: str, minimum: int, maximum: int) -> int:
        value = self._members[key]
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.error(key, f"an integer of {minimum} to {maximum}", value)
        return value

    def text(self, key: str, max_chars: int) -> str:
        value = self._members[key]
        if type(value) is not str or not 1 <= len(value) <= max_chars:
            raise self.error(key, f"text of 1 to {max_chars} characters", value)
        return value

    def name(self, key: str) -> str:
        value = self._members[key]
        if type(value) is not str or not _match_name(value):
            raise self.error(key, "1 to 64 of a-z0-9._-", value)
        return value

    def octets(self, key: str, length: int | None) -> bytes:
        value = self._members[key]
        if type(value) is not bytes or (length is not None and len(value) != length):
            raise self.error(key, "bytes" if length is None else f"{length} bytes", value)
        return value

    def ed25519(self, key: str) -> bytes:
        value = self.octets(key, eddsa.KEY_BYTES)
        try:
            eddsa.check_key(value)
        except Malformed as error:
            raise self.error(key, "an ed25519 key", value) from error
        return value

    def items(self, key: str, minimum: int, maximum: int) -> list[cbor.Value]:
        value = self._members[key]
        if type(value) is not list or not minimum <= len(value) <= maximum:
            raise self.error(key, f"an array of {minimum} to {maximum}", value)
        return value

    def mapping(self, key: str, max_count: int) -> list[tuple[str, cbor.Value]]:
        value = self._members[key]
        if type(value) is not dict or len(value) > max_count:
            raise self.error(key, f"a map of at most {max_count}", value)
        pairs = []
        for name, item in value.items():
            if type(name) is not str or not _match_name(name):
                raise self.error(key, "keys of 1 to 64 of a-z0-9._-", name)
            pairs.append((name, item))
        return pairs
