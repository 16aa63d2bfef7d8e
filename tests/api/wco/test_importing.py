"""A declaration becomes a payload that the contract takes, and nothing of it goes unmentioned."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.wco.importing import AMEND, INVALIDATE, LODGE, Given, Imported, import_declaration
from api.wco.mapping import ROWS, Fate, row_of
from api.wco.reading import XmlRefused
from contracts.payloads import validate_payload
from tests.api.wco.documents import CLOSED, DATA, LODGED, SAMPLES, SHIPMENT, UNCLOSED, lodged, request

SIDES = Given(home="kz-kgd", partner="cn-gacc")


def leaves_counted_otherwise(raw: bytes) -> int:
    """Leaf elements and attributes, by another parser."""
    elements = list(ElementTree.fromstring(raw).iter())
    return sum(len(element) == 0 for element in elements) + sum(len(element.attrib) for element in elements)


def problems_of(*changes: tuple[str, str], given: Given = SIDES) -> list[str]:
    return [str(problem) for problem in import_declaration(lodged(*changes), given).problems]


def fate_of(imported: Imported, pattern: str) -> tuple[Fate, str]:
    (leaf,) = [leaf for leaf in imported.leaves if leaf.pattern == pattern]
    return leaf.fate, leaf.to or leaf.why


def test_a_declaration_becomes_the_payload_of_a_lodging() -> None:
    imported = import_declaration(lodged(), SIDES)
    assert imported.problems == ()
    assert (imported.kind, imported.subject) == (LODGE, "KZ-AGRO-2026/77")
    assert imported.payload == {
        "home": "kz-kgd",
        "partner": "cn-gacc",
        "content": {
            "consignor": "Astyk Agro",
            "consignee": "Tacheng Flour Mill",
            "origin": "KZ",
            "destination": "CN",
            "gross_mass_g": 24_600_000,
            "goods": [
                {
                    "hs": "100199",
                    "description": "Wheat, in bulk",
                    "mass_g": 24_500_125,
                    "packages": 12,
                    "value": {"amount": 720_050, "currency": "USD"},
                }
            ],
            "containers": ["CSQU3054383"],
        },
    }
    validate_payload(imported.kind, imported.payload)
    assert imported.commercial == ("consignor", "consignee", "goods/0/description", "goods/0/value")
    assert imported.escort == {"seals": {"CSQU3054383": ["KZ0000123"]}}


def test_the_fates_are_as_many_as_the_leaves_and_attributes() -> None:
    imported = import_declaration(lodged(), SIDES)
    assert sum(imported.counts.values()) == len(imported.leaves) == leaves_counted_otherwise(lodged())
    assert len({leaf.path for leaf in imported.leaves}) == len(imported.leaves)


def test_what_nobody_named_is_reported_as_kept_nowhere() -> None:
    imported = import_declaration(lodged(("<Consignment>", "<Consignment><Depth>9</Depth>")), SIDES)
    assert fate_of(imported, "GoodsShipment/Consignment/Depth") == (Fate.NOWHERE, "the ledger has no field for it")


def test_a_national_subdivision_of_a_tariff_code_is_said_to_be_left_off() -> None:
    (leaf,) = [leaf for leaf in import_declaration(lodged(), SIDES).leaves if leaf.value == "1001990000"]
    assert (leaf.fate, leaf.to) == (Fate.FIELD, "content.goods[0].hs")
    assert leaf.why == "the first 6 digits; 0000 is a national subdivision"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("CSQU3054383", "CSQU3054384"),
            "TransportEquipment/ID, line 8: content.containers[0]: container: character 11",
        ),
        (("1001990000", "77019900"), "Classification/ID, line 20: content.goods[0].hs: hs: character 1"),
        (("24.6", "24.60000001"), "content.gross_mass_g: mass: expected"),
        (
            ('unitCode="TNE"', 'unitCode="LBR"'),
            "content.gross_mass_g: unit of mass: expected one of GRM, KGM, TNE, got",
        ),
        (("24.6<", "24.5<"), "content.gross_mass_g: expected at least the goods' net mass, 24500125 g, got 24500000 g"),
        (("24500.125", "0"), "content.goods[0].mass_g: expected 1 to"),
        (("KZ-AGRO-2026/77", "KZ-agro"), "PreviousDocument/ID, line 28: subject: ucr: character 4"),
        (("<TypeCode>DCR", "<TypeCode>MCR"), "subject: expected a UCR, got none: give the UCR"),
        (("<ExportCountry><ID>KZ", "<ExportCountry><ID>kz"), "content.origin: country: character 1"),
        (("<Name>Astyk Agro</Name>", ""), "content.consignor: expected a consignor, got none"),
        (("Astyk Agro", "x" * 201), "content.consignor: expected 1 to 200 characters, got 201"),
        (
            ('currencyID="USD">7200.50', 'currencyID="JPY">7200.50'),
            "content.goods[0].value: amount: expected at most 0 digits",
        ),
        (("<Exporter>", "<Exporter><Name>B</Name></Exporter><Exporter>"), "expected one Exporter, got 2"),
        (("<ContainerCode>1", "<ContainerCode>0"), "ContainerCode, line 6: content.containers: expected no containers"),
        (('currencyID="USD"', ""), "content.goods[0].value: currency: expected three capital letters"),
        (("<FunctionCode>9", "<FunctionCode>6"), "expected FunctionCode 4, 5, 9 or 13, got 6"),
        (("<GoodsItemQuantity>1", "<GoodsItemQuantity>2"), "expected as many goods items as are declared, 2, got 1"),
        (
            ("<Commodity>", "<Destination><CountryCode>RU</CountryCode></Destination><Commodity>"),
            "content.destination: expected one destination, got CN and RU",
        ),
        (
            ("<Commodity>", "<Consignee><Name>Another</Name></Consignee><Commodity>"),
            "content.consignee: expected one consignee, got 2",
        ),
        (
            (
                "<GoodsItemQuantity>",
                '<TotalGrossMassMeasure unitCode="TNE">24</TotalGrossMassMeasure><GoodsItemQuantity>',
            ),
            "content.gross_mass_g: expected the sum of the items, 24600000 g, got 24000000 g",
        ),
        (("3.6<", "3.7<"), "expected WCODataModelVersionCode 3.6, got 3.7"),
        (("DEC</md:WCOType", "RES</md:WCOType"), "expected WCOTypeName DEC, got RES"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_a_problem_with_its_element_and_line(change: tuple[str, str], problem: str) -> None:
    found = problems_of(change)
    assert any(problem in one for one in found), found


def test_containers_that_are_announced_and_not_there_are_missed() -> None:
    start, stop = LODGED.index("<TransportEquipment>"), LODGED.index("</TransportEquipment>") + 21
    imported = import_declaration((LODGED[:start] + LODGED[stop:]).encode(), SIDES)
    assert [str(problem) for problem in imported.problems] == [
        "/MetaData/Declaration/GoodsShipment/Consignment/ContainerCode, line 6: content.containers: expected "
        "containers, got none"
    ]


def test_the_same_destination_said_twice_is_one() -> None:
    again = ("<Commodity>", "<Destination><CountryCode>CN</CountryCode></Destination><Commodity>")
    assert import_declaration(lodged(again), SIDES).ready


def test_a_fault_is_the_fate_of_its_leaf() -> None:
    imported = import_declaration(lodged(("CSQU3054383", "CSQU3054384")), SIDES)
    assert imported.counts["fault"] == 1
    assert fate_of(imported, "GoodsShipment/Consignment/TransportEquipment/ID")[0] is Fate.FAULT
    assert not imported.ready


def test_a_second_consignee_or_reference_is_never_chosen_between() -> None:
    other = "<PreviousDocument><ID>OTHER</ID><TypeCode>DCR</TypeCode></PreviousDocument></GoodsShipment>"
    assert any("expected one UCR, got 2" in one for one in problems_of(("</GoodsShipment>", other)))
    twice = "<Consignee><Name>Another</Name></Consignee><Consignment>"
    assert any("expected one Consignee, got 2" in one for one in problems_of(("<Consignment>", twice)))


def test_the_sides_are_given_by_who_imports_and_missed_where_they_are_not() -> None:
    assert problems_of(given=Given()) == [
        "home: expected the name of an authority, got none: a document does not say it",
        "partner: expected the name of an authority, got none: a document does not say it",
    ]
    carried = import_declaration(lodged(), Given(home="a", partner="b", carrier="kz/carrier/steppe"))
    assert carried.payload["carrier"] == "kz/carrier/steppe"


def test_what_is_given_takes_the_place_of_what_is_wrong_and_both_are_said() -> None:
    fields = {"content": {"containers": [], "goods": {"1": {"description": "Wheat"}}}}
    imported = import_declaration(
        lodged(("CSQU3054383", "bad"), ("Wheat, in bulk", " ")), Given("kz-kgd", "cn-gacc", fields=fields)
    )
    assert imported.problems == ()
    assert imported.payload["content"]["containers"] == []
    assert imported.payload["content"]["goods"][0]["description"] == "Wheat"
    assert fate_of(imported, "GoodsShipment/Consignment/TransportEquipment/ID") == (
        Fate.NOWHERE,
        "given otherwise by who imports",
    )
    assert "content.containers: given by who imports" in imported.notes


@pytest.mark.parametrize(
    "fields",
    [
        {"content": {"goods": {"2": {"hs": "100190"}}}},
        {"content": {"goods": {"0": {"hs": "100190"}}}},
        {"content": {"goods": {"x": {}}}},
        {"content": {"goods": {"1": 5}}},
        {"content": {"colour": "red"}},
        {"content": 7},
        {"colour": "red"},
        {"content": {"goods": "none"}},
        {"content": {"gross_mass_g": True}},
    ],
    ids=str,
)
def test_fields_that_do_not_fit_are_a_problem(fields: dict[str, Any]) -> None:
    assert not import_declaration(lodged(), Given("kz-kgd", "cn-gacc", fields=fields)).ready


def test_a_document_is_kept_with_the_hash_of_its_file_and_otherwise_not() -> None:
    sha256 = bytes(range(32))
    with_file = import_declaration(lodged(), Given("kz-kgd", "cn-gacc", documents={"PH-77": sha256}))
    assert with_file.payload["content"]["documents"] == [{"kind": "N851", "number": "PH-77", "sha256": sha256}]
    assert with_file.as_dict()["payload"]["content"]["documents"][0]["sha256"] == {"hex": sha256.hex()}
    without = import_declaration(lodged(), SIDES)
    assert "documents" not in without.payload["content"]
    pattern = "GoodsShipment/GovernmentAgencyGoodsItem/AdditionalDocument/ID"
    assert fate_of(without, pattern)[0] is Fate.NOWHERE
    unknown = import_declaration(lodged(), Given("kz-kgd", "cn-gacc", documents={"PH-78": sha256}))
    assert [problem.field for problem in unknown.problems] == ["content.documents"]


REASON = (
    "<AdditionalInformation><StatementDescription>Twice sent</StatementDescription>"
    "<StatementTypeCode>AES</StatementTypeCode></AdditionalInformation>"
)


def test_a_request_to_invalidate_needs_the_ucr_of_the_number_it_names() -> None:
    raw = request("INV", REASON)
    (problem,) = import_declaration(raw, Given()).problems
    assert problem.message == "expected a UCR, got none: give the UCR of the declaration of number 19GBCKKCQSXV2FGVA8"
    imported = import_declaration(raw, Given(ucr="KZ-AGRO-2026/77"))
    assert (imported.kind, imported.subject, imported.payload) == (
        INVALIDATE,
        "KZ-AGRO-2026/77",
        {"reason": "Twice sent"},
    )
    validate_payload(imported.kind, imported.payload)


def test_a_reason_code_stands_in_where_no_words_are_given() -> None:
    raw = request("INV", "<Amendment><ChangeReasonCode>1</ChangeReasonCode></Amendment>")
    assert import_declaration(raw, Given(ucr="X")).payload == {"reason": "reason code 1"}
    assert not import_declaration(request("INV", ""), Given(ucr="X")).ready


def test_an_amendment_carries_the_whole_content() -> None:
    for function in ("4", "5"):
        raw = lodged(("<FunctionCode>9</FunctionCode>", f"<FunctionCode>{function}</FunctionCode>{REASON}"))
        imported = import_declaration(raw, Given())
        assert (imported.kind, imported.problems) == (AMEND, ())
        assert imported.payload["reason"] == "Twice sent"
        validate_payload(imported.kind, imported.payload)
    exporter = "<Exporter><ID>KZ990000000001</ID></Exporter>"
    corrected = import_declaration(request("COR", exporter + REASON + SHIPMENT), Given())
    assert corrected.problems == ()
    assert corrected.payload["content"]["consignor"] == "KZ990000000001"
    partial = import_declaration(request("COR", REASON), Given(ucr="X"))
    assert [problem.field for problem in partial.problems] == ["content"]


def test_a_request_of_another_type_is_none() -> None:
    assert not import_declaration(request("QRY", REASON), Given(ucr="X")).ready


@pytest.mark.parametrize(
    "raw",
    [
        LODGED.replace("Declaration>", "Response>").encode(),
        LODGED[: LODGED.index("<md:W")].encode() + b"</md:MetaData>",
    ],
)
def test_what_holds_no_declaration_is_refused(raw: bytes) -> None:
    with pytest.raises(XmlRefused, match="expected one Declaration"):
        import_declaration(raw, SIDES)


@given(st.sets(st.integers(0, LODGED.count("\n") - 1)))
def test_whatever_lines_are_missing_every_leaf_has_one_fate(missing: set[int]) -> None:
    lines = [line for number, line in enumerate(LODGED.split("\n")) if number not in missing]
    raw = "\n".join(lines).encode()
    try:
        imported = import_declaration(raw, SIDES)
    except XmlRefused:
        return
    assert sum(imported.counts.values()) == leaves_counted_otherwise(raw)
    if imported.ready:
        validate_payload(imported.kind, imported.payload)


def test_no_pattern_stands_twice_in_the_table() -> None:
    patterns = [row.pattern for row in ROWS]
    assert len(set(patterns)) == len(patterns)


# What the samples lack for a declaration of ours, and what a declarant would add.
LACKING: dict[str, Any] = {
    "content": {
        "containers": ["CSQU3054383"],
        "gross_mass_g": 1_000_000_000,
        "consignee": "A consignee",
        "goods": [{"hs": "460219", "description": "Given by the declarant", "mass_g": 5000}],
    }
}


@pytest.mark.skipif(not SAMPLES, reason=f"no sample declarations in {DATA}")
class TestThePublishedSamples:
    def test_there_are_twenty(self) -> None:
        assert len(SAMPLES) == 20

    @pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
    def test_each_is_imported_with_a_report_of_each_leaf(self, path: Path) -> None:
        raw = path.read_bytes().replace(UNCLOSED, CLOSED)
        imported = import_declaration(raw, SIDES)
        assert imported.kind == (INVALIDATE if path.stem.endswith("Cancellation") else LODGE)
        assert sum(imported.counts.values()) == len(imported.leaves) == leaves_counted_otherwise(raw)
        for leaf in imported.leaves:
            row = row_of(leaf.pattern)
            assert row is not None, f"no row for {leaf.pattern}"
            assert leaf.fate in (row.fate, Fate.NOWHERE, Fate.FAULT), leaf
            assert leaf.to or leaf.why, leaf

    @pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
    def test_each_is_ready_to_sign_once_what_it_lacks_is_given(self, path: Path) -> None:
        raw = path.read_bytes().replace(UNCLOSED, CLOSED)
        cancellation = path.stem.endswith("Cancellation")
        given = Given("kz-kgd", "cn-gacc", ucr="U-1" if cancellation else "", fields={} if cancellation else LACKING)
        imported = import_declaration(raw, given)
        assert imported.problems == ()
        validate_payload(imported.kind, imported.payload)

    def test_the_one_that_is_no_xml_is_refused_and_says_which_comment_is_open(self) -> None:
        (path,) = [path for path in SAMPLES if UNCLOSED in path.read_bytes()]
        with pytest.raises(XmlRefused, match="the comment that begins in line 65 is not closed"):
            import_declaration(path.read_bytes(), SIDES)
