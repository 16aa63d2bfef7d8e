"""The tail of LevelDB's write-ahead log after a loss of power.

A crash of the process leaves a log that ends early, which LevelDB itself takes for the end. A crash of the machine may
also leave a file that has its new length but not yet its new contents: sectors of zeros inside the last record, under a
checksum that does not match. That write was never acknowledged, since the sync that precedes every acknowledgement had
not returned, so dropping it loses nothing. Any other mismatch is damage to what *was* acknowledged, and is left alone
for the caller to refuse.

Format: blocks of 32 KiB; a record is masked CRC-32C (4 bytes), length (2), type (1), all little-endian, then the data;
a trailer of fewer than 7 bytes at the end of a block is padding (LevelDB `doc/log_format.md`).
"""

from __future__ import annotations

import os
from pathlib import Path

BLOCK_BYTES = 32 * 1024
HEADER_BYTES = 7
SECTOR_BYTES = 512
# Fewer zeros than this at the end of a record are as likely to be its contents as a sector that was not written.
MIN_UNWRITTEN_BYTES = 16
# LevelDB starts a new log when its write buffer is full; one batch may exceed it.
MAX_LOG_BYTES = 512 * 1024 * 1024

_CRC_MASK_DELTA = 0xA282EAD8
_CRC_POLYNOMIAL = 0x82F63B78


def drop_torn_tail(directory: Path) -> bool:
    """Cut a torn last record off the newest log in ``directory``; False if there is none, and nothing was changed."""
    logs = sorted(directory.glob("*.log"), key=lambda path: int(path.stem) if path.stem.isdigit() else -1)
    if not logs or logs[-1].stat().st_size > MAX_LOG_BYTES:
        return False
    newest = logs[-1]
    torn = find_torn_tail(newest.read_bytes())
    if torn is None:
        return False
    with newest.open("r+b") as log:
        log.truncate(torn)
        os.fsync(log.fileno())
    return True


def has_hole(directory: Path) -> bool:
    """Whether a log has zeros where a record should begin, and more behind them.

    LevelDB takes such zeros for space set aside in advance and passes over what follows in that block without a word.
    """
    for path in directory.glob("*.log"):
        if path.stat().st_size <= MAX_LOG_BYTES and _begins_with_zeros_somewhere(path.read_bytes()):
            return True
    return False


def _begins_with_zeros_somewhere(log: bytes) -> bool:
    offset = 0
    while offset + HEADER_BYTES <= len(log):
        room = BLOCK_BYTES - offset % BLOCK_BYTES
        if room < HEADER_BYTES:
            offset += room
        elif not any(log[offset : offset + HEADER_BYTES]):
            return bool(log[offset:].strip(b"\x00"))
        else:
            offset += HEADER_BYTES + int.from_bytes(log[offset + 4 : offset + 6], "little")
    return False


def find_torn_tail(log: bytes) -> int | None:
    """Return the offset at which the torn last batch of ``log`` begins; None if there is no such thing."""
    offset = 0
    batch_start = 0  # a batch may span several records; it is dropped as one
    unfinished = False
    while offset < len(log):
        room = BLOCK_BYTES - offset % BLOCK_BYTES
        if room < HEADER_BYTES:
            offset += room
            continue
        kind = log[offset + 6] if offset + 6 < len(log) else 0
        if kind in (1, 2):  # full, first
            batch_start = offset
        elif kind not in (3, 4):  # the header itself is missing: of a batch that began before, if one is unfinished
            kind = 3 if unfinished else 0
        end = _record_end(log, offset)
        if end is None:
            start = batch_start if kind in (3, 4) else offset
            return start if _has_unwritten_sector(log, offset) and not _batch_follows(log, offset) else None
        unfinished = kind in (2, 3)
        offset = end
    return None


def _has_unwritten_sector(log: bytes, start: int) -> bool:
    """Whether a disk sector from ``start`` on, or the part of it that belongs to this record, holds zeros only."""
    position = start
    while position < len(log):
        boundary = min(len(log), position - position % SECTOR_BYTES + SECTOR_BYTES)
        if boundary - position >= MIN_UNWRITTEN_BYTES and not any(log[position:boundary]):
            return True
        position = boundary
    return False


def _record_end(log: bytes, offset: int) -> int | None:
    """Where the record at ``offset`` ends; None if there is no whole record."""
    header = log[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES or not 1 <= header[6] <= 4:
        return None
    end = offset + HEADER_BYTES + int.from_bytes(header[4:6], "little")
    if end > len(log) or end > offset - offset % BLOCK_BYTES + BLOCK_BYTES:
        return None
    return end if _masked_crc(log[offset + 6 : end]) == int.from_bytes(header[:4], "little") else None


def _batch_follows(log: bytes, torn: int) -> bool:
    """Whether another batch (a record of kind full or first) begins after ``torn``: then it was not the last thing.

    Later parts of the torn batch itself may have reached the disk; they do not count.
    """
    block_end = torn - torn % BLOCK_BYTES + BLOCK_BYTES
    for offset in range(torn + HEADER_BYTES, min(block_end, len(log)) - HEADER_BYTES + 1):
        if log[offset + 6] in (1, 2) and _record_end(log, offset) is not None:
            return True
    for block in range(block_end, len(log), BLOCK_BYTES):
        offset = block
        while offset < len(log):
            end = _record_end(log, offset)
            if end is not None and log[offset + 6] in (1, 2):
                return True
            if end is None or end // BLOCK_BYTES != block // BLOCK_BYTES:
                break
            offset = end
    return False


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_CRC_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    """LevelDB's masked CRC-32C: slow in Python, and used only after LevelDB has refused to open."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + _CRC_MASK_DELTA) & 0xFFFFFFFF
