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


def find_torn_tail(log: bytes) -> int | None:
    """Return the offset at which the torn last batch of ``log`` begins; None if there is no such thing."""
    offset = 0
    batch_start = 0  # a batch may span several records; it is dropped as one
    while offset < len(log):
        room = BLOCK_BYTES - offset % BLOCK_BYTES
        if room < HEADER_BYTES:
            offset += room
            continue
        header = log[offset : offset + HEADER_BYTES]
        length = int.from_bytes(header[4:6], "little")
        kind = header[6] if len(header) == HEADER_BYTES else 0
        end = offset + HEADER_BYTES + length
        if kind in (1, 2):  # full, first
            batch_start = offset
        whole = 1 <= kind <= 4 and end <= len(log) and HEADER_BYTES + length <= room
        if not whole or _masked_crc(log[offset + 6 : end]) != int.from_bytes(header[:4], "little"):
            start = batch_start if kind in (3, 4) else offset
            return start if _has_unwritten_sector(log, offset) and _nothing_follows(log, end) else None
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


def _nothing_follows(log: bytes, end: int) -> bool:
    """Whether no whole record starts in a later block: a torn write is the last thing in the log."""
    block = (min(end, len(log)) // BLOCK_BYTES + 1) * BLOCK_BYTES
    while block < len(log):
        header = log[block : block + HEADER_BYTES]
        stop = block + HEADER_BYTES + int.from_bytes(header[4:6], "little")
        if len(header) == HEADER_BYTES and 1 <= header[6] <= 2 and stop <= len(log):  # noqa: SIM102 - two questions
            if _masked_crc(log[block + 6 : stop]) == int.from_bytes(header[:4], "little"):
                return False
        block += BLOCK_BYTES
    return True


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
