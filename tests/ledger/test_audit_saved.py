"""Going on from an earlier audit: the same verdict as from the beginning, and no archive or file that is believed."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.archive import export_archive
from ledger.audit import AuditReport, Check, Save, audit_archive
from ledger.audit_saved import MAGIC, NUMBER_BYTES, NUMBERS, Header, SavedAudit
from ledger.errors import Malformed, Misuse
from tests.ledger.archives import edit, entries_of, flip, write_archive
from tests.ledger.toy import World

PROGRAM = "comity 0 test"


def world_of(blocks: int, statements: int = 3) -> World:
    world = World()
    world.grow(blocks, statements)
    return world


def audit(directory: Path, world: World, since: Path | None = None, save: Path | None = None) -> AuditReport:
    return audit_archive(
        directory,
        world.policy(),
        world.replay,
        since=None if since is None else SavedAudit(since),
        save=None if save is None else Save(save, PROGRAM),
    )


def exported(world: World, directory: Path) -> Path:
    export_archive(world.chain, directory, world.policy(), world.note())
    return directory


@pytest.mark.parametrize(("blocks", "statements"), [(1, 3), (62, 3), (70, 7)])
def test_going_on_comes_to_what_an_audit_from_the_beginning_comes_to(
    tmp_path: Path, blocks: int, statements: int
) -> None:
    world = world_of(blocks, statements)
    first = audit(exported(world, tmp_path / "a"), world, save=tmp_path / "saved")
    assert first.holds
    for more in (0, 2, 70):
        world.grow(more, statements)
        archive = exported(world, tmp_path / "a")
        whole = audit(archive, world, save=tmp_path / "anew")
        went_on = audit(archive, world, since=tmp_path / "saved", save=tmp_path / "again")
        assert went_on.holds, went_on.faults
        assert went_on.before == first.size
        assert went_on.entries == whole.entries - first.size
        assert replace(went_on, before=0, entries=whole.entries) == whole
        # And leaves what the other leaves, byte for byte: so audits can go on from one another for years.
        assert (tmp_path / "again").read_bytes() == (tmp_path / "anew").read_bytes()
        (tmp_path / "again").replace(tmp_path / "saved")
        first = whole


def test_entries_audited_before_are_not_read_again_and_their_files_still_have_to_be_there(tmp_path: Path) -> None:
    world = world_of(70, 7)
    archive = exported(world, tmp_path / "a")
    audit(archive, world, save=tmp_path / "saved")
    world.grow(2)
    exported(world, archive)
    edit(archive / "tile/entries/001", flip(20_000))
    assert audit(archive, world, since=tmp_path / "saved").holds
    assert not audit(archive, world).holds
    (archive / "tile/entries/001").unlink()
    missing = audit(archive, world, since=tmp_path / "saved")
    assert [fault.check for fault in missing.faults] == [Check.FILES]


def test_a_fault_in_what_is_new_is_found_where_it_is(tmp_path: Path) -> None:
    world = world_of(70, 7)
    archive = exported(world, tmp_path / "a")
    audit(archive, world, save=tmp_path / "saved")
    size = world.chain.size
    again = world.chain.entry(size - 2)
    world.grow(4)
    forged = entries_of(world)
    forged[size + 1] = again
    write_archive(tmp_path / "b", forged, world)
    found = audit(tmp_path / "b", world, since=tmp_path / "saved")
    # A statement of what was audited before stands again in what is new.
    assert [(fault.entry, fault.other) for fault in found.faults if fault.check is Check.UNIQUE] == [
        (size + 1, size - 2)
    ]
    assert not (tmp_path / "none").exists()
    audit(tmp_path / "b", world, since=tmp_path / "saved", save=tmp_path / "none")
    assert not (tmp_path / "none").exists(), "only an audit without a fault is saved"


def test_an_archive_that_rewrites_what_was_audited_is_told_and_audited_from_the_beginning(tmp_path: Path) -> None:
    world = world_of(70, 7)
    audit(exported(world, tmp_path / "a"), world, save=tmp_path / "saved")
    world.grow(4)
    forged = entries_of(world)
    forged[5] = forged[5][:-1] + bytes((forged[5][-1] ^ 1,))
    write_archive(tmp_path / "b", forged, world)
    found = audit(tmp_path / "b", world, since=tmp_path / "saved")
    assert found.before == 0
    assert any("does not go on from the saved audit" in fault.message for fault in found.faults)
    assert any(fault.entry == 5 and fault.check is Check.SIGNATURES for fault in found.faults)


def test_an_honest_archive_of_another_log_is_no_continuation(tmp_path: Path) -> None:
    world, other = world_of(40), World(seed="other")
    audit(exported(world, tmp_path / "a"), world, save=tmp_path / "saved")
    other.grow(80)
    found = audit_archive(
        exported(other, tmp_path / "b"), other.policy(), other.replay, since=SavedAudit(tmp_path / "saved")
    )
    assert [fault.check for fault in found.faults] == [Check.ROOT]
    assert found.before == 0
    assert found.height_compared == 81


def test_an_archive_that_is_shorter_than_what_was_audited_is_misuse(tmp_path: Path) -> None:
    world = world_of(10)
    short = exported(world, tmp_path / "short")
    world.grow(10)
    audit(exported(world, tmp_path / "long"), world, save=tmp_path / "saved")
    with pytest.raises(Misuse, match="were audited before"):
        audit(short, world, since=tmp_path / "saved")


def test_every_byte_of_the_file_counts(tmp_path: Path) -> None:
    world = world_of(4, 2)
    archive = exported(world, tmp_path / "a")
    audit(archive, world, save=tmp_path / "saved")
    data = (tmp_path / "saved").read_bytes()
    policy = world.policy()
    for position in range(0, len(data), max(1, len(data) // 30)):
        (tmp_path / "bad").write_bytes(flip(position)(data))
        try:
            since = SavedAudit(tmp_path / "bad")
            since.check_goes_with(PROGRAM, policy)
            report = audit_archive(archive, policy, world.replay, since=since)
        except (Malformed, Misuse):
            continue
        assert not report.holds, position
        assert report.before == 0
    for wrong in (b"", data[:-1], data + b"\x00", data[: len(data) // 2], MAGIC, MAGIC + b"\xff" * 8):
        (tmp_path / "bad").write_bytes(wrong)
        with pytest.raises((Malformed, Misuse)):
            audit_archive(archive, policy, world.replay, since=SavedAudit(tmp_path / "bad"))


def test_another_program_or_policy_begins_anew(tmp_path: Path) -> None:
    world = world_of(4)
    audit(exported(world, tmp_path / "a"), world, save=tmp_path / "saved")
    saved = SavedAudit(tmp_path / "saved")
    saved.check_goes_with(PROGRAM, world.policy())
    with pytest.raises(Misuse, match="audit from the beginning"):
        saved.check_goes_with("comity 1", world.policy())
    with pytest.raises(Misuse, match="another policy"):
        saved.check_goes_with(PROGRAM, world.policy("cn-gacc"))


def test_a_forged_file_whose_hash_is_right_cannot_bring_in_another_state(tmp_path: Path) -> None:
    """Who alters the file may say that nothing was wrong before; the state is not his to choose."""
    world = world_of(10)
    archive = exported(world, tmp_path / "a")
    audit(archive, world, save=tmp_path / "saved")
    data = (tmp_path / "saved").read_bytes()[:-32]
    value = (1).to_bytes(8, "big")
    assert value in data[len(data) // 2 :]
    at = data.rindex(value)
    forged = data[:at] + (9).to_bytes(8, "big") + data[at + 8 :]
    (tmp_path / "forged").write_bytes(forged + sha256(forged).digest())
    with pytest.raises(Misuse, match="do not come to the state root"):
        audit(archive, world, since=tmp_path / "forged")


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": 9999},
        {"blocks": 0},
        {"blocks": 10, "statements": 34},
        {"statements": 0},
        {"statements": -1},
        {"statements": 34},
    ],
    ids=str,
)
def test_a_forged_file_whose_hash_is_right_cannot_bring_in_other_counts(tmp_path: Path, change: dict[str, int]) -> None:
    """The figures of the next report are these and what is new: a court reads them."""
    world = world_of(10)
    archive = exported(world, tmp_path / "a")
    audit(archive, world, save=tmp_path / "saved")
    header = SavedAudit(tmp_path / "saved").header
    assert (header.size, header.statements, header.blocks) == (45, 33, 11)
    # The numbers are as many as the header says, so that the counts alone are wrong.
    kept = min(max(0, change.get("statements", 33)), 33)
    forge(tmp_path / "saved", tmp_path / "forged", kept, **change)
    with pytest.raises(Misuse, match="counts of the saved audit do not fit together"):
        audit(archive, world, since=tmp_path / "forged")


@pytest.mark.parametrize("key", [b"", b"\xa0", b"\x01", b"\xff" * 40], ids=bytes.hex)
def test_a_forged_file_with_what_is_no_key_is_misuse(tmp_path: Path, key: bytes) -> None:
    world = world_of(10)
    archive = exported(world, tmp_path / "a")
    audit(archive, world, save=tmp_path / "saved")
    forge(tmp_path / "saved", tmp_path / "forged", 33, keys=(key,))
    with pytest.raises(Misuse, match="audit from the beginning"):
        audit(archive, world, since=tmp_path / "forged")


def forge(saved: Path, forged: Path, kept: int, **change: object) -> None:
    """Write the saved audit with another header and so many of its numbers, and the hash that goes with it."""
    header, data = SavedAudit(saved).header, saved.read_bytes()
    numbers = len(MAGIC) + 4 + len(header.encode())
    records = numbers + header.statements * NUMBERS * NUMBER_BYTES
    raw = replace(header, **change).encode()  # type: ignore[arg-type]
    out = MAGIC + len(raw).to_bytes(4, "big") + raw
    out += data[numbers : numbers + kept * NUMBERS * NUMBER_BYTES] + data[records:-32]
    forged.write_bytes(out + sha256(out).digest())


def test_the_header_is_read_back_as_it_was_written_and_nothing_else_is(tmp_path: Path) -> None:
    world = world_of(4)
    audit(exported(world, tmp_path / "a"), world, save=tmp_path / "saved")
    header = SavedAudit(tmp_path / "saved").header
    assert Header.decode(header.encode()) == header
    assert (header.size, header.root) == (world.chain.size, world.chain.root)
    for change in ({"root": b"x"}, {"size": 0}, {"upper": (b"1", b"2")}, {"records": 0}):
        with pytest.raises(Malformed):
            Header.decode(replace(header, **change).encode())


def test_a_file_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    world = world_of(4)
    archive = exported(world, tmp_path / "a")
    with pytest.raises(OSError, match="No such file"):
        audit(archive, world, save=tmp_path / "no" / "where")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"[Dd]irectory"):
        audit(archive, world, save=tmp_path / "folder")
    assert os.listdir(tmp_path / "folder") == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "folder"]
