"""What an authority decided is told to the declarant's system: each decision once, in the profile's shape."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from api.wco.notifications import (
    METADATA_NAMESPACE,
    RESPONSE_NAMESPACE,
    ROWS,
    NothingToNotify,
    notifications_document,
)
from api.wco.schemas import Schemas
from contracts.catalogue import contract_of
from contracts.outcome import Outcome
from tests.api import tales
from tests.api.wco.documents import DATA
from tests.contracts import corridor as c

Steps = list[tuple[str, str, dict[str, Any]]]
HAPPY: Steps = [(f"declaration.{event}", iss, payload) for event, iss, payload in c.DECLARATION_STEPS]
KZ, CN, AGRO = "kz-kgd/officer", "cn-gacc/officer", "kz/declarant/agro"
DS = "{urn:wco:datamodel:WCO:Response_DS:DMS:2}"


def steps(*more: tuple[str, str, dict[str, Any]]) -> Steps:
    return [(f"declaration.{event}", iss, payload) for event, iss, payload in more]


ACCEPTED = HAPPY[:3]
REASON = {"reason": "because"}
TALES: dict[str, Steps] = {
    "released and recognised": HAPPY,
    "suspended, resumed and withdrawn": HAPPY
    + steps(
        ("suspend_recognition", CN, c.decision()),
        ("resume_recognition", CN, c.decision()),
        ("withdraw_recognition", CN, c.decision()),
    ),
    "rejected": HAPPY[:1] + steps(("reject", KZ, {"reasons": ["illegible", "<not> & signed"]})),
    "controlled, corrected and refused": ACCEPTED
    + steps(
        ("control", KZ, {"control": "documentary"}),
        ("control_result", KZ, {"result": "satisfactory"}),
        ("control", KZ, {"control": "physical", "note": "open one bag"}),
        ("control_result", KZ, {"result": "corrected", "content": c.content(gross_mass_g=34_000_000)}),
        ("refuse_recognition", CN, c.decision(2)),
        ("refuse", KZ, {"reasons": ["prohibited"]}),
    ),
    "amended, and an invalidation refused": ACCEPTED
    + steps(
        ("request_amendment", AGRO, {"content": c.content(), **REASON}),
        ("refuse_amendment", KZ, REASON),
        ("request_amendment", AGRO, {"content": c.content(), **REASON}),
        ("accept_amendment", KZ, {}),
        ("request_invalidation", AGRO, REASON),
        ("refuse_invalidation", KZ, REASON),
        ("request_invalidation", AGRO, REASON),
        ("invalidate", KZ, REASON),
    ),
    "cleared": HAPPY
    + steps(("clear", KZ, {"evidence": {"kind": "certificate of exit", "number": "EX-1", "sha256": c.PHOTO}})),
}


def responses(name: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(notifications_document(c.UCR, tales.history(TALES[name], c.UCR)))
    assert root.tag == f"{{{METADATA_NAMESPACE}}}MetaData"
    return root.findall(f"{{{RESPONSE_NAMESPACE}}}Response")


def texts(response: ElementTree.Element, path: str) -> list[str]:
    whole = "/".join(step if step.startswith("{") else f"{{{RESPONSE_NAMESPACE}}}{step}" for step in path.split("."))
    return [element.text or "" for element in response.findall(whole)]


def told(name: str) -> list[tuple[str, str, str]]:
    """Function code, number and version of each response."""
    return [
        (
            texts(each, "FunctionCode")[0],
            "".join(texts(each, "Declaration.ID")),
            texts(each, "Declaration.VersionID")[0],
        )
        for each in responses(name)
    ]


KZ_NUMBER, CN_NUMBER = c.make_kz_number(1), c.make_cn_number(1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "released and recognised",
            [("02", "", "1"), ("01", KZ_NUMBER, "1"), ("08", KZ_NUMBER, "1"), ("11", CN_NUMBER, "1")],
        ),
        ("rejected", [("03", "", "1")]),
        (
            "controlled, corrected and refused",
            [
                ("02", "", "1"),
                ("01", KZ_NUMBER, "1"),
                ("06", KZ_NUMBER, "1"),
                ("05", KZ_NUMBER, "1"),
                ("07", KZ_NUMBER, "2"),
                ("11", "", "2"),
                ("03", KZ_NUMBER, "2"),
            ],
        ),
        (
            "amended, and an invalidation refused",
            [
                ("02", "", "1"),
                ("01", KZ_NUMBER, "1"),
                ("11", KZ_NUMBER, "1"),
                ("11", KZ_NUMBER, "2"),
                ("11", KZ_NUMBER, "2"),
                ("10", KZ_NUMBER, "2"),
            ],
        ),
    ],
)
def test_each_decision_has_its_function_code_number_and_version(
    name: str, expected: list[tuple[str, str, str]]
) -> None:
    assert told(name) == expected


@pytest.mark.parametrize("name", TALES)
def test_the_contract_takes_what_is_told(name: str) -> None:
    ledger = c.Ledger.of_corridor()
    for kind, iss, payload in TALES[name]:
        assert ledger.send(kind, iss, c.UCR, payload) is Outcome.ACCEPTED, (kind, ledger.detail)
    versions = [version for _, _, version in told(name)]
    assert int(versions[-1]) == ledger.declaration(c.UCR).version


def test_a_recognition_names_its_decision_legal_basis_and_authority() -> None:
    response = responses("suspended, resumed and withdrawn")[-1]
    assert texts(response, "AdditionalInformation.StatementCode") == ["WITHDRAWN", "LEGAL_BASIS", "AUTHORITY"]
    assert texts(response, "AdditionalInformation.StatementDescription") == [
        "checked",
        "Smart Customs pilot; 4; 2025-07-01",
        "cn-gacc",
    ]
    assert texts(response, "Status.NameCode") == ["41"]


def test_reasons_come_through_as_they_are_and_times_are_block_times() -> None:
    (response,) = responses("rejected")
    assert texts(response, "Error.Description") == ["illegible", "<not> & signed"]
    recorded = tales.history(TALES["rejected"], c.UCR).entries[1]
    assert texts(response, "FunctionalReferenceID") == [recorded.statement.id_hex[:32]]
    assert texts(response, f"Declaration.RejectionDateTime.{DS}DateTimeString") == ["20260921141521Z"]
    assert texts(response, f"IssueDateTime.{DS}DateTimeString") == ["20260921141521Z"]


def test_a_character_that_xml_cannot_have_is_replaced() -> None:
    history = tales.history(HAPPY[:1] + steps(("reject", KZ, {"reasons": ["a\ufffeb\uffffc\U0001f69b"]})), c.UCR)
    root = ElementTree.fromstring(notifications_document(c.UCR, history))
    assert [e.text for e in root.iter(f"{{{RESPONSE_NAMESPACE}}}Description")] == ["a\ufffdb\ufffdc\U0001f69b"]


def test_before_any_answer_there_is_no_document() -> None:
    for told_so_far in ([], HAPPY[:1]):
        with pytest.raises(NothingToNotify):
            notifications_document(c.UCR, tales.history(told_so_far, c.UCR))


def test_the_document_is_the_committed_one() -> None:
    got = notifications_document(c.UCR, tales.history(HAPPY, c.UCR))
    assert got == tales.golden(Path(__file__).with_name("released_and_recognised.xml"), got)


def test_every_decision_of_an_authority_has_a_row_and_no_row_is_of_another() -> None:
    contract = contract_of("declaration")
    assert contract is not None
    events = {event for machine in contract.machines for _, event in machine.transitions}
    assert events - set(ROWS) == {"lodge", "request_amendment", "request_invalidation"}
    assert set(ROWS) <= events


@pytest.mark.skipif(not (DATA / "xsd").exists(), reason=f"no schemas in {DATA}")
@pytest.mark.parametrize("name", TALES)
def test_documents_are_valid_against_the_data_types_of_the_profile(name: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / "xsd", tmp_path / "xsd", copy_function=shutil.copyfile)
    (tmp_path / "xsd").chmod(0o755)
    shutil.copyfile(Path(__file__).with_name("response.xsd"), tmp_path / "xsd" / "response.xsd")
    Schemas(tmp_path / "xsd").check(notifications_document(c.UCR, tales.history(TALES[name], c.UCR)))


@pytest.mark.skipif(not DATA.exists(), reason=f"no sample notifications in {DATA}")
def test_every_function_code_that_is_used_is_one_of_the_published_samples() -> None:
    published = {path.name.split("_")[1]: path.stem.split("_")[2] for path in DATA.glob("notification_*.xml")}
    for row in ROWS.values():
        assert published[row.function] == row.name
