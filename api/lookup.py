"""Look-up from any identifier to the records whose statements mention it, as far as the caller may see them.

The validators' index leads from an identifier to records (docs/adr/0025); each is then read from the state, held
against who may see it, and shown with all the identifiers that belong together: a declaration with its UCR, national
numbers and containers, a movement with its MRN, declarations, containers, seals and vehicle. A national number is
followed on to the declaration's movements.

What the caller may not see is left out as if it were not there; so a page may be shorter than asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.access import RECORDS_AT_ONCE, Access, Principal, Viewers, declaration_viewers
from api.problems import Problem
from api.proto import validator_pb2 as wire
from api.validators import ValidatorPool
from contracts.catalogue import contract_of, read_record
from contracts.declaration import DECLARATION
from contracts.declaration_record import Declaration
from contracts.identify import KINDS, identify
from contracts.machine import RecordType
from contracts.movement import Movement
from contracts.views import declaration_view, movement_view

# Records looked at for one page, however few of them are the caller's to see.
SCAN_MAX_RECORDS = 1_000
NUMBER = "number"
# What people call identifiers, and what each is in the index.
ASKED: dict[str, str] = {
    "ucr": "ucr",
    "number": NUMBER,
    "kz_number": NUMBER,
    "cn_number": NUMBER,
    "mrn": "mrn",
    "container": "container",
    "seal": "seal",
    "vehicle": "vehicle",
    "truck": "participant",
    "participant": "participant",
}


@dataclass(frozen=True, slots=True)
class Question:
    """An identifier of a kind of the index, in its canonical spelling."""

    kind: str
    identifier: str

    def document(self) -> dict[str, str]:
        return {"kind": self.kind, "identifier": self.identifier}


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: in the answer to which question, behind what."""

    question: int = 0
    after: bytes = b""

    def encode(self) -> str:
        return f"{self.question}.{self.after.hex()}"

    @classmethod
    def decode(cls, text: str) -> Position:
        question, _, after = text.partition(".")
        return cls(int(question), bytes.fromhex(after))


@dataclass(frozen=True, slots=True)
class Page:
    found: list[dict[str, Any]]
    next: Position | None
    size: int


def questions_of(asked: Mapping[str, str], text: str) -> tuple[Question, ...]:
    """What to look for: the identifiers that were named, or all that `text` may be. Raises Problem."""
    if bool(asked) == bool(text):
        raise Problem("bad_request", f"expected q, or one of {', '.join(ASKED)}")
    if text:
        return _guessed(text)
    questions = []
    for name, identifier in asked.items():
        form = KINDS["participant" if name == "truck" else name] if name != NUMBER else None
        found = identify(identifier, (form.name,) if form else ("kz_number", "cn_number", "ucr"))
        if not found.readings:
            kind, error = found.errors[0]
            meant = f"; {found.meant[0][1]} would be one" if found.meant else ""
            raise Problem("bad_identifier", f"{name}: {error}{meant} (expected {kind.form})")
        questions.append(Question(ASKED[name], identifier))
    return tuple(questions)


def _guessed(text: str) -> tuple[Question, ...]:
    found = identify(text)
    names = [(reading.kind.name, text) for reading in found.readings]
    names += [(kind.name, spelled) for kind, spelled in found.meant]
    questions = dict.fromkeys(Question(ASKED[name], identifier) for name, identifier in names if name in ASKED)
    if any(question.kind == "ucr" for question in questions):
        # Where no form is registered for a country, its declaration numbers have that of a UCR.
        questions[Question(NUMBER, text)] = None
    if not questions:
        nearest = "; ".join(str(error) for _, error in found.errors[:2])
        raise Problem("bad_identifier", f"q: is no identifier that is looked up here: {nearest}")
    return tuple(questions)


async def look_up(
    pool: ValidatorPool, access: Access, caller: Principal, asked: Sequence[Question], start: Position, limit: int
) -> Page:
    """A page of what the caller may see, newest first for each identifier."""
    questions = await _followed(pool, asked)
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    at, scanned, size = start, 0, 0
    # Where most is hidden from the caller, a page of one would otherwise ask a validator for each record by itself.
    width = min(limit, RECORDS_AT_ONCE)
    while at.question < len(questions):
        question = questions[at.question]
        reply = await pool.find(question.kind, question.identifier, at.after, min(width, SCAN_MAX_RECORDS - scanned))
        width = min(2 * width, RECORDS_AT_ONCE)
        size = max(size, reply.size)
        shown = await _shown(pool, access, caller, question, reply.found)
        for each, document in zip(reply.found, shown, strict=True):
            at = Position(at.question, each.position)
            scanned += 1
            if document is not None and each.key not in seen:
                seen.add(each.key)
                found.append(document)
                if len(found) == limit:
                    break
        ended = not reply.found or (at.after == reply.found[-1].position and not reply.more)
        if ended:
            at = Position(at.question + 1)
        if len(found) == limit or scanned >= SCAN_MAX_RECORDS:
            break
    return Page(found, at if at.question < len(questions) else None, size)


