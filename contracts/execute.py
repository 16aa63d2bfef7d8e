"""The kernel: a block of statements against the state, in order, giving outcomes and changes.

Pure: (state, block time, height, statements) decide all; no clock, no randomness, no iteration over anything unordered.
Facts that refuse a statement are looked for in this order, and the first found is the outcome: kind, subject and
payload; issuer; key; signature; role; side; `iat`; existence of the record; transition; guards in the order of the row.
A rejected statement changes nothing. An exception other than that of a bad signature is a bug and is not caught.

Whether a statement was seen before (`already_accepted`, `cti_reused`) is for the holder of the chain's indexes to say,
before it comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from contracts.amending import amended
from contracts.catalogue import ALWAYS, CONTRACT_NAMES, CONTRACTS
from contracts.deadlines import due_at, first_deadline_s, lift_deadline, next_deadline_ms
from contracts.governance import fire_heights
from contracts.governance_record import ROOT as GOVERNED
from contracts.identifiers import IdentifierError, parse_participant_id
from contracts.machine import ABSENT, REGISTRAR, Context, Contract, ContractBug, Lapse, Machine, Transition, Who
from contracts.outcome import Outcome
from contracts.parameters import encode_parameter, genesis_parameters, parameter_key, read_parameters
from contracts.registry import (
    ACTIVE,
    AuthorityRecord,
    Key,
    Participant,
    authority_key,
    key_index_key,
    key_refusal,
    load_participant,
    participant_key,
)
from contracts.releases import check_release
from contracts.schema import PayloadError, Schema
from contracts.working import StateView, Working
from ledger.algorithms import PublicKey
from ledger.cbor import encode
from ledger.entry import Genesis
from ledger.errors import Misuse, Untrue
from ledger.statement import Statement

__all__ = ["BlockExecution", "genesis_state", "next_deadline_ms"]

MAX_REMEMBERED_SUBJECTS = 4096
MAX_REMEMBERED_RULES = 64

CheckSignature = Callable[[Statement, PublicKey], None]


@dataclass(frozen=True, slots=True)
class _Event:
    """What the kernel knows of one kind of statement before it has one."""

    contract: Contract
    machine: Machine
    name: str
    schema: Schema
    who: tuple[Who, ...]
    roles: frozenset[str]
    creates: Transition | None


def _events_of(contract: Contract) -> dict[str, _Event]:
    events = {}
    for machine in contract.machines:
        for name in dict.fromkeys(event for _, event in machine.transitions):
            who = next(row.who for (_, event), row in machine.transitions.items() if event == name)
            kind = f"{contract.name}.{name}"
            events[kind] = _Event(
                contract,
                machine,
                name,
                contract.schemas[name],
                who,
                frozenset(each.role for each in who),
                machine.transitions.get((ABSENT, name)),
            )
    return events


_EVENTS = {key: _events_of(contract) for key, contract in CONTRACTS.items()}


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the contracts of a block, each in its version, know together."""

    contracts: dict[str, Contract]
    events: dict[str, _Event]
    unknown: frozenset[str]  # contracts in a version that this program does not have


@lru_cache(MAX_REMEMBERED_RULES)
def _rules_of(versions: tuple[int | None, ...]) -> _Rules:
    """The rules of a block that has the contracts of `CONTRACT_NAMES` in these versions, None for one it has not."""
    contracts: dict[str, Contract] = {}
    events: dict[str, _Event] = {}
    unknown = set()
    for name, version in zip(CONTRACT_NAMES, versions, strict=True):
        if version is None:
            continue
        if (name, version) in CONTRACTS:
            contracts[name] = CONTRACTS[(name, version)]
            events.update(_EVENTS[(name, version)])
        else:
            unknown.add(name)
    return _Rules(contracts, events, frozenset(unknown))


@lru_cache(MAX_REMEMBERED_SUBJECTS)
def _check_subject(parse: Callable[[str], object], sub: str) -> None:
    """Raise IdentifierError unless `sub` parses. What parsed once is remembered: a movement has many statements."""
    parse(sub)


def contract_key(name: str) -> str:
    return f"contract/{name}"


