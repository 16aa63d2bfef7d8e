"""Which changes of the membership were decided on the ledger, and which hold by their signatures alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.governance_record import proposal_key
from contracts.membership_decisions import decided_changes
from contracts.replay import ContractReplay
from contracts.working import UnreadableRecord
from ledger import cbor
from ledger.archive import export_archive
from ledger.audit import AuditReport, audit_archive
from ledger.membership import Change, Register, newcomer, sign_change
from ledger.note import COSIGNATURE_V1, NoteSigner, VerifierKey, format_vkey
from tests.contracts.rotated import CN, KZ, RotatedWorld


def change_of(register: Register, name: str) -> Change:
    vkey = format_vkey(VerifierKey(name, COSIGNATURE_V1, NoteSigner.generate().public_key))
    return register.change([newcomer(name, KZ, f"{name}.example:7000", vkey)])


def decide(world: RotatedWorld, name: str, change: Change) -> None:
    """Both sides, and its height is reached."""
    text = change.text()
    proposal = world.sign(
        f"{KZ}/registrar",
        "governance.propose",
        name,
        {
            "title": "a validator",
            "changes": [{"membership": {"change": text}}],
            "membership_signature": world.registrars[KZ].sign(text.encode()),
        },
    )
    world.append(proposal)
    signature = world.registrars[CN].sign(text.encode())
    world.append(
        world.sign(
            f"{CN}/registrar", "governance.approve", name, {"proposal": proposal.id, "membership_signature": signature}
        )
    )
    world.idle(3)


def audit(world: RotatedWorld, directory: Path, changes: list[Change]) -> AuditReport:
    notes = b""
    for change in changes:
        note = change.text().encode()
        for key in world.registrars.values():
            note = sign_change(note, key, world.genesis)
        notes += note
    raw = world.policy()
    export_archive(world.chain, directory, raw, world.note(), changes=notes)
    return audit_archive(directory, raw, ContractReplay())


def test_an_audit_says_which_changes_no_proposal_decided(tmp_path: Path) -> None:
    world = RotatedWorld()
    changes, register = [], Register.of_genesis(world.genesis)
    for number in (3, 4, 5):
        changes.append(change_of(register, f"kz-kgd-{number}"))
        register = register.after(changes[-1])
    decide(world, f"{KZ}/1", changes[0])
    decide(world, f"{KZ}/3", changes[2])
    assert decided_changes(world.chain.state) == [changes[2].text(), changes[0].text()]
    report = audit(world, tmp_path / "a", changes)
    assert report.faults == ()
    assert report.membership_undecided == (2,)
    assert report.as_dict()["membership_undecided"] == [2]


def test_a_change_that_only_one_side_has_proposed_is_not_decided(tmp_path: Path) -> None:
    world = RotatedWorld()
    change = change_of(Register.of_genesis(world.genesis), "kz-kgd-3")
    text = change.text()
    payload: dict[str, cbor.Encodable] = {
        "title": "a validator",
        "changes": [{"membership": {"change": text}}],
        "membership_signature": world.registrars[KZ].sign(text.encode()),
    }
    world.append(world.sign(f"{KZ}/registrar", "governance.propose", f"{KZ}/1", payload))
    world.idle(5)
    assert decided_changes(world.chain.state) == []
    assert audit(world, tmp_path / "a", [change]).membership_undecided == (1,)


def test_a_network_without_governance_has_decided_nothing() -> None:
    assert decided_changes({}) == []


def test_a_history_that_does_not_fit_together_is_refused() -> None:
    world = RotatedWorld()
    decide(world, f"{KZ}/1", change_of(Register.of_genesis(world.genesis), "kz-kgd-3"))
    state = world.chain.state

    class Without:
        def get(self, key: str) -> bytes | None:
            return None if key == proposal_key(f"{KZ}/1") else state.get(key)

    with pytest.raises(UnreadableRecord, match="is said to have brought a change about"):
        decided_changes(Without())
