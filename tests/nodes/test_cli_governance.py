"""`comity governance` on the command line: what is misuse, what is refused before it is signed, what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.algorithms import PrivateKey
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE, comity
from nodes.cli import governance as commands

NOBODY = "http://127.0.0.1:1"  # a port that nobody may listen on without being root
PROPOSAL = "kz-kgd/2026-014"


@pytest.fixture
def signer(tmp_path: Path) -> list[str]:
    """A registrar's options."""
    key = PrivateKey.generate()
    (tmp_path / "registrar.key").write_bytes(key.to_pem())
    (tmp_path / "new.pub").write_bytes(PrivateKey.generate().public.cose_key)
    return ["--gateway", NOBODY, "--key", str(tmp_path / "registrar.key"), "--as", "kz-kgd/registrar"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(comity, ["governance", *arguments])


def test_what_could_never_be_signed_is_misuse_and_says_what_is_expected(signer: list[str], tmp_path: Path) -> None:
    propose = ["propose", PROPOSAL, *signer, "--title", "t"]
    changes = tmp_path / "changes.json"
    changes.write_text('{"parameter": 1}')
    for extra, said in (
        ([], "nothing to change"),
        (["--registrar-key", "kz-kgd"], "expected NAME=VALUE"),
        (["--registrar-key", f"kz-kgd={tmp_path / 'new.pub'}"], "--replaces: expected the thumbprint"),
        (["--contract", "escort=2"], "expected --release"),
        (["--changes", str(changes)], "expected an array of changes"),
        (["--membership", str(changes)], "change"),
    ):
        result = run(*propose, *extra)
        assert (result.exit_code, said in result.output) == (EXIT_MISUSE, True), (extra, result.output)


def test_a_payload_that_its_schema_refuses_is_not_sent(signer: list[str], tmp_path: Path) -> None:
    changes = tmp_path / "changes.json"
    changes.write_text('[{"parameter": {"name": "corridor_m", "from": 2000}}]')
    result = run("propose", PROPOSAL, *signer, "--title", "t", "--changes", str(changes))
    assert result.exit_code == EXIT_MISUSE
    assert "payload_field_missing" in result.output
    assert run("propose", "no-slash", *signer, "--title", "t", "--changes", str(changes)).exit_code == EXIT_MISUSE


def test_a_gateway_that_is_not_there_is_unavailable(signer: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.exchange.RETRY_MAX_S", 0.0)
    assert run("approve", PROPOSAL, *signer).exit_code == EXIT_UNAVAILABLE


class Shown:
    """A gateway that shows one proposal, and whose program lacks what it brings."""

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def proposal(self, proposal_id: str) -> dict[str, Any]:
        return {"record": {"id": PROPOSAL, "proposal": "ab" * 32, "changes": []}}

    def governance(self) -> dict[str, Any]:
        return {"missing": [f"contract escort version 9 is proposed ({PROPOSAL}): this program does not have it"]}

    def submit(self, raw: bytes, *, wait: str) -> None:
        raise AssertionError("nothing may be sent")


def test_nothing_is_approved_that_was_not_read_nor_what_the_own_program_lacks(
    signer: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "open_client", lambda *_: Shown())
    lacking = run("approve", PROPOSAL, *signer)
    assert (lacking.exit_code, "--without-release" in lacking.output) == (EXIT_DOES_NOT_HOLD, True)
    other = run("approve", PROPOSAL, *signer, "--without-release", "--proposal", "cd" * 32)
    assert (other.exit_code, "another proposal than the one that was read" in other.output) == (
        EXIT_DOES_NOT_HOLD,
        True,
    )
