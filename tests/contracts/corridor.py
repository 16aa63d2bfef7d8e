"""A small corridor for the contract tests: two authorities, a cast of participants, and a ledger kept in a dict.

Signatures are checked by a stand-in that compares the key: that real signatures verify is the ledger's to test, and
`test_execute` runs real ones through the kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from contracts.advice import kinds_by_outcome
from contracts.declaration_record import Declaration, load_declaration
from contracts.execute import BlockExecution, genesis_state
from contracts.identifiers import iso6346_check_digit
from contracts.movement import Movement, load_movement
from contracts.outcome import Outcome
from contracts.registry import Participant, load_participant
from contracts.working import Working
from ledger.algorithms import EDDSA, PrivateKey, PublicKey
from ledger.cbor import encode
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator
from ledger.errors import Untrue
from ledger.statement import Statement

START_MS = 1_790_000_000_000
OPEN_MS = START_MS + 60_000  # everybody is enrolled
FAKE_PROTECTED_END = 2
FIRST_OF_A_CONTRACT = 130
MET_BY = kinds_by_outcome()

# id -> (authority's registrar, roles)
CAST: dict[str, tuple[str, tuple[str, ...]]] = {
    "kz-kgd/officer": ("kz-kgd/registrar", ("customs.officer",)),
    "kz-kgd/system": ("kz-kgd/registrar", ("customs.system",)),
    "kz/terminal/bakhty": ("kz-kgd/registrar", ("terminal",)),
    "kz/declarant/agro": ("kz-kgd/registrar", ("declarant",)),
    "kz/declarant/other": ("kz-kgd/registrar", ("declarant",)),
    "kz/carrier/steppe": ("kz-kgd/registrar", ("carrier",)),
    "kz/truck/t-001": ("kz-kgd/registrar", ("truck",)),
    "kz/truck/t-002": ("kz-kgd/registrar", ("truck",)),
    "kz/eseal/e-1": ("kz-kgd/registrar", ("eseal",)),
    "kz/eseal/e-2": ("kz-kgd/registrar", ("eseal",)),
    "kz/auditor": ("kz-kgd/registrar", ("auditor",)),
    "cn-gacc/officer": ("cn-gacc/registrar", ("customs.officer",)),
    "cn-gacc/system": ("cn-gacc/registrar", ("customs.system",)),
    "cn/terminal/baketu": ("cn-gacc/registrar", ("terminal",)),
    "cn/declarant/mill": ("cn-gacc/registrar", ("declarant",)),
    "cn/carrier/silk": ("cn-gacc/registrar", ("carrier",)),
}
EVERYONE = ("kz-kgd/registrar", "cn-gacc/registrar", *CAST)

HOLD = "ABC0000001"
ESEAL_ID = "KZE0000001"
PHOTO = bytes(32)
BASIS = {"agreement": "Smart Customs pilot", "article": "4", "effective": "2025-07-01"}


def key_of(seed: str) -> PublicKey:
    """A public key of a name: always the same one. Ed25519 secrets are any 32 bytes."""
    return PrivateKey.from_pem(_pem(seed)).public


def _pem(seed: str) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = Ed25519PrivateKey.from_private_bytes(sha256(seed.encode()).digest())
    return secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


KEYS = {name: key_of(name) for name in EVERYONE}


def raw_ed25519(seed: str) -> bytes:
    return key_of(seed).material


def genesis(**parameters: int | str) -> Genesis:
    def authority(name: str, country: str) -> GenesisAuthority:
        return GenesisAuthority(
            name=name,
            country=country,
            log_key=raw_ed25519(f"{name} log"),
            ca_sha256=sha256(name.encode()).digest(),
            registrar_id=f"{name}/registrar",
            registrar_key=KEYS[f"{name}/registrar"].cose_key,
            validators=(GenesisValidator(f"{name}-1", raw_ed25519(f"{name}-1")),),
        )

    return Genesis(
        origin="comity.example/bakhty-baketu",
        time_ms=START_MS,
        authorities=(authority("kz-kgd", "KZ"), authority("cn-gacc", "CN")),
        parameters=dict(parameters),
        contracts={"registry": 1, "declaration": 1, "escort": 2},
    )


def make_mrn(number: int, country: str = "KZ") -> str:
    body = f"26{country}{number:012}J"
    return body + str(iso6346_check_digit(body))


def make_container(number: int) -> str:
    body = f"CMTU{number:06}"
    return body + str(iso6346_check_digit(body))


def make_ucr(number: int) -> str:
    return f"KZ26-{number:06}"


def make_kz_number(number: int) -> str:
    return f"55301/221126/{number:07}"


def make_cn_number(number: int) -> str:
    return f"943020261{number:09}"


class FakeKeyCheck:
    """Stands in for the signature: the signature bytes of a fake statement are the kid of the key that made it."""

    def __call__(self, statement: Statement, key: PublicKey) -> None:
        if statement.signature != key.kid:
            raise Untrue("bad_signature", "made by another key")


CHECK = FakeKeyCheck()
_COUNTER = itertools.count(1)


def fake_statement(
    kind: str, iss: str, sub: str, payload: Mapping[str, Any], iat_s: int, key: PublicKey | None = None
) -> Statement:
    key = key or KEYS[iss]
    number = next(_COUNTER)
    raw = b"fake %d" % number
    decoded: Any = dict(payload)
    return Statement(
        raw,
        EDDSA,
        key.kid,
        kind,
        iss,
        sub,
        iat_s,
        number.to_bytes(16, "big"),
        decoded,
        key.kid,
        FAKE_PROTECTED_END,
    )


class DictState:
    """The state between blocks. `get` gives new bytes each time, as a store does."""

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self.records = dict(records)

    def get(self, key: str) -> bytes | None:
        raw = self.records.get(key)
        return None if raw is None else bytes(bytearray(raw))

    def write(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                del self.records[key]
            else:
                self.records[key] = value


def _enrolled(records: Mapping[str, bytes]) -> dict[str, bytes]:
    ledger = Ledger(DictState(records), START_MS)
    for name, (registrar, roles) in CAST.items():
        payload = {"key": KEYS[name].cose_key, "roles": list(roles)}
        outcome = ledger.send("registry.enrol", registrar, name, payload)
        if outcome is not Outcome.ACCEPTED:
            raise AssertionError((name, outcome))
    return ledger.state.records


@dataclass
class Ledger:
    """Blocks of one statement each, unless `block` is used."""

    state: DictState
    now_ms: int
    height: int = 1  # of the next block that leaves a trace
    last_changes: dict[str, bytes | None] = field(default_factory=dict)
    detail: str | None = None
    last_statement: Statement | None = None

    @classmethod
    def of_corridor(cls, **parameters: int | str) -> Ledger:
        if parameters:
            return cls(DictState(_enrolled(genesis_state(genesis(**parameters)))), OPEN_MS)
        return cls(DictState(_ENROLLED), OPEN_MS)

    def send(
        self,
        kind: str,
        iss: str,
        sub: str,
        payload: Mapping[str, Any],
        *,
        age_s: int = 0,
        key: PublicKey | None = None,
    ) -> Outcome:
        statement = fake_statement(kind, iss, sub, payload, self.now_ms // 1000 - age_s, key)
        self.last_statement = statement
        execution = BlockExecution(self.state, self.now_ms, self.height)
        execution.begin()
        before = execution.changes
        outcome = execution.execute(statement, CHECK)
        self.detail = execution.detail
        if outcome is not Outcome.ACCEPTED and execution.changes != before:
            raise AssertionError(f"{kind} was {outcome.fact} and changed {execution.changes}")
        if outcome >= FIRST_OF_A_CONTRACT and outcome in MET_BY and kind not in MET_BY[outcome]:
            raise AssertionError(f"{kind} was {outcome.fact}, which its contract does not declare")
        self.last_changes = execution.changes
        self.state.write(self.last_changes)
        self.height += outcome is Outcome.ACCEPTED or execution.fired > 0
        self.now_ms += 1000
        return outcome

    def must(self, kind: str, iss: str, sub: str, payload: Mapping[str, Any] | None = None) -> None:
        outcome = self.send(kind, iss, sub, payload or {})
        if outcome is not Outcome.ACCEPTED:
            raise AssertionError(f"{kind} by {iss}: {outcome.fact} ({self.detail})")

    def pass_time(self, seconds: int) -> int:
        """An empty block that much later; how many deadlines fired."""
        self.now_ms += seconds * 1000
        execution = BlockExecution(self.state, self.now_ms, self.height)
        execution.begin()
        self.state.write(execution.changes)
        self.height += execution.fired > 0
        return execution.fired

    def under(self, contract: str, version: int) -> Ledger:
        """From here on under this version of a contract, as after a proposal of both authorities."""
        self.state.records[f"contract/{contract}"] = encode([version])
        return self

    def copy(self) -> Ledger:
        return Ledger(DictState(self.state.records), self.now_ms, self.height)

    def declaration(self, ucr: str) -> Declaration:
        record = load_declaration(Working(self.state), ucr)
        if record is None:
            raise AssertionError(f"no declaration {ucr}")
        return record

    def movement(self, mrn: str) -> Movement:
        record = load_movement(Working(self.state), mrn)
        if record is None:
            raise AssertionError(f"no movement {mrn}")
        return record

    def participant(self, name: str) -> Participant:
        record = load_participant(Working(self.state), name)
        if record is None:
            raise AssertionError(f"no participant {name}")
        return record


UCR = make_ucr(1)
MRN = make_mrn(1)
BOX = make_container(1)
SEAL = "HS00000001"


def content(**changes: Any) -> dict[str, Any]:
    return {
        "consignor": "Agro Export LLP",
        "consignee": "Tacheng Flour Mill",
        "origin": "KZ",
        "destination": "CN",
        "gross_mass_g": 33_500_000,
        "goods": [{"hs": "100199", "description": "wheat", "mass_g": 33_000_000}],
        "containers": [BOX],
        **changes,
    }


def decision(version: int = 1, **more: Any) -> dict[str, Any]:
    return {"version": version, "reason": "checked", "legal_basis": BASIS, **more}


def plan(**changes: Any) -> dict[str, Any]:
    return {
        "declarations": [UCR],
        "truck": "kz/truck/t-001",
        "vehicle": "fleet/BKT-0001",
        "carrier": "kz/carrier/steppe",
        "receiver": "cn/carrier/silk",
        "containers": [BOX],
        "exit_post": "KZ/BAKHTY@46660000,82750000",
        "entry_post": "CNBKT",
        "route": ["KZ/BAKHTY@46660000,82750000", "CNBKT"],
        "corridor_m": 500,
        "limit_to_border_s": 3600,
        "limit_to_destination_s": 7200,
        **changes,
    }


def new_seals(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"id": SEAL, "class": "H", "container": BOX},
        {"id": ESEAL_ID, "class": "S", "container": BOX, "device": "kz/eseal/e-1"},
        *more,
    ]


def readings(*ids: str, state: str = "intact") -> list[dict[str, str]]:
    return [{"id": each, "state": state} for each in ids or (SEAL, ESEAL_ID)]


MASS = 33_400_000
FIX = {"at_ms": START_MS, "latitude_udeg": 46_660_000, "longitude_udeg": 82_750_000, "speed_mm_s": 12_000}

BATCH = {"sha256": PHOTO, "fixes": 60, "from_ms": 1, "until_ms": 2}

# The happy path, one line a statement: kind, issuer, payload.
DECLARATION_STEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("lodge", "kz/declarant/agro", {"home": "kz-kgd", "partner": "cn-gacc", "content": content()}),
    ("register", "kz-kgd/system", {}),
    ("accept", "kz-kgd/system", {"number": make_kz_number(1)}),
    ("release", "kz-kgd/officer", {}),
    ("recognise", "cn-gacc/officer", decision(number=make_cn_number(1))),
)
ESCORT_STEPS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    # the state it leads to, event, issuer, payload
    ("planned", "plan", "kz-kgd/system", plan()),
    ("loaded", "load", "kz/terminal/bakhty", {"containers": [BOX], "mass_g": MASS}),
    ("sealed", "seal", "kz/terminal/bakhty", {"seals": new_seals(), "photo_sha256": PHOTO}),
    ("started", "start", "kz-kgd/system", {}),
    ("started", "position", "kz/truck/t-001", {"fix": FIX}),
    ("started", "reach_border", "kz/truck/t-001", {"fix": FIX}),
    ("at_border", "reach_border", "kz/terminal/bakhty", {}),
    ("offered", "offer", "kz/terminal/bakhty", {"seals": readings(), "mass_g": MASS, "photo_sha256": PHOTO}),
    ("handed_over", "accept", "cn/terminal/baketu", {"seals": readings(), "mass_g": MASS + 10_000}),
    (
        "handed_over",
        "position",
        "kz/truck/t-001",
        {"batch": BATCH},
    ),
    ("arrived", "arrive", "cn/terminal/baketu", {}),
    ("discharged", "unload", "cn-gacc/officer", {"as_declared": True, "seals": readings(), "mass_g": MASS}),
)


def to_declaration(ledger: Ledger, last: str, ucr: str = UCR) -> Ledger:
    """Take the declaration along the happy path up to and with `last`."""
    for event, iss, payload in DECLARATION_STEPS:
        ledger.must(f"declaration.{event}", iss, ucr, payload)
        if event == last:
            break
    return ledger


def to_declaration_of(ledger: Ledger, ucr: str, containers: list[str], number: int) -> Ledger:
    """Another declaration, with its own containers and numbers, recognised."""
    numbers = {"accept": make_kz_number(number), "recognise": make_cn_number(number)}
    for event, iss, payload in DECLARATION_STEPS:
        changes: dict[str, Any] = {"content": content(containers=containers)} if event == "lodge" else {}
        changes |= {"number": numbers[event]} if event in numbers else {}
        ledger.must(f"declaration.{event}", iss, ucr, {**payload, **changes})
    return ledger


def to_movement(ledger: Ledger, state: str, mrn: str = MRN) -> Ledger:
    """Take the movement along the happy path until it first stands in `state`; its declaration must be recognised."""
    for reached, event, iss, payload in ESCORT_STEPS:
        ledger.must(f"escort.{event}", iss, mrn, payload)
        if reached == state:
            return ledger
    raise AssertionError(f"the happy path does not come to {state}")


_ENROLLED = _enrolled(genesis_state(genesis()))


def at(state: str, escort: int = 2) -> Ledger:
    """A corridor whose one movement stands in a state of the happy path."""
    return to_movement(to_declaration(Ledger.of_corridor().under("escort", escort), "recognise"), state)
