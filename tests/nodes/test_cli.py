"""The command line: exit statuses that scripts can rely on, errors that say what to do, and a light install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE, comity
from tests.ledger.test_proof_check import POLICY, STATEMENT, proof_of

# What the auditor's install does not have.
ABSENT = (
    "grpc",
    "google.protobuf",
    "plyvel",
    "fastapi",
    "uvicorn",
    "starlette",
    "httpx",
    "jwt",
    "structlog",
    "prometheus_client",
    "lxml",
    "reportlab",
    "segno",
    "fontTools",
    "ttf_opensans",
    "pylopdf_fonts_zh_cn",
)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(comity, [str(argument) for argument in arguments])


def run_light(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process in which nothing of the extras can be imported."""
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {{n.split('.')[0] for n in {ABSENT!r}}}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from nodes.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    (tmp_path / "a.policy").write_bytes(POLICY)
    (tmp_path / "a.cose").write_bytes(STATEMENT)
    (tmp_path / "a.tlog-proof").write_bytes(proof_of(STATEMENT, ("kz-kgd-1", "cn-gacc-1")))
    (tmp_path / "lonely.tlog-proof").write_bytes(proof_of(STATEMENT, ("kz-kgd-1", "cn-gacc-1")))
    return tmp_path / "a.tlog-proof"


def test_a_proof_that_holds_ends_with_0_and_says_what_was_not_checked(proof: Path) -> None:
    result = run("verify", proof, "--policy", proof.with_suffix(".policy"))
    assert result.exit_code == EXIT_HOLDS
    assert "holds" in result.output
    assert "not checked:" in result.output


def test_a_proof_that_does_not_hold_ends_with_1_and_names_the_check(proof: Path) -> None:
    proof.write_bytes(proof_of(STATEMENT, ("kz-kgd-1", "kz-kgd-2")))
    result = run("verify", proof, "--policy", proof.with_suffix(".policy"), "--json")
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    checks = json.loads(result.stdout)["proofs"][0]["checks"]
    assert [check["name"] for check in checks if check["verdict"] == "fails"] == ["quorum"]
    assert "missing cn" in next(check["detail"] for check in checks if check["name"] == "quorum")


def test_one_bad_proof_among_good_ones_ends_with_1(proof: Path, tmp_path: Path) -> None:
    bad = tmp_path / "b.tlog-proof"
    bad.write_bytes(proof.read_bytes()[:-10])
    bad.with_suffix(".cose").write_bytes(STATEMENT)
    assert run("verify", proof, bad, "--policy", proof.with_suffix(".policy")).exit_code == EXIT_DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["verify"], EXIT_MISUSE, "Missing argument"),
        (["verify", "{dir}/a.tlog-proof"], EXIT_MISUSE, "Missing option '--policy'"),
        (["verify", "{dir}/none", "--policy", "{dir}/a.policy", "--statement", "{dir}/a.cose"], EXIT_UNAVAILABLE, "No"),
        (["verify", "{dir}/a", "{dir}/b", "--policy", "{dir}/a.policy", "--statement", "x"], EXIT_MISUSE, "one FILE"),
        (["verify", "{dir}/lonely.tlog-proof", "--policy", "{dir}/a.policy"], EXIT_MISUSE, "with --statement"),
        (["verify", "{dir}/a.cose", "--policy", "{dir}/a.policy", "--statement", "x"], EXIT_MISUSE, "goes with"),
        (["verify", "{dir}/a.cose", "--policy", "{dir}/a.policy"], EXIT_DOES_NOT_HOLD, "by itself proves nothing"),
        (["audit", "{dir}/none", "--policy", "{dir}/a.policy"], EXIT_UNAVAILABLE, "no such directory"),
        (["audit", "{dir}", "--policy", "{dir}/a.cose"], EXIT_MISUSE, "a.cose"),
        (["verify", "{dir}/a.tlog-proof", "--policy", "{dir}/a.cose"], EXIT_MISUSE, "a.cose"),
        (["export", "{dir}/x", "--gateway", "http://127.0.0.1:1", "--policy", "{dir}/a.policy"], EXIT_MISUSE, "--as"),
        (["audit", "{dir}", "--policy", "{dir}/none"], EXIT_UNAVAILABLE, "No such file"),
        (["nonsense"], EXIT_MISUSE, "No such command"),
        (["keys", "show", "{dir}/a.cose"], EXIT_MISUSE, "pem"),
        (["keys", "new", "{dir}/a.cose"], EXIT_MISUSE, "nothing is overwritten"),
        (["status", "--gateway", "nonsense"], EXIT_MISUSE, "expected a URL"),
        (["network", "init", "{dir}"], EXIT_MISUSE, "never overwritten"),
        (["network", "init", "{dir}/n", "--authority", "kz"], EXIT_MISUSE, "expected NAME:COUNTRY"),
        (
            ["network", "init", "{dir}/n", "--parameter", "iat_skew_hard_s=60"],
            EXIT_MISUSE,
            "iat_skew_soft_s: expected at most iat_skew_hard_s, 60, got 300",
        ),
        (["validator", "run", "--config", "{dir}/none.toml"], EXIT_MISUSE, "cannot be read"),
        (["gateway", "run", "--config", "{dir}/none.toml"], EXIT_MISUSE, "cannot be read"),
    ],
)  # fmt: skip
def test_each_wrong_call_has_its_status_and_says_what_is_wrong(
    proof: Path, arguments: list[str], status: int, says: str
) -> None:
    result = run(*(argument.replace("{dir}", str(proof.parent)) for argument in arguments))
    assert (result.exit_code, says in result.output) == (status, True), result.output


