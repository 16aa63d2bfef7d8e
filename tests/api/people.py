"""Participants, declarations and movements as records of the state, made without a contract."""

from __future__ import annotations

import time
from dataclasses import replace

from contracts.declaration_record import Content, Declaration, Recognition
from contracts.movement import Custody, Movement, Plan
from contracts.registry import ACTIVE, Key, Participant
from ledger.algorithms import EDDSA, ES256, PrivateKey
from tests.api.fakes import FakeLedger

UCR = "26KZBKT/000123"
OTHER_UCR = "26KZBKT/000124"
MRNS = (
    "19GBCKKCQSXV2FGVA8",
    "26KZAAAAAAAAAAAAK4",
)
ROLES: dict[str, tuple[str, ...]] = {
    "kz-kgd/officer": ("customs.officer",),
    "cn-gacc/system": ("customs.system",),
    "kz/auditor": ("auditor",),
    "kz/declarant/astyk": ("declarant",),
    "kz/declarant/other": ("declarant",),
    "kz/carrier/sary": ("carrier",),
    "cn/carrier/receiver": ("carrier",),
    "kz/truck/t-001": ("truck",),
    "kz/truck/t-002": ("truck",),
    "kz/terminal/gate-1": ("terminal",),
    "kz/terminal/gate-2": ("terminal",),
    "cn/terminal/gate-101": ("terminal",),
}


def participant(
    participant_id: str, key: PrivateKey, roles: tuple[str, ...], *, state: str = ACTIVE, until_ms: int | None = None
) -> Participant:
    public = key.public
    enrolled = Key(public.kid, public.alg, public.cose_key, 0, until_ms, state, 0, "kz-kgd/registrar", None)
    authority = "kz-kgd" if participant_id.startswith("kz") else "cn-gacc"
    country = authority[:2].upper()
    return Participant(
        participant_id, authority, country, roles, "kz-kgd/registrar", 0, None, "a participant", (enrolled,)
    )


def enrol(ledger: FakeLedger, person: Participant) -> None:
    ledger.records[f"registry/{person.id}"] = person.encode()


def enrol_people(ledger: FakeLedger) -> dict[str, PrivateKey]:
    """Enrols one of each, trucks with P-256 keys."""
    keys = {}
    for participant_id, roles in ROLES.items():
        key = PrivateKey.generate(ES256 if "truck" in participant_id else EDDSA)
        enrol(ledger, participant(participant_id, key, roles))
        keys[participant_id] = key
    return keys


def declaration(ucr: str = UCR, declarant: str = "kz/declarant/astyk", carrier: str | None = None) -> Declaration:
    content = Content("Astyk LLP", "Wheat Co", "KZ", "CN", 33_000_000, (), (), ())
    return Declaration(
        ucr=ucr,
        status="released",
        version=1,
        home="kz-kgd",
        home_country="KZ",
        partner="cn-gacc",
        partner_country="CN",
        declarant=declarant,
        carrier=carrier,
        lodged_ms=1,
        lodged_statement=bytes(32),
        since_ms=2,
        since_statement=bytes(32),
        by="kz-kgd/officer",
        number="",
        content=content,
        amendment=None,
        amendment_reason="",
        invalidation_reason="",
        control="",
        control_result="",
        reasons=(),
        recognition=Recognition(),
    )


def movement(mrn: str, *, ucr: str = UCR, truck: str = "kz/truck/t-001", state: str = "started") -> Movement:
    plan = Plan(
        mrn=mrn,
        departure="kz-kgd",
        destination="cn-gacc",
        carrier="kz/carrier/sary",
        receiver="cn/carrier/receiver",
        declarations=((ucr, 1),),
        containers=(),
        exit_post="KZ-BAKHTY",
        entry_post="CNBKT",
        route=(),
        corridor_m=500,
        limit_to_border_s=3600,
        limit_to_destination_s=3600,
        planned_ms=1,
        planned_statement=bytes(32),
    )
    custody = Custody("kz-kgd", "kz/carrier/sary", 1, bytes(32))
    return Movement(plan, state, 2, bytes(32), "kz-kgd/officer", custody, truck, "KZ 123ABC02")


def put_declaration(ledger: FakeLedger, record: Declaration) -> None:
    ledger.records[f"declaration/{record.ucr}"] = record.encode()


def put_movement(ledger: FakeLedger, record: Movement) -> None:
    ledger.records[f"escort/{record.plan.mrn}"] = record.encode()


def with_key_state(person: Participant, state: str) -> Participant:
    return replace(person, keys=tuple(replace(key, state=state) for key in person.keys))


def now_ms() -> int:
    return int(time.time() * 1000)
