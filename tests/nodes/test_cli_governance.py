"""`comity governance` on the command line: what is misuse, what is refused before it is signed, what is not there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.algorithms import PrivateKey
from ledger.statement import parse_statement, sign_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_MISUSE, EXIT_UNAVAILABLE, comity
from nodes.cli import governance as commands
from tests.contracts.governing import genesis

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


PROPOSER, STRANGER = PrivateKey.generate(), PrivateKey.generate()


def proposing(
    changes: list[dict[str, Any]],
    sub: str = PROPOSAL,
    kind: str = "governance.propose",
    key: PrivateKey = PROPOSER,
) -> bytes:
    payload: dict[str | int, Any] = {"title": "for the test", "changes": changes}
    return sign_statement(key, kind=kind, iss="kz-kgd/registrar", sub=sub, iat_s=1, cti=bytes(16), payload=payload).raw


LACKING = [{"contract": {"name": "escort", "from": 1, "to": 9, "release": "9.0.0"}}]
REMOVAL = [{"membership": {"change": "remove cn-gacc-1"}}]


class Shown:
    """A gateway that shows one proposal, and whose program lacks what it brings."""

    def __init__(self, raw: bytes, changes: list[dict[str, Any]], **shown: Any) -> None:
        self._raw = raw
        self._record = {
            "id": PROPOSAL,
            "proposal": parse_statement(raw).id.hex(),
            "title": "for the test",
            "not_before_height": None,
            "changes": changes,
            "state": "open",
            "lapses_ms": 1,
            "effect_height": None,
            "reason": None,
            "approvals": [{"by": "kz-kgd/registrar", "height": 1}],
            "previous": [],
        } | shown

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def proposal(self, proposal_id: str) -> dict[str, Any]:
        return {"record": self._record}

    def statement(self, statement_id: str) -> SimpleNamespace:
        return SimpleNamespace(raw=self._raw)

    def participant(self, participant_id: str) -> dict[str, Any]:
        key = PROPOSER.public
        return {"record": {"keys": [{"kid": key.kid.hex(), "cose_key": key.cose_key.hex()}]}}

    def governance(self) -> dict[str, Any]:
        return {"missing": [f"contract escort version 9 is proposed ({PROPOSAL}): this program does not have it"]}

    def membership(self) -> dict[str, Any]:
        return {"changes": []}

    def submit(self, raw: bytes, *, wait: str) -> None:
        raise AssertionError("nothing may be sent")


def show(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    monkeypatch.setattr(commands, "open_client", lambda *_: shown)


def test_nothing_is_approved_that_was_not_read_nor_what_the_own_program_lacks(
    signer: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, Shown(proposing(LACKING), LACKING))
    lacking = run("approve", PROPOSAL, *signer)
    assert (lacking.exit_code, "--without-release" in lacking.output) == (EXIT_DOES_NOT_HOLD, True)
    other = run("approve", PROPOSAL, *signer, "--without-release", "--proposal", "cd" * 32)
    assert (other.exit_code, "another proposal than the one that was read" in other.output) == (
        EXIT_DOES_NOT_HOLD,
        True,
    )


WIDER = [{"parameter": {"name": "corridor_m", "from": 2_000, "to": 3_000}}]
WIDEST = [{"parameter": {"name": "corridor_m", "from": 2_000, "to": 100_000}}]


@pytest.mark.parametrize(
    ("shown", "different"),
    [
        (Shown(proposing(WIDEST), WIDER), "changes"),
        (Shown(proposing(WIDER), REMOVAL), "changes"),
        (Shown(proposing(WIDER), WIDER, title="nothing of weight"), "title"),
        (Shown(proposing(WIDER), WIDER, not_before_height=2**53), "height"),
        (Shown(proposing(WIDER), WIDER, proposal="ab" * 32), "id of the statement"),
        (Shown(proposing(WIDER, sub="kz-kgd/2026-013"), WIDER), "proposal"),
        (Shown(proposing(WIDER, kind="governance.approve"), WIDER), "kind"),
        (Shown(proposing(WIDER), WIDER, approvals=[{"by": "cn-gacc/registrar", "height": 1}]), "proposer"),
        (Shown(proposing(WIDER), WIDER, approvals=[]), "proposer"),
    ],
    ids=["other change", "text to be signed", "title", "height", "statement", "subject", "kind", "by", "by nobody"],
)
def test_a_gateway_that_shows_something_else_than_was_proposed_gets_nothing_signed(
    signer: list[str], monkeypatch: pytest.MonkeyPatch, shown: Shown, different: str
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may be signed")

    show(monkeypatch, shown)
    monkeypatch.setattr(commands, "signed_statement", refuse)
    monkeypatch.setattr(commands, "_membership_signature", refuse)
    for result in (
        run("approve", PROPOSAL, *signer, "--without-release"),
        run("show", PROPOSAL, *signer),
    ):
        assert (result.exit_code, f"shows another {different} than" in result.output) == (EXIT_DOES_NOT_HOLD, True)


def test_what_was_proposed_is_shown_as_it_was_proposed(signer: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, Shown(proposing(WIDER), WIDER))
    result = run("show", PROPOSAL, *signer)
    assert (result.exit_code, "corridor_m" in result.output) == (0, True)


@pytest.mark.parametrize("state", ["open", "withdrawn", "rejected", "lapsed", "superseded"])
def test_no_change_of_the_membership_is_written_of_what_not_all_stand_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    show(monkeypatch, Shown(proposing(REMOVAL), REMOVAL, state=state))
    (tmp_path / "genesis.cbor").write_bytes(genesis().encode())
    out = tmp_path / "change.note"
    files = ["--genesis", str(tmp_path / "genesis.cbor"), "--out", str(out)]
    result = run("membership", PROPOSAL, "--gateway", NOBODY, *files)
    assert (result.exit_code, "every authority has approved" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    assert not out.exists()


def broken(raw: bytes) -> bytes:
    """With another signature."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    ("raw", "said"),
    [(broken(proposing(WIDER)), "has not signed it"), (proposing(WIDER, key=STRANGER), "has no key")],
    ids=["forged", "by a key that is not the proposer's"],
)
def test_a_proposal_that_its_proposer_has_not_signed_is_not_approved(
    signer: list[str], monkeypatch: pytest.MonkeyPatch, raw: bytes, said: str
) -> None:
    show(monkeypatch, Shown(raw, WIDER))
    monkeypatch.setattr(commands, "signed_statement", lambda *_: pytest.fail("nothing may be signed"))
    result = run("approve", PROPOSAL, *signer, "--without-release")
    assert (result.exit_code, said in result.output) == (EXIT_DOES_NOT_HOLD, True), result.output