async def _followed(pool: ValidatorPool, asked: Iterable[Question]) -> list[Question]:
    """National numbers followed on to the UCR, by which the declaration and its movements are found."""
    questions: dict[Question, None] = {}
    for question in asked:
        if question.kind != NUMBER:
            questions[question] = None
            continue
        reply = await pool.find(question.kind, question.identifier, b"", RECORDS_AT_ONCE)
        for each in reply.found:
            name, _, subject = each.key.partition("/")
            questions[Question("ucr", subject) if name == DECLARATION.name else question] = None
    return list(questions)


async def _shown(
    pool: ValidatorPool, access: Access, caller: Principal, question: Question, found: Sequence[wire.FoundRecord]
) -> list[dict[str, Any] | None]:
    """Each record found as a document, None in the place of those that are not the caller's to see."""
    if not found:
        return []
    raw = await pool.records([each.key for each in found])
    records: dict[str, Any] = {}
    # The type of the version that wrote the record: another version's may know nothing of its fields.
    types: dict[str, RecordType[Any]] = {}
    for key, value in raw.items():
        name = key.partition("/")[0]
        if contract_of(name) is not None:
            types[key], records[key] = read_record(name, value)
    movements = {key: record for key, record in records.items() if isinstance(record, Movement)}
    declarations = {key: record for key, record in records.items() if isinstance(record, Declaration)}
    carried = {f"declaration/{ucr}" for movement in movements.values() for ucr, _ in movement.plan.declarations}
    more = sorted(carried - declarations.keys())
    for first in range(0, len(more), RECORDS_AT_ONCE):
        reply = await pool.records(more[first : first + RECORDS_AT_ONCE])
        declarations |= {key: read_record(DECLARATION.name, value)[1] for key, value in reply.items()}
    viewers = dict(zip(movements, await access.movements_viewers(list(movements.values())), strict=True))
    shown: list[dict[str, Any] | None] = []
    for each in found:
        record = records.get(each.key)
        visible = record is not None and _viewers(each.key, types[each.key], record, raw, viewers).include(caller)
        shown.append(_document(each, record, question, caller, declarations) if visible else None)
    return shown


def _viewers(
    key: str, record_type: RecordType[Any], record: Any, raw: Mapping[str, bytes], viewers: Mapping[str, Viewers]
) -> Viewers:
    if isinstance(record, Movement):
        return viewers[key]
    if isinstance(record, Declaration):
        return declaration_viewers(raw[key])
    return Viewers(record_type.visible_to(record))


def _document(
    each: wire.FoundRecord,
    record: Any,
    question: Question,
    caller: Principal,
    declarations: Mapping[str, Declaration],
) -> dict[str, Any]:
    name, _, subject = each.key.partition("/")
    contract = contract_of(name)
    state = record.state if isinstance(record, Movement) else getattr(record, "status", getattr(record, "state", None))
    if isinstance(record, Declaration):
        identifiers = declaration_identifiers(record)
    elif isinstance(record, Movement):
        identifiers = movement_identifiers(record, caller, declarations)
    else:
        identifiers = {contract.subject.noun if contract is not None else "subject": subject}
    return {
        "key": each.key,
        "contract": name,
        "subject": subject,
        "state": state,
        "found_by": question.document(),
        "first_entry": each.first_entry,
        "last_entry": each.last_entry,
        "identifiers": identifiers,
    }


def declaration_identifiers(record: Declaration) -> dict[str, Any]:
    """All by which a declaration is known."""
    view = declaration_view(record)
    return {"ucr": record.ucr, "numbers": view["numbers"], "containers": view["content"]["containers"]}


def movement_identifiers(
    record: Movement, caller: Principal, declarations: Mapping[str, Declaration]
) -> dict[str, Any]:
    """All by which a movement is known; the numbers of its declarations for those who may see these."""
    view = movement_view(record)
    carried = []
    for each in view["declarations"]:
        declaration = declarations.get(f"declaration/{each['ucr']}")
        own = declaration is not None and caller.id in (declaration.declarant, declaration.carrier)
        numbers = declaration_view(declaration)["numbers"] if declaration is not None else {}
        carried.append({**each, "numbers": numbers if caller.sees_all or own else {}})
    return {
        "mrn": record.plan.mrn,
        "declarations": carried,
        "containers": view["containers"],
        "seals": [seal["id"] for seal in view["seals"]],
        "vehicle": record.vehicle,
        "truck": record.truck,
    }