def genesis_state(genesis: Genesis) -> dict[str, bytes]:
    """The records with which the state begins. Misuse if the genesis names what this program does not know."""
    state: dict[str, bytes] = {}
    for name, version in genesis.contracts.items():
        if (name, version) not in CONTRACTS:
            raise Misuse(f"genesis names an unknown contract: got {name} version {version}")
    for name in CONTRACT_NAMES:
        if name in ALWAYS or name in genesis.contracts:
            state[contract_key(name)] = encode([genesis.contracts.get(name, 1)])
    if "governance" in genesis.contracts:
        names = [authority.name for authority in genesis.authorities]
        state[GOVERNED] = encode([sha256(genesis.encode()).hexdigest(), *names])
    for name, value in genesis_parameters(genesis.parameters).items():
        state[parameter_key(name)] = encode_parameter(value)
    for authority in genesis.authorities:
        key = PublicKey.from_cose_key(authority.registrar_key)
        try:
            registrar = parse_participant_id(authority.registrar_id)
        except IdentifierError as error:
            raise Misuse(f"genesis names a registrar that cannot be: {error}") from error
        if registrar.namespace not in (authority.name, authority.country.lower()):
            raise Misuse(f"registrar is not in the namespace of {authority.name}: got {authority.registrar_id}")
        state[authority_key(authority.name)] = AuthorityRecord(
            authority.name, authority.country, authority.registrar_id, authority.log_key, authority.ca_sha256
        ).encode()
        state[key_index_key(key.kid)] = encode([authority.registrar_id])
        state[participant_key(authority.registrar_id)] = Participant(
            id=authority.registrar_id,
            authority=authority.name,
            country=authority.country,
            roles=(REGISTRAR,),
            enrolled_by=authority.registrar_id,
            enrolled_ms=genesis.time_ms,
            statement=None,
            description="registrar named by the genesis record",
            keys=(
                Key(
                    key.kid,
                    key.alg,
                    key.cose_key,
                    genesis.time_ms,
                    None,
                    ACTIVE,
                    genesis.time_ms,
                    authority.registrar_id,
                    None,
                ),
            ),
        ).encode()
    return state


