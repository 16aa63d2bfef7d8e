"""Archives for tests, written straight from a list of entries: what an attacker could hand to an auditor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from ledger.archive import archive_policy
from ledger.checkpoint import Checkpoint
from ledger.policy import parse_policy
from tests.ledger.toy import ORIGIN, World


def naive_root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256(b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def write_archive(directory: Path, entries: Sequence[bytes], world: World) -> None:
    """The archive of ``entries``, whatever they are, signed by everybody: hashes and signatures are all in order."""
    hashes = [sha256(b"\x00" + entry).digest() for entry in entries]
    checkpoint = Checkpoint(ORIGIN, len(entries), naive_root(hashes))
    write_tiles(directory, entries)
    (directory / "checkpoint").write_bytes(world.note(checkpoint))
    (directory / "policy").write_bytes(archive_policy(parse_policy(world.policy())))


def write_tiles(directory: Path, entries: Sequence[bytes]) -> None:
    hashes = [sha256(b"\x00" + entry).digest() for entry in entries]
    _write_level(directory, "entries", [len(entry).to_bytes(2, "big") + entry for entry in entries])
    level = 0
    while hashes:
        _write_level(directory, str(level), hashes)
        hashes = [naive_root(hashes[n : n + 256]) for n in range(0, len(hashes) - 255, 256)]
        level += 1


def _write_level(directory: Path, level: str, parts: Sequence[bytes]) -> None:
    for number in range(-(-len(parts) // 256)):
        inside = parts[256 * number : 256 * number + 256]
        name = f"{number:03}" if len(inside) == 256 else f"{number:03}.p/{len(inside)}"
        path = directory / "tile" / level / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(inside))


def entries_of(world: World) -> list[bytes]:
    return list(world.chain.entries(0, world.chain.size))


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(position: int, mask: int = 1) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes((data[position] ^ mask,)) + data[position + 1 :]


def entry_at(bundle: bytes, position: int) -> int:
    """Number of the entry, its length included, in which a byte of a bundle stands."""
    number = start = 0
    while True:
        start += 2 + int.from_bytes(bundle[start : start + 2], "big")
        if position < start:
            return number
        number += 1