def test_whoever_brings_the_proposer_s_key_believes_no_gateway_about_it(
    signer: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gateway that has made a key of its own shows that as the proposer's."""
    (tmp_path / "proposer.pub").write_bytes(PROPOSER.public.cose_key)
    shown = Shown(proposing(WIDER, key=STRANGER), WIDER)
    key = STRANGER.public
    monkeypatch.setattr(
        shown, "participant", lambda _: {"record": {"keys": [{"kid": key.kid.hex(), "cose_key": key.cose_key.hex()}]}}
    )
    show(monkeypatch, shown)
    monkeypatch.setattr(commands, "signed_statement", lambda *_: pytest.fail("nothing may be signed"))
    result = run("approve", PROPOSAL, *signer, "--without-release", "--signed-by", str(tmp_path / "proposer.pub"))
    assert (result.exit_code, "with another key" in result.output) == (EXIT_DOES_NOT_HOLD, True), result.output


# --- signed ahead ----------------------------------------------------------------------------------------------------


@pytest.fixture
def deputy(tmp_path: Path) -> list[str]:
    (tmp_path / "deputy.key").write_bytes(PrivateKey.generate().to_pem())
    (tmp_path / "proposer.pub").write_bytes(PROPOSER.public.cose_key)
    out = str(tmp_path / "approval.cose")
    signed_by = str(tmp_path / "proposer.pub")
    return ["--key", str(tmp_path / "deputy.key"), "--as", "cn-gacc/deputy", "--signed-by", signed_by, "--out", out]


def test_an_approval_is_signed_ahead_and_the_two_together_make_the_decision(tmp_path: Path, deputy: list[str]) -> None:
    raw = proposing(WIDER)
    (tmp_path / "proposal.cose").write_bytes(raw)
    result = run("approve-ahead", str(tmp_path / "proposal.cose"), *deputy)
    assert (result.exit_code, "corridor_m" in result.output) == (0, True), result.output
    approval = parse_statement((tmp_path / "approval.cose").read_bytes())
    assert (approval.kind, approval.sub, approval.iss) == ("governance.approve", PROPOSAL, "cn-gacc/deputy")
    assert approval.payload == {"proposal": parse_statement(raw).id}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (broken(proposing(WIDER)), "has not signed it"),
        (proposing(WIDER, key=STRANGER), "with another key"),
        (proposing(WIDER, kind="governance.approve"), "expected governance.propose"),
        (b"x", "is no statement"),
        (proposing([]), "is no statement that proposes"),
    ],
    ids=["forged", "of somebody else", "no proposal", "no statement", "no changes"],
)
def test_nothing_is_approved_ahead_that_is_no_signed_proposal(
    tmp_path: Path, deputy: list[str], raw: bytes, said: str
) -> None:
    (tmp_path / "proposal.cose").write_bytes(raw)
    result = run("approve-ahead", str(tmp_path / "proposal.cose"), *deputy)
    assert (result.exit_code, said in result.output) == (EXIT_DOES_NOT_HOLD, True), result.output
    assert not (tmp_path / "approval.cose").exists()
