"""The audit knows from the log itself which log keys counted where its checkpoint stands, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.replay import ContractReplay
from ledger.archive import POLICY, archive_policy, export_archive
from ledger.audit import AuditReport, Check, audit_archive
from ledger.note import NoteSigner
from ledger.policy import parse_policy
from ledger.tenure import Tenure
from tests.contracts.rotated import CN, KZ, OVERLAP_S, RotatedWorld


def audit(world: RotatedWorld, directory: Path, policy: list[NoteSigner], lines: list[NoteSigner]) -> AuditReport:
    """Of an archive of everything so far, its checkpoint signed by these log keys, under a policy of these."""
    raw = world.policy_of(policy)
    export_archive(world.chain, directory, raw, world.signed_by(*lines))
    return audit_archive(directory, raw, ContractReplay())


def told(report: AuditReport) -> list[tuple[Check, str]]:
    return [(fault.check, fault.message) for fault in report.faults]


@pytest.fixture
def world() -> RotatedWorld:
    return RotatedWorld()


def test_before_any_change_the_report_names_the_keys_of_the_genesis_record(world: RotatedWorld, tmp_path: Path) -> None:
    world.idle(2)
    report = audit(world, tmp_path / "a", [world.old], [world.old, world.log_signers[CN]])
    assert told(report) == []
    assert report.log_keys == (
        Tenure(KZ, world.old.public_key, 0),
        Tenure(CN, world.log_signers[CN].public_key, 0),
    )


def test_in_the_overlap_both_keys_count_and_an_archive_holds_by_the_policy_of_before_and_by_the_new_one(
    world: RotatedWorld, tmp_path: Path
) -> None:
    height = world.rotate()
    assert world.chain.height == height
    lines = [world.new, world.old, world.log_signers[CN]]
    for number, policy in enumerate(([world.old], [world.new], [world.new, world.old])):
        report = audit(world, tmp_path / str(number), policy, lines)
        assert told(report) == []
        assert [each.from_height for each in report.log_keys if each.authority == KZ] == [0, height]
    printed = audit(world, tmp_path / "json", [world.new], lines).as_dict()["log_keys"]
    assert isinstance(printed, list)
    assert [(each["authority"], each["from_height"], each["until_height"]) for each in printed] == [
        (KZ, 0, height),
        (KZ, height, None),
        (CN, 0, None),
    ]


def test_after_the_overlap_only_the_new_key_counts(world: RotatedWorld, tmp_path: Path) -> None:
    world.rotate()
    world.time_ms += OVERLAP_S * 1000
    world.idle()
    assert told(audit(world, tmp_path / "new", [world.new], [world.new, world.log_signers[CN]])) == []
    found = told(audit(world, tmp_path / "old", [world.old], [world.old, world.log_signers[CN]]))
    assert [check for check, _ in found] == [Check.LOG_SIGNATURE]
    assert "does not count at height" in found[0][1]
    # Nor does it beside the new one: whoever made that line had a key that was over.
    both = told(audit(world, tmp_path / "both", [world.new], [world.new, world.old]))
    assert [check for check, _ in both] == [Check.LOG_SIGNATURE]


def test_the_last_millisecond_of_the_overlap_counts_and_the_next_does_not(world: RotatedWorld, tmp_path: Path) -> None:
    world.rotate()
    began_ms = world.time_ms
    for after_ms, faults in ((OVERLAP_S * 1000 - 1, []), (OVERLAP_S * 1000, [Check.LOG_SIGNATURE])):
        world.time_ms = began_ms + after_ms - 250  # which the next block adds
        world.idle()
        report = audit(world, tmp_path / str(after_ms), [world.old], [world.old])
        assert [fault.check for fault in report.faults] == faults, after_ms


@pytest.mark.parametrize("decided", ["by both", "by one side", "by nobody"])
def test_a_key_that_is_used_before_its_height_is_told(world: RotatedWorld, tmp_path: Path, decided: str) -> None:
    if decided == "by both":
        assert world.agree(f"{KZ}/1", world.rotation()) > world.chain.height
    elif decided == "by one side":
        world.propose(f"{KZ}/1", world.rotation())
        world.idle(5)
    else:
        world.idle(5)
    report = audit(world, tmp_path / "a", [world.new], [world.new, world.log_signers[CN]])
    assert [check for check, _ in told(report)] == [Check.GENESIS]
    assert "nor did the log bring one into force" in told(report)[0][1]
    # Beside a key that counts, the line is that of a stranger.
    beside = audit(world, tmp_path / "b", [world.old], [world.old, world.new])
    assert [check for check, _ in told(beside)] == [Check.SIGNATURE_LINES]


def test_a_line_of_a_new_key_that_does_not_verify_is_told(world: RotatedWorld, tmp_path: Path) -> None:
    world.rotate()
    forged = world.signed_by(world.old, world.new).splitlines(keepends=True)
    at = next(i for i, line in enumerate(forged) if line.startswith("— ".encode())) + 1
    broken = bytearray(forged[at])
    broken[-10] ^= 1 if broken[-10] != ord("A") else 2
    note = b"".join([*forged[:at], bytes(broken), *forged[at + 1 :]])
    raw = world.policy_of([world.old])
    export_archive(world.chain, tmp_path / "a", raw, world.signed_by(world.old, world.new))
    (tmp_path / "a" / "checkpoint").write_bytes(note)
    report = audit_archive(tmp_path / "a", raw, ContractReplay())
    assert [fault.check for fault in report.faults] == [Check.SIGNATURE_LINES]


def test_the_archive_s_policy_may_name_the_new_key_and_nobody_else_s(world: RotatedWorld, tmp_path: Path) -> None:
    world.rotate()
    own = world.policy_of([world.old])
    export_archive(world.chain, tmp_path, own, world.signed_by(world.old, world.new))
    for signer, faults in ((world.new, []), (NoteSigner(bytes(range(32))), [Check.ARCHIVE_POLICY])):
        (tmp_path / POLICY).write_bytes(archive_policy(parse_policy(world.policy_of([signer]))))
        report = audit_archive(tmp_path, own, ContractReplay())
        assert [fault.check for fault in report.faults] == faults


def test_where_the_log_cannot_be_executed_only_the_genesis_record_s_keys_are_known(
    world: RotatedWorld, tmp_path: Path
) -> None:
    class Broken(ContractReplay):
        def begin_block(self, state: object, time_ms: int, height: int) -> object:  # type: ignore[override]
            raise RecursionError("deep")

    world.rotate()
    raw = world.policy_of([world.new])
    export_archive(world.chain, tmp_path / "a", raw, world.signed_by(world.new))
    report = audit_archive(tmp_path / "a", raw, Broken())  # type: ignore[arg-type]
    assert {fault.check for fault in report.faults} == {Check.GENESIS, Check.OUTCOMES}
    assert report.log_keys == ()
