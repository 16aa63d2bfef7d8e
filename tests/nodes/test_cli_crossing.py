"""`comity crossing`, and `comity verify` of what it made: on the light install, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from tests.contracts import corridor as c
from tests.contracts.crossings import POLICY, RealLedger, crossed
from tests.ledger import corridor
from tests.nodes.test_cli import run, run_light


@pytest.fixture(scope="module")
def book() -> RealLedger:
    return crossed()


@pytest.fixture
def archive(tmp_path: Path, book: RealLedger) -> Path:
    book.export(tmp_path / "archive")
    (tmp_path / "border.policy").write_bytes(POLICY)
    return tmp_path / "archive"


def policy_of(archive: Path) -> tuple[str, Path]:
    return "--policy", archive.with_name("border.policy")


def test_a_certificate_is_made_from_an_archive_and_verifies_on_the_light_install(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.crossing"
    done = run_light("crossing", "make", archive, "--movement", c.MRN, *policy_of(archive), "--out", out)
    assert done.returncode == EXIT_HOLDS, done.stderr
    assert "is discharged; custody has been with cn-gacc" in done.stdout
    assert out.stat().st_mode & 0o077 == 0
    verified = run_light("verify", out, *policy_of(archive))
    assert verified.returncode == EXIT_HOLDS, verified.stdout
    for line in ("crossing: holds", "5 inclusion", "8 story", "not checked:", "left out"):
        assert line in verified.stdout
    assert "9 record" not in verified.stdout


def test_what_was_made_is_told_as_json_and_so_is_what_it_says(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.crossing"
    made = run("crossing", "make", archive, "--movement", c.MRN, *policy_of(archive), "--out", out, "--json")
    shown = json.loads(made.stdout)
    assert (shown["statements"], shown["record"], shown["bytes"]) == (15, False, out.stat().st_size)
    found = json.loads(run("verify", out, *policy_of(archive), "--json").stdout)["proofs"][0]
    assert (found["mrn"], found["state"], found["custody"][1]["authority"]) == (c.MRN, "discharged", "cn-gacc")
    assert [seal["state"] for seal in found["seals"]] == ["removed", "removed"]


def test_without_declarations_nothing_of_what_they_say_is_in_the_file(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.crossing"
    arguments = ("--movement", c.MRN, *policy_of(archive), "--out", out, "--without-declarations")
    assert run("crossing", "make", archive, *arguments).exit_code == EXIT_HOLDS
    assert b"Tacheng" not in out.read_bytes()
    result = run("verify", out, *policy_of(archive))
    assert result.exit_code == EXIT_HOLDS
    assert f"declarations {c.UCR}" in result.output


def test_a_tampered_certificate_ends_with_1_and_names_the_check(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.crossing"
    run("crossing", "make", archive, "--movement", c.MRN, *policy_of(archive), "--out", out)
    out.chmod(0o600)
    out.write_bytes(out.read_bytes().replace(b"HS00000001", b"HS00000002"))
    result = run("verify", out, *policy_of(archive))
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert "5 inclusion  fails" in result.output


def test_an_archive_that_was_altered_or_is_another_log_s_makes_none(archive: Path, tmp_path: Path) -> None:
    arguments = ("--movement", c.MRN, "--out", tmp_path / "a.crossing")
    bundle = next((archive / "tile" / "entries").rglob("[0-9]*.p/*"))
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b"kz/truck/t-001", b"kz/truck/t-009"))
    altered = run("crossing", "make", archive, *policy_of(archive), *arguments)
    assert altered.exit_code == EXIT_DOES_NOT_HOLD
    assert "not those of its checkpoint" in altered.output
    bundle.write_bytes(whole)
    stranger = tmp_path / "stranger.policy"
    stranger.write_bytes(corridor.policy_text("kz").replace(b"group both all", b"group both any"))
    assert run("crossing", "make", archive, "--policy", stranger, *arguments).exit_code == EXIT_HOLDS
    assert run("verify", tmp_path / "a.crossing", *policy_of(archive)).exit_code == EXIT_HOLDS


@pytest.mark.parametrize(
    ("source", "mrn", "more", "status"),
    [
        (("archive",), c.make_mrn(7), (), EXIT_DOES_NOT_HOLD),
        (("archive",), "19GBCKKCQSXV2FGVA9", (), EXIT_MISUSE),
        (("nowhere",), c.MRN, (), EXIT_UNAVAILABLE),
        ((), c.MRN, (), EXIT_MISUSE),
        (("archive", "--gateway", "http://127.0.0.1:1"), c.MRN, (), EXIT_MISUSE),
        (("archive",), c.MRN, ("--as", "kz/truck/t-001"), EXIT_MISUSE),
        (("--gateway", "http://127.0.0.1:1"), c.MRN, (), EXIT_UNAVAILABLE),
    ],
    ids=["unknown movement", "no mrn", "no archive", "no source", "two sources", "signer", "no gateway"],
)
def test_what_cannot_be_made_says_so(
    archive: Path, source: tuple[str, ...], mrn: str, more: tuple[str, ...], status: int
) -> None:
    place = archive.parent
    named = [place / each if each in ("archive", "nowhere") else each for each in source]
    result = run(
        "crossing", "make", *named, "--movement", mrn, *policy_of(archive), "--out", place / "a.crossing", *more
    )
    assert result.exit_code == status, result.output
    assert not (place / "a.crossing").exists()


def test_a_gateway_that_hands_out_the_certificate_of_another_movement_is_refused(
    archive: Path, book: RealLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lying(*_: object) -> Iterator[object]:
        yield SimpleNamespace(certificate=lambda *_, **__: book.certificate())

    monkeypatch.setattr("nodes.cli.crossing.open_client", lying)
    for mrn, status in ((c.MRN, EXIT_HOLDS), (c.make_mrn(7), EXIT_DOES_NOT_HOLD)):
        out = archive.with_name(f"{mrn}.crossing")
        arguments = ("--gateway", "http://127.0.0.1:1", "--movement", mrn, *policy_of(archive), "--out", out)
        result = run("crossing", "make", *arguments)
        assert result.exit_code == status, result.output
        assert out.exists() is (status == EXIT_HOLDS)
    assert "certificate of another movement" in result.output


def test_a_certificate_is_printed_if_it_holds_and_not_otherwise(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.crossing"
    run("crossing", "make", archive, "--movement", c.MRN, *policy_of(archive), "--out", out)
    printed = run("crossing", "pdf", out, *policy_of(archive), "--out", tmp_path / "a.pdf")
    assert printed.exit_code == EXIT_HOLDS, printed.output
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")
    out.write_bytes(out.read_bytes().replace(b"HS00000001", b"HS00000002"))
    refused = run("crossing", "pdf", out, *policy_of(archive), "--out", tmp_path / "b.pdf")
    assert refused.exit_code == EXIT_DOES_NOT_HOLD
    assert "5 inclusion" in refused.output
    assert not (tmp_path / "b.pdf").exists()


def test_printing_without_its_extra_says_what_to_install(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.crossing"
    run("crossing", "make", archive, "--movement", c.MRN, *policy_of(archive), "--out", out)
    result = run_light("crossing", "pdf", out, *policy_of(archive), "--out", tmp_path / "a.pdf")
    assert result.returncode == EXIT_UNAVAILABLE
    assert "extra `certificate`" in result.stderr
