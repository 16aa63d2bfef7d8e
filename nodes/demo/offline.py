"""What can be said of an archive with every server switched off: each statement once, and no byte of it changed unseen.

The proof and the audit themselves are run as a user would run them, with the `comity` command in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger import merkle, tiles
from ledger.checkpoint import parse_checkpoint
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.note import parse_note
from ledger.statement import Statement
from nodes.demo.processes import comity_command
from nodes.demo.steps import CheckFailed, require

COMMAND_TIMEOUT_S: Final = 120
BIT: Final = 0x01


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished command."""

    arguments: tuple[str, ...]
    status: int
    output: str
    errors: str

    def report(self) -> dict[str, Any]:
        """What it printed as JSON. Raises CheckFailed if that is none."""
        try:
            value = json.loads(self.output)
        except json.JSONDecodeError as error:
            raise CheckFailed(f"{' '.join(self.arguments)} printed no JSON: {self.said()}") from error
        if not isinstance(value, dict):
            raise CheckFailed(f"{' '.join(self.arguments)} printed no JSON object")
        return value

    def said(self) -> str:
        return (self.errors.strip() or self.output.strip())[-1500:]


def run_comity(*arguments: str) -> Ended:
    """Run `comity` with these arguments to its end."""
    try:
        done = subprocess.run(
            comity_command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"comity {arguments[0]} did not end within {COMMAND_TIMEOUT_S} s") from error
    return Ended(
        ("comity", *arguments),
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )


def archive_size(archive: Path) -> int:
    """How many entries its checkpoint covers."""
    return parse_checkpoint(parse_note((archive / "checkpoint").read_bytes()).text).size


def _bundles(archive: Path) -> Iterable[tuple[int, Path, list[bytes]]]:
    """Each entry bundle: the index of its first entry, its file, its entries."""
    size = archive_size(archive)
    for number in range(-(-size // merkle.TILE_WIDTH)):
        width = tiles.tile_width(tiles.ENTRIES, number, size)
        path = archive / tiles.entries_path(number, width)
        yield number * merkle.TILE_WIDTH, path, tiles.decode_entry_bundle(path.read_bytes(), width)


def archive_entries(archive: Path) -> Iterator[Genesis | Statement | BlockRecord]:
    """Every entry of the archive, in order."""
    for _, _, entries in _bundles(archive):
        yield from map(parse_entry, entries)


def archive_statements(archive: Path) -> list[tuple[int, Statement]]:
    """Every statement of the archive with its index."""
    found = []
    for first, _, entries in _bundles(archive):
        for offset, raw in enumerate(entries):
            entry = parse_entry(raw)
            if isinstance(entry, Statement):
                found.append((first + offset, entry))
    return found


def check_exactly_once(archive: Path, signed: Iterable[bytes], turned_away: Iterable[bytes] = ()) -> int:
    """Every id that was signed stands in the archive exactly once, none that was turned away, and nobody else's.

    Returns how many statements there are. Raises CheckFailed.
    """
    counted = Counter(statement.id for _, statement in archive_statements(archive))
    expected = set(signed)
    doubled = [statement_id.hex() for statement_id, count in counted.items() if count > 1]
    lost = [statement_id.hex() for statement_id in sorted(expected - counted.keys())]
    foreign = [statement_id.hex() for statement_id in sorted(counted.keys() - expected)]
    refused = [statement_id.hex() for statement_id in sorted(set(turned_away) & counted.keys())]
    require(not refused, f"turned away and yet on the log: {', '.join(refused[:3])}")
    require(not doubled, f"{len(doubled)} statements stand there twice: {', '.join(doubled[:3])}")
    require(not lost, f"{len(lost)} of {len(expected)} signed statements are lost: {', '.join(lost[:3])}")
    require(not foreign, f"{len(foreign)} statements that nobody here signed: {', '.join(foreign[:3])}")
    return len(counted)


@dataclass(frozen=True, slots=True)
class Flip:
    """Where a byte was changed."""

    entry: int
    file: str
    byte: int
    statement: str


def flip_one_byte(archive: Path, copy: Path, among: Sequence[str]) -> Flip:
    """Copy the archive and change one bit in the middle of a statement, the middle one of those with these ids."""
    shutil.copytree(archive, copy)
    wanted = set(among)
    chosen = [index for index, statement in archive_statements(copy) if statement.id_hex in wanted]
    require(bool(chosen), "the archive holds none of the statements to choose from")
    entry = chosen[len(chosen) // 2]
    for first, path, entries in _bundles(copy):
        if first <= entry < first + len(entries):
            before = sum(2 + len(raw) for raw in entries[: entry - first])
            raw = entries[entry - first]
            position = before + 2 + len(raw) // 2
            data = bytearray(path.read_bytes())
            data[position] ^= BIT
            path.write_bytes(data)
            return Flip(entry, path.relative_to(copy).as_posix(), position, merkle.leaf_hash(raw).hex())
    raise CheckFailed(f"entry {entry} is in no bundle")
