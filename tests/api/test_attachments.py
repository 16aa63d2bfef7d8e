"""The attachments on the disk: there after a crash, never served changed, within their room and their time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.attachment_kinds import ENVELOPE, TELEMETRY, references_of
from api.attachments import BLOCK_BYTES, DAMAGED, DAY_S, PARTIAL, AttachmentStore, DirectoryTaken, QuotaExceeded
from api.config import AttachmentLimits
from contracts.telemetry import Fix, encode_telemetry
from ledger.errors import Malformed, Untrue

TRUCK, OTHER = "kz/truck/t-001", "kz/truck/t-002"


def batch(number: int, fixes: int = 1) -> bytes:
    return encode_telemetry([Fix(number * 1000 + step, 0, 0, 0) for step in range(1, fixes + 1)])


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


Opener = Callable[..., AttachmentStore]


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Opener:
    def open_store(**limits: int) -> AttachmentStore:
        return AttachmentStore(AttachmentLimits(tmp_path / "kept", **limits), clock)

    return open_store


def path_of(tmp_path: Path, digest: bytes) -> Path:
    return tmp_path / "kept" / digest.hex()[:2] / digest.hex()


def test_what_was_put_is_there_after_the_process_died(opened: Opener, clock: Clock) -> None:
    store, data = opened(), batch(1)
    assert store.put(sha(data), TELEMETRY, TRUCK, data)
    assert not store.put(sha(data), TELEMETRY, OTHER, data)
    store.close()
    again = opened()
    assert again.get(sha(data)) == data
    entry = again.entry(sha(data))
    assert entry is not None
    assert (entry.kind, entry.by, entry.stored_s, entry.size_bytes) == (TELEMETRY, TRUCK, clock.now_s, len(data))
    assert again.used_bytes == BLOCK_BYTES
    assert again.counts() == {"telemetry": (1, len(data)), "envelope": (0, 0)}


def test_bytes_of_another_hash_or_of_no_form_leave_no_trace(opened: Opener, tmp_path: Path) -> None:
    store, data = opened(), batch(1)
    with pytest.raises(Untrue, match="attachment_hash_differs"):
        store.put(bytes(32), TELEMETRY, TRUCK, data)
    with pytest.raises(Malformed):
        store.put(sha(data), ENVELOPE, TRUCK, data)
    with pytest.raises(Malformed):
        store.put(sha(b"\xff"), TELEMETRY, TRUCK, b"\xff")
    with pytest.raises(Malformed, match="at most"):
        store.put(bytes(32), TELEMETRY, TRUCK, bytes(TELEMETRY.max_bytes + 1))
    assert (len(store), store.used_bytes) == (0, 0)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [DAMAGED, "lock", PARTIAL]


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_file_changed_or_cut_anywhere_is_set_aside_and_never_served(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("store")
    limits, raw = AttachmentLimits(root / "kept"), batch(1, 5)
    store = AttachmentStore(limits, Clock())
    store.put(sha(raw), TELEMETRY, TRUCK, raw)
    path = path_of(root, sha(raw))
    content = path.read_bytes()
    if data.draw(st.booleans(), "cut"):
        changed = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        changed = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    path.write_bytes(changed)
    if data.draw(st.booleans(), "restart"):
        store.close()
        store = AttachmentStore(limits, Clock())
    assert store.get(sha(raw)) is None
    assert store.entry(sha(raw)) is None
    assert store.used_bytes == 0
    assert store.damaged == 1
    assert store.put(sha(raw), TELEMETRY, TRUCK, raw), "the same bytes may be put again"
    assert store.get(sha(raw)) == raw
    store.close()


def test_a_file_that_somebody_removed_is_not_there_and_may_be_put_again(opened: Opener, tmp_path: Path) -> None:
    store, data = opened(), batch(1)
    store.put(sha(data), TELEMETRY, TRUCK, data)
    path_of(tmp_path, sha(data)).unlink()
    assert store.get(sha(data)) is None
    assert store.put(sha(data), TELEMETRY, TRUCK, data)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_is_not_there_neither_now_nor_after_a_restart(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store, data = opened(), batch(1)

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            store.put(sha(data), TELEMETRY, TRUCK, data)
    assert store.entry(sha(data)) is None
    assert store.used_bytes == 0
    store.close()
    again = opened()
    assert again.get(sha(data)) is None
    assert not list((tmp_path / "kept" / PARTIAL).iterdir())
    assert again.put(sha(data), TELEMETRY, TRUCK, data)


def test_what_a_crash_left_half_written_is_cleared_away(opened: Opener, tmp_path: Path) -> None:
    opened().close()
    (tmp_path / "kept" / PARTIAL / "abc").write_bytes(b"half")
    opened()
    assert not list((tmp_path / "kept" / PARTIAL).iterdir())


def test_the_file_is_synced_before_it_has_its_name_and_the_folder_after(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data, steps = opened(), batch(1), []
    fsync, replace = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name
        steps.append("file" if name == PARTIAL else "folder")
        fsync(descriptor)

    def traced_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    store.put(sha(data), TELEMETRY, TRUCK, data)
    assert steps == ["folder", "file", "rename", "folder"]  # the first is for the new folder's own name


def test_no_participant_and_not_all_together_take_more_than_their_room(opened: Opener) -> None:
    one, two, three = batch(1), batch(2), batch(3)
    store = opened(participant_quota_bytes=BLOCK_BYTES, quota_bytes=2 * BLOCK_BYTES)
    store.put(sha(one), TELEMETRY, TRUCK, one)
    with pytest.raises(QuotaExceeded, match=TRUCK):
        store.put(sha(two), TELEMETRY, TRUCK, two)
    store.put(sha(two), TELEMETRY, OTHER, two)
    with pytest.raises(QuotaExceeded, match="this gateway"):
        store.put(sha(three), TELEMETRY, "kz/truck/t-003", three)
    assert not store.put(sha(one), TELEMETRY, TRUCK, one), "what is here costs nothing more"
    assert store.delete(sha(one))
    assert not store.delete(sha(one))
    assert store.put(sha(three), TELEMETRY, TRUCK, three)


def test_a_crowd_of_small_ones_takes_the_room_that_it_takes_on_the_disk(opened: Opener, tmp_path: Path) -> None:
    store = opened(participant_quota_bytes=10 * BLOCK_BYTES)
    for number in range(10):
        store.put(sha(batch(number)), TELEMETRY, TRUCK, batch(number))
    with pytest.raises(QuotaExceeded, match=TRUCK):
        store.put(sha(batch(10)), TELEMETRY, TRUCK, batch(10))
    files = [path for path in (tmp_path / "kept").glob("??/*") if path.is_file()]
    assert sum(-(-path.stat().st_size // BLOCK_BYTES) * BLOCK_BYTES for path in files) <= 10 * BLOCK_BYTES
    large = batch(11, 700)
    assert len(large) > BLOCK_BYTES
    assert store.put(sha(large), TELEMETRY, OTHER, large)
    small = sum(len(batch(number)) for number in range(10))
    assert store.counts() == {"telemetry": (11, small + len(large)), "envelope": (0, 0)}
    assert store.delete(sha(large))
    store.close()
    again = opened()
    assert again.used_bytes == 10 * BLOCK_BYTES == store.used_bytes
    assert again.counts() == store.counts() == {"telemetry": (10, small), "envelope": (0, 0)}


def test_it_is_kept_for_as_long_as_its_kind_is_and_no_longer(opened: Opener, clock: Clock) -> None:
    store, data = opened(telemetry_days=30), batch(1)
    store.put(sha(data), TELEMETRY, TRUCK, data)
    clock.now_s += 30 * DAY_S - 1
    assert store.sweep() == 0
    clock.now_s += 1
    store.close()
    again = opened(telemetry_days=30)  # opening sweeps
    assert (len(again), again.used_bytes, again.get(sha(data))) == (0, 0, None)


def test_a_second_gateway_on_the_same_folder_is_refused(opened: Opener) -> None:
    store = opened()
    with pytest.raises(DirectoryTaken, match="another gateway"):
        opened()
    store.close()
    opened()


def test_files_are_readable_by_the_gateway_alone(opened: Opener, tmp_path: Path) -> None:
    data = batch(1)
    opened().put(sha(data), TELEMETRY, TRUCK, data)
    path = path_of(tmp_path, sha(data))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_statement_refers_to_its_batch_and_to_the_envelope_of_its_content() -> None:
    digest = bytes(32)
    assert references_of("escort.position", {"batch": {"sha256": digest}}) == {digest: TELEMETRY}
    assert references_of("escort.position", {"fix": {}}) == {}
    assert references_of("declaration.lodge", {"content": {"envelope_sha256": digest}}) == {digest: ENVELOPE}
    assert references_of("declaration.register", {}) == {}
    assert references_of("registry.enrol", {"content": {"envelope_sha256": digest}}) == {}
    assert references_of("declaration.lodge", {"content": {"envelope_sha256": "x"}}) == {}
    assert references_of("declaration.lodge", 7) == {}
