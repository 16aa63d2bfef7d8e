"""No text from outside reaches a terminal raw, whichever command prints it. Attacks first."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from ledger.proof import format_proof
from nodes.cli import EXIT_UNAVAILABLE, main
from nodes.cli.terminal import PlainStream, plain_streams, unfiltered
from tests.browser.cases import POLICY, spoilt
from tests.contracts.crossings import crossed
from tests.ledger import corridor
from tests.nodes.test_cli import run, run_light

RAW = ("\x1b", "\u202e", "\r", "\x9b")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "kz.policy"
    path.write_bytes(POLICY)
    return path


def test_a_certificate_that_draws_its_own_verdict_is_shown_as_it_is(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "a.crossing"
    file.write_bytes(spoilt().file)
    shown = run_light("verify", file, "--policy", policy)
    assert shown.returncode == 1, shown.stderr
    assert not any(each in shown.stdout for each in RAW)
    assert "\n  9 holds" not in shown.stdout
    assert "got '\\x1b'" in shown.stdout


def test_a_log_whose_name_turns_writing_around_is_shown_as_it_is(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "a.tlog-proof"
    proof = format_proof(corridor.PROOF).replace(b"comity.example", "comity\u202e.example".encode())
    # Lines of nobody whom the policy knows: they are ignored, and the name of the log is what is left to say.
    file.write_bytes(proof.replace(b" kz-kgd-", b" xx-kgd-").replace(b" cn-gacc-", b" xx-gacc-"))
    file.with_suffix(".cose").write_bytes(corridor.STATEMENT.raw)
    shown = run_light("verify", file, "--policy", policy)
    assert shown.returncode == 1, shown.stderr
    assert not any(each in shown.stdout for each in RAW)
    assert r"a checkpoint of comity\u202e.example" in shown.stdout


def test_a_name_in_a_policy_that_turns_writing_around_is_spelled_out(tmp_path: Path) -> None:
    policy = tmp_path / "kz.policy"
    # Octets of a policy's names are opaque: whoever writes one can call a group anything.
    policy.write_bytes(
        POLICY.replace(b"quorum both", "quorum b\u202eth".encode()).replace(b"both all", "b\u202eth all".encode())
    )
    file = tmp_path / "a.crossing"
    file.write_bytes(crossed().certificate())
    shown = run("verify", file, "--policy", policy)
    assert shown.exit_code == 0, shown.output
    assert "\u202e" not in shown.output
    assert r"quorum b\u202eth" in shown.output
    assert corridor.ORIGIN in shown.output


def test_errors_are_plain_too(tmp_path: Path, policy: Path) -> None:
    shown = run("verify", tmp_path / "no\x1b[2J\u202efile", "--policy", policy)
    assert shown.exit_code == 3
    assert not any(each in shown.output for each in RAW)


def test_bytes_are_handed_out_as_they_are_and_text_is_not() -> None:
    raw = io.BytesIO()
    stream = PlainStream(io.TextIOWrapper(raw, "utf-8", write_through=True))
    stream.write("a\x1b\u202e\n")
    stream.writelines(["b\r", "c\n"])
    stream.buffer.write(b"\x1b")
    stream.flush()
    assert raw.getvalue() == b"a\\u001b\\u202e\nb\\rc\n\x1b"
    assert unfiltered(stream) is stream.unfiltered  # type: ignore[arg-type]


def test_streams_are_given_back(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with plain_streams():
        click.echo("one\x1b")
        click.echo(b"two\x1b")
    click.echo("three\x07")
    assert capsysbinary.readouterr().out == b"one\\u001b\ntwo\x1b\nthree\x07\n"


def test_a_stream_of_ascii_is_not_written_past(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    with plain_streams():
        click.echo("Бахты \u202e\x9b")
    assert raw.getvalue().decode() == "Бахты \\u202e\\u009b\n"


def test_what_is_plain_already_is_not_wrapped_again(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_streams():
        outer = sys.stdout
        with plain_streams():
            assert sys.stdout is outer
        click.echo("\u202e")
    assert capsys.readouterr().out == "\\u202e\n"


def test_a_failure_of_ours_that_quotes_somebody_is_plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("a name \x1b[2J\u202e of theirs")

    monkeypatch.setattr("nodes.cli.comity", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == EXIT_UNAVAILABLE
    shown = capsys.readouterr().err
    assert "this is a bug in comity" in shown
    assert not any(each in shown for each in RAW)