def test_a_gateway_that_is_not_there_ends_with_3() -> None:
    result = run("status", "--gateway", "http://127.0.0.1:1")
    assert result.exit_code == EXIT_UNAVAILABLE
    assert "http://127.0.0.1:1" in result.output


def test_a_new_key_is_private_and_its_public_part_can_be_shown(tmp_path: Path) -> None:
    for alg in ("eddsa", "es256"):
        path = tmp_path / f"{alg}.key"
        made = run("keys", "new", path, "--alg", alg, "--json")
        assert made.exit_code == EXIT_HOLDS
        assert path.stat().st_mode & 0o777 == 0o600
        for shown in (run("keys", "show", path, "--json"), run("keys", "show", f"{path}.pub", "--json")):
            assert json.loads(shown.stdout) == json.loads(made.stdout)


def test_a_payload_that_the_contract_would_refuse_is_refused_before_it_is_signed(tmp_path: Path) -> None:
    run("keys", "new", tmp_path / "k")
    (tmp_path / "p.json").write_text('{"kid": {"hex": "00"}, "reason": "r"}')
    out = tmp_path / "s.cose"
    sign = ("sign", "--key", tmp_path / "k", "--as", "kz-kgd/registrar", "--payload", tmp_path / "p.json", "--out", out)
    for kind, about, says in (
        ("registry.suspend", "kz/truck/t-1", "expected 32 to 32 bytes"),
        ("registry.suspend", "KZ TRUCK", "subject_invalid"),
        ("registry.nonsense", "kz/truck/t-1", "kind_unknown"),
    ):
        result = run(*sign, "--kind", kind, "--about", about)
        assert (result.exit_code, says in result.output) == (EXIT_MISUSE, True), result.output
    (tmp_path / "p.json").write_text("[" * 100_000)
    assert run(*sign, "--kind", "escort.load", "--about", "19GBCKKCQSXV2FGVA8").exit_code == EXIT_MISUSE
    (tmp_path / "p.json").write_text('{"mass_g": 1.5}')
    assert "expected integers only" in run(*sign, "--kind", "escort.load", "--about", "19GBCKKCQSXV2FGVA8").output
    assert not out.exists()


def test_verify_and_audit_run_without_any_of_the_extras(proof: Path, tmp_path: Path) -> None:
    assert run_light("verify", proof, "--policy", proof.with_suffix(".policy")).returncode == EXIT_HOLDS
    (tmp_path / "archive").mkdir()
    audited = run_light("audit", tmp_path / "archive", "--policy", proof.with_suffix(".policy"), "--json")
    assert audited.returncode == EXIT_DOES_NOT_HOLD, audited.stderr
    assert json.loads(audited.stdout)["holds"] is False


def test_a_command_that_needs_an_extra_names_it(tmp_path: Path) -> None:
    result = run_light("status", "--gateway", "http://127.0.0.1:1")
    assert result.returncode == EXIT_UNAVAILABLE
    assert "pip install '.[client]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["CSQU3054383"], EXIT_HOLDS, "is a container, ISO 6346: owner CSQ  category U  serial 305438  check_digit 3"),
        (["CSQU3054384"], EXIT_HOLDS, "character 11: expected check digit 3, got '4'"),
        (["CSQU3054384", "--kind", "container"], EXIT_DOES_NOT_HOLD, "character 11: expected check digit 3"),
        (["csqu 305438-3"], EXIT_DOES_NOT_HOLD, "would be a container, ISO 6346, written CSQU3054383"),
        (["CSQU3054383", "???"], EXIT_DOES_NOT_HOLD, "is no movement reference number"),
        (["x" * 129], EXIT_MISUSE, "expected at most 128 characters, got 129"),
        (["CSQU3054383", "--kind", "nonsense"], EXIT_MISUSE, "Invalid value for '--kind'"),
    ],
)
def test_identify_says_what_a_text_is_and_which_character_is_wrong(
    arguments: list[str], status: int, says: str
) -> None:
    result = run("identify", *arguments)
    assert (result.exit_code, says in result.output) == (status, True), result.output


def test_identify_takes_lines_of_standard_input_and_gives_json() -> None:
    result = CliRunner().invoke(comity, ["identify", "--json", "--kind", "mrn", "-"], input="19GBCKKCQSXV2FGVA8\nx\n")
    good, bad = json.loads(result.output)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert good["readings"][0]["parts"]["country"] == "GB"
    assert bad["errors"] == [{"kind": "mrn", "character": 1, "expected": "a digit of the year", "got": "'x'"}]
