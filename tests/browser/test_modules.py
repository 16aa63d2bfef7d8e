"""The page's modules find what `comity verify` finds, of good files and of tampered ones: under Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ledger.proof_check import Verdict
from tests.browser.cases import Case, good, on_the_way, tampered

HERE = Path(__file__).parent
MINIMUM_NODE = 20


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed: the page's modules are not run by themselves")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version[1:].split(".")[0]) < MINIMUM_NODE:
        pytest.skip(f"node {version.strip()} has no WebCrypto with Ed25519")
    return found


def run(node: str, cases: tuple[Case, ...], folder: Path) -> list[dict[str, Any]]:
    (folder / "cases.json").write_text(json.dumps([case.as_json() for case in cases]))
    command = [node, "--no-warnings", str(HERE / "run.mjs"), str(folder / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    return reports


def test_good_files_hold_with_the_same_checks_and_the_same_words(node: str, tmp_path: Path) -> None:
    for case, report in zip(good(), run(node, good(), tmp_path), strict=True):
        expected = case.expected()
        assert expected.holds, (case.name, expected.checks)
        assert report["holds"], (case.name, report)
        assert report["kind"] == expected.kind
        assert [name for name, _, _ in report["checks"]] == [check.name for check in expected.checks], case.name
        assert report["summary"] != "", case.name
        left_out = [line for line in expected.not_checked if "left out" in line]
        assert [line for line in report["notChecked"] if "left out" in line] == left_out, case.name


def test_tampered_files_do_not_hold_and_the_same_check_says_so_first(node: str, tmp_path: Path) -> None:
    differs = []
    for case, report in zip(tampered(), run(node, tampered(), tmp_path), strict=True):
        expected = case.expected()
        assert report["holds"] == expected.holds, (case.name, report, expected.checks)
        if expected.holds:
            continue  # a line of a key that the policy does not know was altered
        first = next(check.name for check in expected.checks if check.verdict is not Verdict.HOLDS)
        got = next(name for name, verdict, _ in report["checks"] if verdict != "holds")
        if first != got:
            differs.append((first, got))
    # Of genesis records, block records and claims the page reads less than `comity verify`: hash and signature decide.
    assert set(differs) <= {("certificate", "quorum"), ("certificate", "inclusion"), ("format", "block")}
    assert len(differs) < 12


def test_a_movement_is_where_its_record_says_and_not_where_a_certificate_cut_at_its_end_says(
    node: str, tmp_path: Path
) -> None:
    refused = 0
    for case, report in zip(on_the_way(), run(node, on_the_way(), tmp_path), strict=True):
        expected = case.expected()
        assert report["holds"] == expected.holds, (case.name, report["checks"], expected.checks)
        if expected.holds:
            state = expected.summary.partition(" is ")[2].partition(";")[0]
            assert f" is {state};" in report["summary"], case.name
        else:
            first = next(check for check in expected.checks if check.verdict is not Verdict.HOLDS)
            got = next(name for name, verdict, _ in report["checks"] if verdict != "holds")
            assert got == first.name, case.name
            refused += got == "record"
    assert refused > 25


def test_a_certificate_without_a_record_says_in_one_sentence_that_more_may_have_come(node: str, tmp_path: Path) -> None:
    cases = tuple(case for case in good() if case.name in ("a.crossing", "way.crossing"))
    assert len(cases) == 2
    for case, report in zip(cases, run(node, cases, tmp_path), strict=True):
        for summary in (report["summary"], case.expected().summary):
            assert summary.endswith("; that nothing came after it is not proven"), case.name
    for case in good():
        if case not in cases:
            assert "not proven" not in case.expected().summary, case.name
