"""Every row of every table as EPCIS events and WCO responses: the scenario `everything`, played in memory."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import jsonschema
import pytest

from api.epcis.crossing import Crossing
from api.epcis.document import NAMESPACES, movement_document
from api.epcis.hashing import event_hash_id
from api.history import Authority, History, Recorded
from api.wco.notifications import ROWS, NothingToNotify, notifications_document
from contracts.declaration_record import load_declaration
from contracts.movement import Movement, load_movement
from contracts.working import Working
from nodes.demo.scenario import shipped_scenario
from nodes.demo.scenario_file import load_scenario
from nodes.demo.script import write_script
from tests.api.epcis.test_document import OUR_SCHEMA, SCHEMA
from tests.nodes.test_everything import Playing


class Tales:
    """The histories of all that was played."""

    def __init__(self) -> None:
        scenario = load_scenario(shipped_scenario("everything"))
        self.playing = Playing(scenario)
        for story in write_script(scenario).stories():
            self.playing.play(story)
        self.authorities = tuple(sorted((Authority(a.name, a.country) for a in scenario.authorities), key=str))
        self.working = Working(self.playing.rows)

    def subjects(self, contract: str) -> list[str]:
        return list(dict.fromkeys(s.sub for _, _, s in self.playing.accepted if s.kind.partition(".")[0] == contract))

    def history(self, subject: str) -> History:
        entries = tuple(Recorded(*each) for each in self.playing.accepted if each[2].sub == subject)
        return History("o", 2 * self.playing.height + 2, self.playing.now_ms, self.authorities, entries)

    def movement(self, mrn: str) -> Movement:
        record = load_movement(self.working, mrn)
        assert record is not None
        return record


@pytest.fixture(scope="module")
def tales() -> Tales:
    return Tales()


def test_every_movement_is_told_to_where_the_contract_has_it(tales: Tales) -> None:
    assert len(tales.subjects("escort")) > 10
    for mrn in tales.subjects("escort"):
        history, record = tales.history(mrn), tales.movement(mrn)
        crossing = Crossing(history)
        for recorded in history.entries:
            payload = {str(name): value for name, value in recorded.statement.payload.items()}
            crossing.take(recorded.statement.kind.partition(".")[2], recorded, payload)
        assert (crossing.custody, crossing.liable) == (record.custody.authority, record.custody.liable), mrn
        assert (crossing.vehicle, sorted(crossing.seals)) == (record.vehicle, sorted(record.seals_in_force())), mrn


def test_every_movement_has_an_event_for_each_entry_each_with_an_id_of_its_own(tales: Tales) -> None:
    told: set[str] = set()
    for mrn in tales.subjects("escort"):
        history = tales.history(mrn)
        events = json.loads(movement_document(mrn, history))["epcisBody"]["eventList"]
        assert list(dict.fromkeys(e["comity:entry"] for e in events)) == [each.index for each in history.entries]
        assert len({e["eventID"] for e in events}) == len(events)
        assert all(e["eventID"] == event_hash_id(e, NAMESPACES) for e in events)
        told |= {e["comity:kind"] for e in events}
    assert told == {s.kind for _, _, s in tales.playing.accepted if s.kind.startswith("escort.")}


def test_every_movement_is_what_epcis_asks_for(tales: Tales) -> None:
    for mrn in tales.subjects("escort"):
        document = json.loads(movement_document(mrn, tales.history(mrn)))
        assert [error.message for error in OUR_SCHEMA.iter_errors(document)] == [], mrn


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"no schema {SCHEMA}")
def test_every_movement_is_valid_by_the_schema_of_gs1(tales: Tales) -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for mrn in tales.subjects("escort"):
        document = json.loads(movement_document(mrn, tales.history(mrn)))
        assert [error.message for error in validator.iter_errors(document)] == [], mrn


def test_every_decision_on_every_declaration_is_told_with_its_version(tales: Tales) -> None:
    told: set[str] = set()
    for ucr in tales.subjects("declaration"):
        record = load_declaration(tales.working, ucr)
        assert record is not None
        try:
            root = ElementTree.fromstring(notifications_document(ucr, tales.history(ucr)))
        except NothingToNotify:
            assert record.status == "lodged", ucr
            continue
        versions = [e.text for e in root.iter() if e.tag.endswith("}VersionID")]
        assert versions[-1] == str(record.version), ucr
        told |= {e.text or "" for e in root.iter() if e.tag.endswith("}FunctionCode")}
    assert told >= {row.function for row in ROWS.values()}
