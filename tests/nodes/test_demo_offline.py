"""What is said of an archive with nothing but its files: lost, doubled and foreign statements, and the flipped byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ledger import tiles
from ledger.algorithms import PrivateKey
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.merkle import TILE_WIDTH
from ledger.note import Note, NoteSigner, format_note
from ledger.statement import Statement, sign_statement
from nodes.demo.offline import archive_statements, check_exactly_once, flip_one_byte, run_comity
from nodes.demo.steps import CheckFailed

KEY = PrivateKey.generate()


def _statement(number: int) -> Statement:
    return sign_statement(
        KEY,
        kind="escort.position",
        iss="kz/truck/t-001",
        sub="19GBCKKCQSXV2FGVA8",
        iat_s=number,
        cti=number.to_bytes(16, "big"),
        payload={},
    )


STATEMENTS = [_statement(number) for number in range(300)]


def _archive(directory: Path, entries: Sequence[bytes]) -> Path:
    """Bundles and a checkpoint, as far as they are looked at here."""
    checkpoint = Checkpoint("comity.example/test", len(entries), bytes(32))
    note = Note(checkpoint_body(checkpoint), (log_signature(NoteSigner.generate(), checkpoint),))
    directory.mkdir()
    (directory / "checkpoint").write_bytes(format_note(note))
    for number in range(-(-len(entries) // TILE_WIDTH)):
        bundle = entries[number * TILE_WIDTH : (number + 1) * TILE_WIDTH]
        path = directory / tiles.entries_path(number, len(bundle))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiles.encode_entry_bundle(bundle))
    return directory


def test_every_statement_is_found_with_its_index_over_several_bundles(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "archive", [item.raw for item in STATEMENTS])
    assert archive_statements(archive) == list(enumerate(STATEMENTS))
    assert check_exactly_once(archive, [item.id for item in STATEMENTS]) == 300


def test_lost_doubled_foreign_and_refused_statements_are_told_apart(tmp_path: Path) -> None:
    ids = [item.id for item in STATEMENTS]
    archive = _archive(tmp_path / "archive", [item.raw for item in STATEMENTS])
    with pytest.raises(CheckFailed, match=f"1 of 301 signed statements are lost: {_statement(999).id_hex}"):
        check_exactly_once(archive, [*ids, _statement(999).id])
    with pytest.raises(CheckFailed, match=f"1 statements that nobody here signed: {ids[5].hex()}"):
        check_exactly_once(archive, [identity for identity in ids if identity != ids[5]])
    with pytest.raises(CheckFailed, match=f"turned away and yet on the log: {ids[7].hex()}"):
        check_exactly_once(archive, ids, turned_away=[ids[7]])
    doubled = _archive(tmp_path / "doubled", [STATEMENTS[0].raw, STATEMENTS[1].raw, STATEMENTS[0].raw])
    with pytest.raises(CheckFailed, match=f"1 statements stand there twice: {ids[0].hex()}"):
        check_exactly_once(doubled, ids[:2])


@pytest.mark.parametrize("chosen", [0, 255, 256, 299])
def test_exactly_one_bit_is_flipped_inside_the_chosen_entry_and_the_original_is_left_alone(
    tmp_path: Path, chosen: int
) -> None:
    archive = _archive(tmp_path / "archive", [item.raw for item in STATEMENTS])
    flip = flip_one_byte(archive, tmp_path / "copy", [STATEMENTS[chosen].id_hex])
    assert (flip.entry, flip.statement) == (chosen, STATEMENTS[chosen].id_hex)
    before, after = (archive / flip.file).read_bytes(), (tmp_path / "copy" / flip.file).read_bytes()
    differing = [position for position in range(len(before)) if before[position] != after[position]]
    assert differing == [flip.byte]
    width = min(TILE_WIDTH, 300 - chosen // TILE_WIDTH * TILE_WIDTH)
    entries = tiles.decode_entry_bundle(after, width)
    changed = [number for number, raw in enumerate(entries) if raw != STATEMENTS[chosen - chosen % 256 + number].raw]
    assert changed == [chosen % 256]


def test_a_command_of_this_installation_is_run_with_its_status_and_output() -> None:
    ended = run_comity("--version")
    assert (ended.status, "version" in ended.output) == (0, True)
    assert run_comity("no-such-command").status == 2
    with pytest.raises(CheckFailed, match="printed no JSON"):
        ended.report()
