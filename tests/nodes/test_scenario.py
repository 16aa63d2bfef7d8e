"""A scenario file: everything wrong with it is said, with line and field; what is read can be relied on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts import identifiers
from nodes.demo.reading import MAX_SCENARIO_BYTES, ScenarioError
from nodes.demo.scaling import with_crossings
from nodes.demo.scenario import Scenario, shipped_scenario
from nodes.demo.scenario_file import load_scenario

SHIPPED = shipped_scenario().read_text()


@pytest.fixture(scope="module")
def shipped() -> Scenario:
    return load_scenario(shipped_scenario())


def _faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as raised:
        load_scenario(path)
    assert str(path) in str(raised.value)
    return [str(fault) for fault in raised.value.faults]


def _line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_the_shipped_scenario_has_what_the_main_job_needs(shipped: Scenario) -> None:
    assert len(shipped.declarations) == 12
    assert sum(item.decision == "refuse" for item in shipped.declarations.values()) == 1
    assert {crossing.route for crossing in shipped.crossings} == {"eastbound", "westbound"}
    assert sum(crossing.seal_broken is not None for crossing in shipped.crossings) == 1
    assert sum(crossing.mass_difference is not None for crossing in shipped.crossings) == 1
    chapters = {item.hs[:2] for declaration in shipped.declarations.values() for item in declaration.goods}
    assert {"02", "10", "11", "12", "84"} <= chapters


def test_the_shipped_scenario_uses_every_form_of_every_identifier(shipped: Scenario) -> None:
    kz = [identifiers.parse_kz_number(item.numbers["kz-kgd"]) for item in shipped.declarations.values()]
    assert {number.transit for number in kz} == {True, False}
    cn = [
        identifiers.parse_cn_number(item.numbers["cn-gacc"])
        for item in shipped.declarations.values()
        if "cn-gacc" in item.numbers
    ]
    assert {number.is_import for number in cn} == {True, False}
    assert {identifiers.parse_mrn(item.mrn).form for item in shipped.crossings} == {"phase_5", "transition"}
    vehicles = [identifiers.parse_vehicle(truck.vehicle) for truck in shipped.trucks.values()]
    assert {vehicle.fleet_id is None for vehicle in vehicles} == {True, False}
    places = {post.name: identifiers.parse_place(post.place) for post in shipped.posts.values()}
    assert str(places["baketu"]) == "CNBKT"
    assert places["bakhty"].latitude_udeg is not None
    seals = [seal for crossing in shipped.crossings for seal in crossing.seals]
    assert {seal.device is None for seal in seals} == {True, False}
    assert any("/" in ucr for ucr in shipped.declarations)
    assert {participant.algorithm for participant in shipped.participants.values()} == {"EdDSA", "ES256"}


MISTAKES = [
    # what is replaced, by what, the field that must be named, a part of the message
    ('name = "bakhty-baketu"', 'name = "Bakhty Baketu"', "scenario.name", "lower-case letters"),
    ('origin = "comity.example/bakhty-baketu"', 'origin = "a b"', "scenario.origin", "without spaces"),
    ('title = "Bakhty - Baketu, both directions, unmanned"\n', "", "scenario.title", "is missing"),
    ("effective = 2025-07-01", 'effective = "2025-07-01"', "legal_basis.effective", "expected a date"),
    ("at_percent = 50", "at_percent = 99", "outage.at_percent", "expected 1 to 80, got 99"),
    ("at_percent = 50", "at_percent = true", "outage.at_percent", "expected a whole number, got True"),
    ("at_percent = 50", "at_percent = 50\ncolour = 1", "outage.colour", "is not a known key"),
    ('authority = "cn-gacc"\nat_percent', 'authority = "mn"\nat_percent', "outage.authority", "no authority 'mn'"),
    ('country = "CN"', 'country = "KZ"', "authorities[1].country", "stands in the scenario twice"),
    ('country = "CN"', 'country = "China"', "authorities[1].country", "two capital letters"),
    ('place = "CNBKT"', 'place = "CNBKT1"', "posts[1].place", "character 6"),
    ('id = "kz/bakhty/scanner-1"', 'id = "kz/bakhty/gate-1"', "terminals[2].id", "twice"),
    ('id = "kz/bakhty/gate-1"', 'id = "KZ/gate"', "terminals[0].id", "character 1"),
    ('instrument = "gate"', 'instrument = "camera"', "terminals[0].instrument", "expected one of gate"),
    ('instrument = "weighbridge"', 'instrument = "scanner"', "terminals[2].instrument", "twice"),
    ('vehicle = "fleet/BKT-0001"', 'vehicle = "BKT-0001"', "trucks[0].vehicle", "character 3"),
    ('roles = ["carrier"]', 'roles = ["truck"]', "participants[2].roles", "expected declarant, carrier or auditor"),
    ('destination = "baketu"', 'destination = "bakhty"', "routes[0].destination", "of the other authority"),
    ('hs = "100199"', 'hs = "770199"', "declarations[0].goods[0].hs", "chapter"),
    ('"KZGU1001010"', '"KZGU1001011"', "declarations[0].containers", "check digit 0"),
    ('"51804/221126/0001001"', '"51804/311126/0001001"', "declarations[0].numbers.kz-kgd", "a date that exists"),
    ('"940520261000004002"', '"940520261000004001"', "declarations[1].numbers.cn-gacc", "twice"),
    ("gross_mass_g = 27_800_000", "gross_mass_g = 27", "declarations[0].gross_mass_g", "at least the goods' 27800000"),
    ('decision = "refuse"\n', "", "declarations[6].numbers.cn-gacc", "is missing"),
    ('declarant = "kz/abai-agro"', 'declarant = "kz/zhetysu-trans"', "declarations[0].declarant", "role declarant"),
    ('mrn = "26KZBKT000000001J8"', 'mrn = "26KZBKT000000001J9"', "crossings[0].mrn", "check digit 8"),
    ('number = "KZ440001"', 'number = "kz440001"', "crossings[0].seals[0].number", "character 1"),
    ('class = "S"', 'class = "X"', "crossings[0].seals[0].class", "expected one of I, S, H"),
    ('truck = "kz/truck/t-002"', 'truck = "kz/truck/t-001"', "crossings[2].truck", "truck on the road"),
    ('declarations = ["6KZ010140000127-WHEAT-01"]', "declarations = []", "crossings[0].declarations", "at least 1"),
    ('seal = "KZE7005"', 'seal = "KZ440005"', "crossings[4].seal_broken.seal", "no electronic seal"),
    ("after_positions = 2", "after_positions = 9", "crossings[4].seal_broken.after_positions", "0 to 5"),
    ('resolution = "handed_over"', 'resolution = "lost"', "crossings[6].mass_difference.resolution", "handed_over"),
    ("[pace]", "[parameters]\nmass_tolerance = 1\n[pace]", "parameters.mass_tolerance", "unknown parameter"),
    ("[pace]", "[paces]", "paces", "is not a known key"),
]


@pytest.mark.parametrize(("good", "bad", "field", "message"), MISTAKES, ids=[row[2] + " " + row[3] for row in MISTAKES])
def test_a_mistake_is_named_with_its_field_and_line(
    tmp_path: Path, good: str, bad: str, field: str, message: str
) -> None:
    assert good in SHIPPED
    text = SHIPPED.replace(good, bad, 1)
    faults = _faults(tmp_path, text)
    ours = [fault for fault in faults if f": {field}: " in fault]
    assert ours, faults
    assert message in ours[0]
    line = int(re.match(r"line (\d+): ", ours[0])[1])  # type: ignore[index]
    # The line holds the field itself, or (left out, or inside an inline table) begins the table around it.
    key = re.split(r"[.\[]", field)[-1].rstrip("]0123456789") or field
    shown = text.splitlines()[line - 1]
    names = [part for part in re.split(r"[.\[\]0-9]+", field) if part]
    assert any(name in shown for name in names), (key, shown)


def test_a_mistake_in_the_tenth_of_many_tables_is_found_on_its_own_line(tmp_path: Path) -> None:
    text = SHIPPED.replace('mrn = "26KZBKT000000010J3"', 'mrn = "26KZBKT000000010J4"')
    (fault,) = _faults(tmp_path, text)
    assert fault.startswith(f"line {_line_of(text, '26KZBKT000000010J4')}: crossings[9].mrn: ")


def test_all_mistakes_are_said_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = SHIPPED.replace("at_percent = 50", "at_percent = 0").replace('hs = "120600"', 'hs = "1206"')
    text = text.replace('place = "CNBKT"', 'place = "bakhty"')
    faults = _faults(tmp_path, text)
    assert [fault.split(": ")[1] for fault in faults][:3] == [
        "outage.at_percent",
        "posts[1].place",
        "declarations[3].goods[0].hs",
    ]


def test_a_crossing_needs_a_released_declaration_of_its_own_side(tmp_path: Path) -> None:
    refused = SHIPPED.replace(
        'declarations = ["6KZ010140000127-FLOUR-08"]', 'declarations = ["6KZ050340001894-MUTTON-07"]'
    )
    assert any("is never released" in fault for fault in _faults(tmp_path, refused))
    foreign = SHIPPED.replace(
        'declarations = ["6KZ010140000127-FLOUR-08"]', 'declarations = ["6CN91654200MA77-LOADER-09"]'
    )
    assert any("expected a declaration of kz-kgd" in fault for fault in _faults(tmp_path, foreign))
    unknown = SHIPPED.replace('declarations = ["6KZ010140000127-FLOUR-08"]', 'declarations = ["NONE"]')
    assert any("there is no declaration 'NONE'" in fault for fault in _faults(tmp_path, unknown))


def test_what_is_not_toml_is_named_with_its_line(tmp_path: Path) -> None:
    (fault,) = _faults(tmp_path, "[scenario]\nname = \n")
    assert fault.startswith("line 2: (syntax): ")


def test_a_file_that_cannot_be_read_is_a_fault_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'[scenario]\nname = "\xe9"\n')
    with pytest.raises(ScenarioError, match=r"line 2: \(file\): is not UTF-8"):
        load_scenario(tmp_path / "latin.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (MAX_SCENARIO_BYTES + 1))
    with pytest.raises(ScenarioError, match="too large"):
        load_scenario(tmp_path / "huge.toml")


@pytest.mark.parametrize("value", ["1", '"text"', "[1]", "[[1]]", "{ a = 1 }", "true", "2025-07-01"])
@pytest.mark.parametrize(
    "key",
    ["scenario", "legal_basis", "parameters", "authorities", "posts", "trucks", "declarations", "crossings", "pace"],
)
def test_a_value_of_the_wrong_type_is_a_fault_and_no_traceback(tmp_path: Path, key: str, value: str) -> None:
    text = re.sub(rf"(?ms)^\[\[?{key}[\].].*?(?=^\[|\Z)", "", SHIPPED)
    if (key, value) == ("parameters", "{ a = 1 }"):
        assert _faults(tmp_path, f"{key} = {value}\n{text}")
        return
    assert any(key in fault for fault in _faults(tmp_path, f"{key} = {value}\n{text}"))


def _identifiers(scenario: Scenario) -> list[str]:
    found = [item.mrn for item in scenario.crossings]
    found += [item.truck for item in scenario.crossings]
    found += [container for item in scenario.crossings for container in item.containers]
    found += [seal.number for item in scenario.crossings for seal in item.seals]
    found += [seal.number for item in scenario.crossings if item.seal_broken for seal in item.seal_broken.replacement]
    found += [truck.vehicle for truck in scenario.trucks.values()]
    found += [number for item in scenario.declarations.values() for number in item.numbers.values()]
    return found


@pytest.mark.parametrize("crossings", [11, 25, 150])
def test_more_trucks_get_fresh_and_valid_identifiers(shipped: Scenario, crossings: int) -> None:
    grown = with_crossings(shipped, crossings)
    assert len(grown.crossings) == crossings
    assert len(set(_identifiers(grown))) == len(_identifiers(grown))
    for crossing in grown.crossings:
        identifiers.parse_mrn(crossing.mrn)
        assert grown.participants[crossing.truck].roles == ("truck",)
        declared = {box for ucr in crossing.declarations for box in grown.declarations[ucr].containers}
        assert set(crossing.containers) <= declared
        for container in crossing.containers:
            identifiers.parse_container(container)
        for seal in crossing.seals:
            identifiers.parse_seal(seal.number)
            assert seal.container is None or seal.container in crossing.containers
            assert seal.device is None or grown.participants[seal.device].roles == ("eseal",)
    for ucr, declaration in grown.declarations.items():
        assert identifiers.parse_ucr(ucr).text == declaration.ucr
        identifiers.parse_kz_number(declaration.numbers["kz-kgd"])
        if declaration.decision == "release":
            identifiers.parse_cn_number(declaration.numbers["cn-gacc"])
    for participant in grown.participants.values():
        identifiers.parse_participant_id(participant.id)


def test_growing_a_scenario_leaves_the_original_and_its_first_crossings_alone(shipped: Scenario) -> None:
    before = (dict(shipped.participants), shipped.crossings, dict(shipped.declarations))
    grown = with_crossings(shipped, 30)
    assert (shipped.participants, shipped.crossings, shipped.declarations) == before
    assert grown.crossings[: len(shipped.crossings)] == shipped.crossings
    assert with_crossings(shipped, 30) == grown


def test_fewer_trucks_keep_the_branches_and_both_directions(shipped: Scenario) -> None:
    for crossings in (3, 4, 7):
        fewer = with_crossings(shipped, crossings)
        assert len(fewer.crossings) == crossings
        assert any(item.seal_broken for item in fewer.crossings)
        assert any(item.mass_difference for item in fewer.crossings)
        assert {item.route for item in fewer.crossings} == {"eastbound", "westbound"}
    with pytest.raises(ValueError, match="at least one"):
        with_crossings(shipped, 0)
