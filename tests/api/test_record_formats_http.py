"""A later version of a contract may write its records in another format: a gateway reads those of every version.

The formats here are made up: the record of now in an envelope with one field more. While a contract is upgraded the
state has records of both, for as long as nobody writes the old ones again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from contracts.catalogue import CONTRACTS, newest_versions
from contracts.declaration_record import Declaration, decode_declaration
from contracts.machine import Contract
from contracts.movement import Movement, decode_movement
from contracts.registry import Participant, decode_participant
from contracts.views import declaration_view, movement_view, participant_view
from contracts.working import UnreadableRecord, record_fields
from ledger.cbor import encode
from tests.api.conftest import Running
from tests.api.people import MRNS, UCR, declaration, movement, put_declaration, put_movement

NOTE = "of a later version"
CARRIER, OFFICER, STRANGER = "kz/carrier/sary", "kz-kgd/officer", "kz/declarant/other"


@dataclass(frozen=True, slots=True)
class LaterMovement(Movement):
    note: str = ""


@dataclass(frozen=True, slots=True)
class LaterDeclaration(Declaration):
    note: str = ""


@dataclass(frozen=True, slots=True)
class LaterParticipant(Participant):
    note: str = ""


def later_raw(name: str, raw: bytes) -> bytes:
    return encode((f"{name}.v99", raw, NOTE))


def _decode(name: str, kind: type[Any], inner: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decode(raw: bytes) -> Any:
        whole, note = record_fields(f"{name}.v99", raw, 2)
        if not isinstance(whole, bytes):
            raise UnreadableRecord("expected the record of before")
        base = inner(whole)
        return kind(**{field.name: getattr(base, field.name) for field in fields(base)}, note=note)

    return decode


def _later(
    name: str, kind: type[Any], inner: Callable[[bytes], Any], view: Callable[[Any], dict[str, Any]]
) -> Contract:
    """A contract of a version to come, which shows one thing more of its records."""
    present = CONTRACTS[name, newest_versions()[name]]
    record = replace(
        present.record,
        type=kind,
        decode=_decode(name, kind, inner),
        view=lambda each: {**view(each), "note": each.note},
    )
    return replace(present, version=99, record=record)


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    for contract in (
        _later("escort", LaterMovement, decode_movement, movement_view),
        _later("declaration", LaterDeclaration, decode_declaration, declaration_view),
        _later("registry", LaterParticipant, decode_participant, participant_view),
    ):
        monkeypatch.setitem(CONTRACTS, (contract.name, contract.version), contract)


def put_both(running: Running) -> None:
    """Records of the version of now, and of the later one."""
    put_declaration(running.ledger, declaration())
    put_movement(running.ledger, movement(MRNS[0]))
    put_movement(running.ledger, movement(MRNS[1]))
    ledger = running.ledger.records
    for name, key in (
        ("declaration", f"declaration/{UCR}"),
        ("escort", f"escort/{MRNS[1]}"),
        ("registry", f"registry/{CARRIER}"),
    ):
        ledger[key] = later_raw(name, ledger[key])


@pytest.mark.usefixtures("upgraded")
async def test_each_record_is_shown_as_the_version_that_wrote_it_shows_it(running: Running) -> None:
    put_both(running)
    for path, note in (
        (f"/v1/declarations/{UCR}", NOTE),
        (f"/v1/movements/{MRNS[0]}", None),
        (f"/v1/movements/{MRNS[1]}", NOTE),
        (f"/v1/participants/{CARRIER}", NOTE),
        (f"/v1/participants/{OFFICER}", None),
    ):
        response = await running.http.get(path, headers=running.auth(OFFICER))
        assert response.status_code == 200, (path, response.text)
        assert response.json()["record"].get("note") == note, path


@pytest.mark.usefixtures("upgraded")
async def test_a_list_may_hold_records_of_both(running: Running) -> None:
    put_both(running)
    movements = (await running.http.get("/v1/movements", headers=running.auth(OFFICER))).json()["movements"]
    assert {each["mrn"]: each.get("note") for each in movements} == {MRNS[0]: None, MRNS[1]: NOTE}
    people = (await running.http.get("/v1/participants", headers=running.auth(OFFICER))).json()["participants"]
    assert [each["id"] for each in people if each.get("note") == NOTE] == [CARRIER]


@pytest.mark.usefixtures("upgraded")
async def test_who_may_see_what_stays_as_it_is_and_so_does_who_they_are(running: Running) -> None:
    """The carrier's own record is of the later version, and so are the declaration and one of the movements."""
    put_both(running)
    for mrn in MRNS[:2]:
        own = await running.http.get(f"/v1/movements/{mrn}", headers=running.auth(CARRIER))
        assert own.status_code == 200, own.text
        other = await running.http.get(f"/v1/movements/{mrn}", headers=running.auth(STRANGER))
        assert other.status_code == 404
    declarant = declaration().declarant
    assert (await running.http.get(f"/v1/declarations/{UCR}", headers=running.auth(declarant))).status_code == 200
    # The declarant of what it carries may see the movement: that stands in a record of the later version.
    assert (await running.http.get(f"/v1/movements/{MRNS[0]}", headers=running.auth(declarant))).status_code == 200


async def test_a_record_of_a_version_that_this_program_lacks_is_no_answer_of_another(running: Running) -> None:
    put_both(running)
    response = await running.http.get(f"/v1/movements/{MRNS[1]}", headers=running.auth(OFFICER))
    assert response.status_code == 500
    assert "record" not in response.json()
