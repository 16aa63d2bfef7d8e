"""The audit of an archive in which validators take part that joined after genesis: what the signed changes prove."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.archive import MEMBERSHIP, export_archive
from ledger.audit import AuditReport, Check, audit_archive
from ledger.checkpoint import Checkpoint
from ledger.cosignature import cosign, cosigner_verifier
from ledger.membership import Register, Step, Verb, newcomer, sign_change
from ledger.note import COSIGNATURE_V1, NoteSigner, VerifierKey, format_note, format_vkey, parse_note
from ledger.policy import Group, Witness, format_policy, parse_policy
from tests.ledger.toy import ORIGIN, World

JOINED = "kz-kgd-3"
LEFT = "kz-kgd-2"


@dataclass(frozen=True)
class Archive:
    """Of a log in which one validator joined, made a block, cosigned the end, and another was removed."""

    directory: Path
    world: World
    policy: bytes
    notes: tuple[bytes, ...]

    def audit(self) -> AuditReport:
        return audit_archive(self.directory, self.policy, self.world.replay)

    def told(self, changes: bytes | None) -> set[Check]:
        """What is told of the archive with these changes beside it."""
        path = self.directory / MEMBERSHIP
        if changes is None:
            path.unlink()
        else:
            path.write_bytes(changes)
        try:
            return {fault.check for fault in self.audit().faults}
        finally:
            path.write_bytes(b"".join(self.notes))


def make_archive(directory: Path) -> Archive:
    world = World()
    signer = NoteSigner.generate()
    vkey = format_vkey(VerifierKey(JOINED, COSIGNATURE_V1, signer.public_key))
    register, notes = Register.of_genesis(world.genesis), []
    for step in (
        newcomer(JOINED, "kz-kgd", "10.0.0.3:7000", vkey),
        Step(Verb.PROMOTE, JOINED),
        Step(Verb.REMOVE, LEFT),
    ):
        change = register.change([step])
        note = change.text().encode()
        for key in world.registrars.values():
            note = sign_change(note, key, world.genesis)
        notes.append(note)
        register = register.after(change)
    world.grow(3)
    world.append(world.add("kz/truck/0", "c1"), proposer=JOINED)
    # Nobody of its authority but the newcomer has cosigned the end.
    checkpoint = Checkpoint(ORIGIN, world.chain.size, world.chain.root)
    signed = parse_note(world.note(checkpoint, without=("kz-kgd-1", LEFT)))
    line = cosign(signer, JOINED, checkpoint, world.time_ms // 1000)
    policy = parse_policy(world.policy())
    witnesses = [witness for witness in policy.witnesses if witness.name != LEFT]
    witnesses.append(Witness(JOINED, cosigner_verifier(JOINED, signer.public_key)))
    groups = [Group("kz", 1, ("kz-kgd-1", JOINED)) if group.name == "kz" else group for group in policy.groups]
    raw = format_policy(replace(policy, witnesses=tuple(witnesses), groups=tuple(groups)))
    export_archive(
        world.chain,
        directory,
        raw,
        format_note(replace(signed, signatures=(*signed.signatures, line))),
        changes=b"".join(notes),
    )
    return Archive(directory, world, raw, tuple(notes))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("joined") / "archive")


def test_blocks_and_cosignatures_of_who_joined_hold_by_the_signed_changes(archive: Archive) -> None:
    report = archive.audit()
    assert report.faults == ()
    assert JOINED in report.signed


def test_without_the_changes_nobody_knows_who_joined(archive: Archive) -> None:
    assert archive.told(None) == {Check.GENESIS, Check.BLOCKS}


def test_changes_that_end_before_somebody_joined_do_not_let_him_in(archive: Archive) -> None:
    assert archive.told(b"") >= {Check.GENESIS, Check.BLOCKS}


def test_changes_in_another_order_or_twice_or_with_one_left_out_prove_nothing(archive: Archive) -> None:
    first, second, third = archive.notes
    for altered in (second + first + third, first + first + second, first + third, second + third):
        assert archive.told(altered) >= {Check.GENESIS, Check.BLOCKS}


def test_a_change_that_one_side_alone_has_signed_lets_nobody_in(archive: Archive) -> None:
    first, *more = archive.notes
    lines = first.splitlines(keepends=True)
    for missing in (-1, -2):
        alone = b"".join(line for line in lines if line is not lines[missing])
        assert archive.told(alone + b"".join(more)) >= {Check.GENESIS, Check.BLOCKS}


@given(data=st.data())
def test_changes_with_any_byte_altered_prove_nothing(archive: Archive, data: st.DataObject) -> None:
    whole = bytearray(b"".join(archive.notes))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    assert archive.told(bytes(whole)) >= {Check.GENESIS, Check.BLOCKS}