class BlockExecution:
    """One block: `begin` fires what is due, `execute` takes statements in order, `changes` is what to write.

    `height` is the one that the block record will have, if there is one: 1 for the first after genesis. Raises
    ReleaseNeeded, as `begin` does, where this program does not have what is in force already.
    """

    def __init__(self, state: StateView, time_ms: int, height: int) -> None:
        self._working = Working(state)
        self._time_ms = time_ms
        self._height = height
        self._state = state
        # A state that came as a snapshot may be beyond this program: its records are nothing to be guessed at.
        check_release(self._working)
        self._parameters = read_parameters(state.get)
        self._rules = self._rules_now()
        self._begun = False
        self.fired = 0
        self.late = 0  # accepted, though dated further from the block time than the soft limit of skew
        self.detail: str | None = None

    @property
    def changes(self) -> dict[str, bytes | None]:
        """What the block writes: a new value, or None for a key that goes."""
        return self._working.changes()

    def _rules_now(self) -> _Rules:
        rows = [self._working.row(contract_key(name)) for name in CONTRACT_NAMES]
        return _rules_of(tuple(int(row[0]) if row else None for row in rows))

    def begin(self) -> None:
        """Bring into force what is to hold from this height on, then fire what is due, in order of time.

        Again does nothing. Raises ReleaseNeeded where this program does not have what is in force: nothing may be
        decided here, and nothing signed. A block that could not begin has not begun: whoever asks again hears it again.
        """
        if self._begun:
            return
        self.fired += fire_heights(self._working, self._height, self._time_ms)
        if self.fired:
            changes = self._working.changes()
            self._parameters = read_parameters(lambda key: changes[key] if key in changes else self._state.get(key))
            self._rules = self._rules_now()
        check_release(self._working)
        while (due_s := first_deadline_s(self._working)) is not None and due_s * 1000 <= self._time_ms:
            for record_key in due_at(self._working, due_s):
                self._fire(record_key, due_s)
                self.fired += 1
        self._begun = True

    def _fire(self, record_key: str, due_s: int) -> None:
        """Move a record whose deadline has passed. A deadline that no record has is a bug, not an event."""
        name, _, subject = record_key.partition("/")
        contract = self._rules.contracts.get(name)
        deadlines = None if contract is None else contract.deadlines
        if contract is None or deadlines is None:
            raise ContractBug(f"deadline {due_s} of {record_key}: no contract of this ledger has it")
        machine = next(each for each in contract.machines if each.name == deadlines.machine)
        record = contract.record.load(self._working, subject)
        state = None if record is None else machine.state_of(record, {})
        rule = deadlines.rules.get(state) if isinstance(state, str) else None
        if record is None or rule is None or deadlines.due_s(record) != due_s:
            raise ContractBug(f"deadline {due_s} of {record_key} is not that of the record: got {record!r:.200}")
        lift_deadline(self._working, due_s, record_key)
        moved = rule.effect(Lapse(self._working, self._parameters, self._time_ms, self._height, due_s, rule, record))
        reached = machine.state_of(moved, {})
        if reached != rule.to:
            raise ContractBug(f"deadline of {record_key} ends in {reached!r}: the table has {rule.to}")
        self._working.put(record_key, moved)

    def execute(self, statement: Statement, check_signature: CheckSignature) -> Outcome:
        """Take one statement. Of a refused payload, `detail` then says which field, what was expected, what got."""
        self.begin()
        self.detail = None
        event = self._rules.events.get(statement.kind)
        if event is None:
            known = statement.kind.partition(".")[0] in self._rules.unknown
            return Outcome.CONTRACT_VERSION_UNKNOWN if known else Outcome.KIND_UNKNOWN
        try:
            _check_subject(event.contract.subject.parse, statement.sub)
            event.schema.check("", statement.payload)  # type: ignore[arg-type]
        except IdentifierError as error:
            self.detail = f"sub: {error}"
            return Outcome.SUBJECT_INVALID
        except PayloadError as error:
            self.detail = str(error)
            return error.outcome
        issuer = load_participant(self._working, statement.iss)
        if issuer is None:
            return Outcome.ISSUER_UNKNOWN
        refusal = self._check_key(issuer, statement, check_signature)
        if refusal is not None:
            return refusal
        return self._transact(event, statement, issuer)

    def _check_key(self, issuer: Participant, statement: Statement, check_signature: CheckSignature) -> Outcome | None:
        key = issuer.key(statement.kid)
        refusal = key_refusal(key, self._time_ms)
        if refusal is not None or key is None:
            return refusal
        public = PublicKey.from_cose_key(key.cose_key)
        if statement.alg != public.alg:
            return Outcome.SIGNATURE_INVALID
        try:
            check_signature(statement, public)
        except Untrue as error:
            self.detail = str(error)
            return Outcome.SIGNATURE_INVALID
        return None

    def _transact(self, event: _Event, statement: Statement, issuer: Participant) -> Outcome:
        if event.roles.isdisjoint(issuer.roles):
            return Outcome.ROLE_NOT_ALLOWED
        contract, machine = event.contract, event.machine
        payload: Any = statement.payload
        record = contract.record.load(self._working, statement.sub)
        ctx = Context(self._working, self._parameters, self._time_ms, self._height, statement, payload, issuer, record)
        if record is not None or event.creates is not None:
            roles = issuer.roles
            for each in event.who:
                if each.role in roles and each.side(ctx):
                    break
            else:
                return Outcome.SIDE_NOT_ALLOWED
        age_ms = self._time_ms - statement.iat_s * 1000
        if age_ms > self._parameters.iat_skew_hard_s * 1000:
            return Outcome.IAT_TOO_OLD
        if -age_ms > self._parameters.iat_skew_hard_s * 1000:
            return Outcome.IAT_IN_FUTURE
        if record is None:
            if event.creates is None:
                return contract.unknown
            state = ABSENT
        elif event.creates is not None:
            return contract.exists
        else:
            found = machine.state_of(record, payload)
            if isinstance(found, Outcome):
                return found
            state = found
        row = machine.transitions.get((state, event.name))
        if row is None:
            return machine.not_allowed
        for guard in row.guards:
            refusal = guard(ctx)
            if refusal is not None:
                return refusal
        self._apply(event, row, ctx, age_ms)
        return Outcome.ACCEPTED

    def _apply(self, event: _Event, row: Transition, ctx: Context, age_ms: int) -> None:
        record = row.effect(ctx)
        reached = event.machine.state_of(record, ctx.payload)
        if reached not in row.to:
            raise ContractBug(f"{ctx.statement.kind} ends in {reached!r}: the table has {', '.join(row.to)}")
        key = event.contract.record.key(ctx.statement.sub)
        if abs(age_ms) > self._parameters.iat_skew_soft_s * 1000:
            record = amended(record, flagged=record.flagged + 1)
            self.late += 1
            self._flag(ctx.issuer.id, key)
        self._working.put(key, record)

    def _flag(self, issuer: str, key: str) -> None:
        """Count it with whoever signed it as well: a clock that is wrong is wrong about every record it signs on."""
        own = participant_key(issuer)
        participant = load_participant(self._working, issuer)
        if participant is not None and own != key:
            self._working.put(own, participant.amended(flagged=participant.flagged + 1))
