"""`comity import`: a declaration in XML becomes a statement, and what is not ready is not signed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.payloads import validate_payload
from ledger.algorithms import EDDSA, PrivateKey
from ledger.statement import parse_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from tests.api.wco.documents import lodged, request
from tests.nodes.test_cli import run, run_light

SIDES = ("--home", "kz-kgd", "--partner", "cn-gacc")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "wheat.xml"
    path.write_bytes(lodged())
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "declarant.pem"
    path.write_bytes(PrivateKey.generate(EDDSA).to_pem())
    return path


def reports(*arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    result = run("import", *arguments, "--json")
    return result.exit_code, json.loads(result.stdout)["documents"]


def test_a_document_that_is_ready_ends_with_0_and_says_how_many_values_went_where(document: Path) -> None:
    result = run("import", document, *SIDES)
    assert result.exit_code == EXIT_HOLDS, result.output
    assert "wheat.xml: ready: declaration.lodge about KZ-AGRO-2026/77" in result.output
    assert "34 values: 7 field, 1 subject, 5 commercial" in result.output


def test_the_whole_report_names_every_element(document: Path) -> None:
    _, (report,) = reports(document, *SIDES)
    output = run("import", document, *SIDES, "--report").output
    assert len(report["elements"]) == sum(report["fates"].values())
    assert all(element["path"] in output for element in report["elements"])


def test_a_document_that_is_not_ready_ends_with_1_and_names_element_and_line(document: Path) -> None:
    document.write_bytes(lodged(("CSQU3054383", "CSQU3054384")))
    result = run("import", document, *SIDES)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert "NOT READY" in result.output
    assert "TransportEquipment/ID, line 8: content.containers[0]: container: character 11" in result.output


def test_one_that_is_no_xml_among_good_ones_is_refused_and_the_others_are_imported(
    document: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.xml"
    bad.write_bytes(b"<!DOCTYPE a><a/>")
    status, (first, second) = reports(document, bad, *SIDES)
    assert status == EXIT_DOES_NOT_HOLD
    assert (first["ready"], second["ready"], second["refused"]) == (True, False, "doctype")


def test_what_is_ready_is_signed_and_what_is_not_is_not(document: Path, key: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.xml"
    bad.write_bytes(lodged(("CSQU3054383", "CSQU3054384")))
    out = tmp_path / "out"
    sign = ("--out", out, "--key", key, "--as", "kz/declarant/astyk", "--open")
    assert run("import", document, bad, *SIDES, *sign).exit_code == EXIT_DOES_NOT_HOLD
    assert sorted(path.name for path in out.iterdir()) == [
        "bad.report.json",
        "wheat.cose",
        "wheat.payload.json",
        "wheat.report.json",
    ]
    statement = parse_statement((out / "wheat.cose").read_bytes())
    assert (statement.kind, statement.iss, statement.sub) == (
        "declaration.lodge",
        "kz/declarant/astyk",
        "KZ-AGRO-2026/77",
    )
    validate_payload(statement.kind, {str(name): value for name, value in statement.payload.items()})
    assert json.loads((out / "wheat.report.json").read_text())["statement"] == statement.id_hex
    again = run("import", document, *SIDES, *sign)
    assert again.exit_code == EXIT_MISUSE
    assert "nothing is overwritten" in again.output


def test_commercial_fields_are_signed_in_the_open_only_where_that_is_said(
    document: Path, key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("import", document, *SIDES, "--out", out, "--key", key, "--as", "kz/declarant/astyk")
    assert result.exit_code == EXIT_MISUSE
    assert "consignor, consignee, goods/0/description, goods/0/value" in result.output
    assert not list(tmp_path.rglob("*.cose"))


def test_the_payload_file_is_what_sign_takes(document: Path, key: Path, tmp_path: Path) -> None:
    phyto = tmp_path / "phyto.pdf"
    phyto.write_bytes(b"a certificate")
    out = tmp_path / "out"
    assert run("import", document, *SIDES, "--out", out, "--document", f"PH-77={phyto}").exit_code == EXIT_HOLDS
    about = ("--kind", "declaration.lodge", "--about", "KZ-AGRO-2026/77", "--payload", out / "wheat.payload.json")
    signed = run("sign", "--key", key, "--as", "kz/declarant/astyk", *about, "--out", tmp_path / "wheat.cose")
    assert signed.exit_code == EXIT_HOLDS, signed.output
    content: Any = parse_statement((tmp_path / "wheat.cose").read_bytes()).payload["content"]
    assert content["documents"][0]["sha256"] == hashlib.sha256(b"a certificate").digest()


def test_fields_are_laid_over_what_the_document_says(document: Path, tmp_path: Path) -> None:
    document.write_bytes(lodged(("CSQU3054383", "CSQU3054384")))
    fields = tmp_path / "fields.json"
    fields.write_text('{"content": {"containers": ["CBHU3202732"]}}')
    status, (report,) = reports(document, *SIDES, "--fields", fields)
    assert (status, report["payload"]["content"]["containers"]) == (EXIT_HOLDS, ["CBHU3202732"])
    fields.write_text('{"content": 1.5}')
    assert run("import", document, *SIDES, "--fields", fields).exit_code == EXIT_MISUSE


def test_a_cancellation_asks_for_invalidation_of_the_ucr_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "cancel.xml"
    path.write_bytes(request("INV", "<Amendment><ChangeReasonCode>1</ChangeReasonCode></Amendment>"))
    status, (report,) = reports(path, "--ucr", "KZ-AGRO-2026/77")
    assert (status, report["kind"], report["payload"]) == (
        EXIT_HOLDS,
        "declaration.request_invalidation",
        {"reason": "reason code 1"},
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--as", "kz/declarant/astyk"),
        ("--submit", "http://127.0.0.1:1"),
        ("--document", "PH-77"),
        ("--format", "edifact"),
    ],
    ids=lambda options: options[0],
)
def test_options_that_do_not_go_together_are_misuse(document: Path, options: tuple[str, ...]) -> None:
    assert run("import", document, *SIDES, *options).exit_code == EXIT_MISUSE


def test_one_ucr_for_two_documents_is_misuse(document: Path) -> None:
    assert run("import", document, document, *SIDES, "--ucr", "X").exit_code == EXIT_MISUSE


def test_a_file_that_is_not_there_ends_with_3(tmp_path: Path) -> None:
    assert run("import", tmp_path / "absent.xml", *SIDES).exit_code == EXIT_UNAVAILABLE


def test_documents_are_imported_on_the_light_install_and_only_schemas_need_an_extra(document: Path) -> None:
    done = run_light("import", document, *SIDES)
    assert done.returncode == EXIT_HOLDS, done.stderr
    with_schemas = run_light("import", document, *SIDES, "--xsd", document.parent)
    assert with_schemas.returncode == EXIT_UNAVAILABLE
    assert "extra `wco`" in with_schemas.stderr
