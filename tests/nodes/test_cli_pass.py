"""`comity pass` and `comity verify` at a gate without a network: exit statuses, plain answers, QR codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE, comity
from tests.contracts.proving import AT_S, POLICY, signed, started
from tests.nodes.test_cli import run_light

FACTS = started().facts()
AT = datetime.fromtimestamp(AT_S, UTC).isoformat()
LATER = datetime.fromtimestamp(FACTS.until_s + 120, UTC).isoformat()
SEEN = (
    "--vehicle",
    FACTS.vehicle,
    *(word for each in FACTS.containers for word in ("--container", each)),
    *(word for each in FACTS.seals for word in ("--seal", each)),
)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.pass").write_bytes(signed(FACTS).encode())
    (tmp_path / "kz.policy").write_bytes(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(comity, list(arguments))


def test_a_good_pass_of_what_the_gate_sees_ends_with_0(gate: Path) -> None:
    result = run("pass", "verify", "a.pass", "--policy", "kz.policy", "--at", AT, *SEEN)
    assert result.exit_code == EXIT_HOLDS, result.output
    assert "holds" in result.output
    assert "not checked:" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--at", LATER, *SEEN), "pass expired 120 s ago"),
        (("--at", "2020-01-01T00:00:00+05:00", *SEEN), "not valid for another"),
        (("--at", AT, "--vehicle", "KZ/999XXX02"), "pass is for other vehicle"),
        (("--at", AT, "--no-seals"), "pass is for other seals"),
        (("--at", AT, "--no-containers"), "pass is for other containers"),
        ((), "pass "),
    ],
)
def test_what_does_not_hold_ends_with_1_and_says_what(gate: Path, arguments: tuple[str, ...], says: str) -> None:
    result = run("pass", "verify", "a.pass", "--policy", "kz.policy", *arguments)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert says in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("verify", "a.pass", "--policy", "kz.policy", "--at", "noon"), EXIT_MISUSE, "expected a time"),
        (("verify", "a.pass", "--policy", "kz.policy", "--at", "2026-11-22T14:05:00"), EXIT_MISUSE, "with its zone"),
        (("verify", "a.pass", "--policy", "kz.policy", "--seal", "S", "--no-seals"), EXIT_MISUSE, "exclude"),
        (("verify", "none.pass", "--policy", "kz.policy"), EXIT_UNAVAILABLE, "No such file"),
        (("show", "kz.policy"), EXIT_DOES_NOT_HOLD, "tag 98"),
        (("show", "a.pass", "--qr", "a.gif"), EXIT_MISUSE, ".svg or .png"),
        (("show", "a.pass", "--qr", "kz.policy"), EXIT_MISUSE, ".svg or .png"),
    ],
)
def test_misuse_and_missing_files_have_statuses_of_their_own(
    gate: Path, arguments: tuple[str, ...], status: int, says: str
) -> None:
    result = run("pass", *arguments)
    assert result.exit_code == status, result.output
    assert says in result.output


def test_what_a_pass_says_is_shown_and_said_to_be_not_verified(gate: Path) -> None:
    result = run("pass", "show", "a.pass")
    assert result.exit_code == EXIT_HOLDS
    assert "NOT VERIFIED" in result.output
    assert FACTS.vehicle in result.output
    shown = json.loads(run("pass", "show", "a.pass", "--json").stdout)
    assert (shown["mrn"], shown["until_s"], shown["may_pass"]) == (FACTS.mrn, FACTS.until_s, True)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_qr_code_holds_the_pass_and_nothing_is_overwritten(gate: Path, suffix: str) -> None:
    result = run("pass", "show", "a.pass", "--qr", f"a.{suffix}")
    assert result.exit_code == EXIT_HOLDS, result.output
    assert "QR code of version" in result.output
    assert (gate / f"a.{suffix}").stat().st_size > 500
    assert run("pass", "show", "a.pass", "--qr", f"a.{suffix}").exit_code != EXIT_HOLDS


def test_any_verify_knows_a_pass_and_the_light_install_is_enough(gate: Path) -> None:
    result = run_light("pass", "verify", "a.pass", "--policy", "kz.policy", "--at", AT, *SEEN, "--json")
    assert result.returncode == EXIT_HOLDS, result.stderr
    found = json.loads(result.stdout)["proofs"][0]
    assert (found["kind"], found["holds"], found["vehicle"]) == ("pass", True, FACTS.vehicle)
    expired = run_light("verify", "a.pass", "--policy", "kz.policy")
    assert expired.returncode == EXIT_DOES_NOT_HOLD
    assert "pass: DOES NOT HOLD" in expired.stdout
