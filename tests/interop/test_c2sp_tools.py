"""What Comity hands out is read by programs that others wrote.

`main.go` beside this file checks proofs and archives with golang.org/x/mod/sumdb and
github.com/transparency-dev/formats, and shares no code with Comity. It needs `go` and, the first time, the modules that
go.sum pins.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import merkle, tiles
from ledger.checkpoint import Checkpoint
from ledger.policy import parse_policy
from ledger.proof import Proof, format_proof, verify_proof
from tests.interop import go
from tests.ledger import corridor
from tests.ledger.test_cosignature_mldsa import QUANTUM_SAFE, note_with

HERE = Path(__file__).parent
RUN_TIMEOUT_S = 60


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go.build(HERE, "the independent C2SP verifier", tmp_path_factory.mktemp("interop") / "interop")


def run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )


def check_proof(program: Path, folder: Path, policy: bytes, proof: bytes, statement: bytes) -> tuple[int, str]:
    files = {"authority.policy": policy, "crossing.tlog-proof": proof, "statement": statement}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    result = run(program, "proof", *(folder / name for name in files))
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("country", ["kz", "cn"])
def test_a_proof_holds_for_the_other_program_under_either_authoritys_policy(
    program: Path, tmp_path: Path, country: str
) -> None:
    policy = corridor.policy_text(country)
    verify_proof(corridor.PROOF, corridor.STATEMENT.id, parse_policy(policy))
    status, output = check_proof(program, tmp_path, policy, format_proof(corridor.PROOF), corridor.STATEMENT.raw)
    assert (status, output.splitlines()[-1]) == (0, f"index 5 of 11 in {corridor.ORIGIN}")
    assert f"kz-kgd-1 cosigned at {corridor.TIME_S}\n" in output
    assert f"cn-gacc-2 cosigned at {corridor.TIME_S + 1}\n" in output


def test_extra_data_and_a_tree_of_one_leaf_hold_too(program: Path, tmp_path: Path) -> None:
    raw = corridor.STATEMENT.raw
    alone = Checkpoint(corridor.ORIGIN, 1, corridor.STATEMENT.id)
    note = corridor.cosigned(alone, *corridor.VALIDATORS)
    for proof in (replace(corridor.PROOF, extra=b"\x00\xff"), Proof(0, (), note)):
        status, output = check_proof(program, tmp_path, corridor.policy_text("kz"), format_proof(proof), raw)
        assert status == 0, output


def test_a_policy_that_demands_ml_dsa_as_well_holds_for_it_and_does_not_without(program: Path, tmp_path: Path) -> None:
    raw = corridor.STATEMENT.raw
    for signers, expected in ((("kz-kgd-1", "cn-gacc-1"), 0), (("kz-kgd-1",), 1), ((), 1)):
        proof = format_proof(replace(corridor.PROOF, checkpoint_note=note_with(*signers)))
        status, output = check_proof(program, tmp_path, QUANTUM_SAFE, proof, raw)
        assert status == expected, output
    whole = format_proof(replace(corridor.PROOF, checkpoint_note=note_with("kz-kgd-1", "cn-gacc-1")))
    assert check_proof(program, tmp_path, QUANTUM_SAFE, flipped(whole, len(whole) - 100), raw)[0] == 1


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]


PROOF = format_proof(corridor.PROOF)
LINES = PROOF.split(b"\n")


def in_line(number: int, offset: int) -> bytes:
    """Return the proof with one bit flipped in a line."""
    return flipped(PROOF, sum(len(line) + 1 for line in LINES[:number]) + offset)


ROOT_LINE = LINES.index(b"") + 3
TAMPERED = [
    ("another index", PROOF.replace(b"index 5", b"index 4")),
    ("a changed hash", in_line(2, 5)),
    ("a hash too few", b"\n".join(LINES[:2] + LINES[3:])),
    ("a hash too many", b"\n".join([*LINES[:2], LINES[2], *LINES[2:]])),
    ("hashes in another order", b"\n".join([*LINES[:2], LINES[3], LINES[2], *LINES[4:]])),
    ("another origin", in_line(ROOT_LINE - 2, 3)),
    ("another size", in_line(ROOT_LINE - 1, 0)),
    ("another root", in_line(ROOT_LINE, 3)),
    ("a changed log signature", in_line(ROOT_LINE + 2, len(LINES[ROOT_LINE + 2]) - 20)),
    ("a changed cosignature", in_line(ROOT_LINE + 4, len(LINES[ROOT_LINE + 4]) - 20)),
    ("a changed cosignature time", in_line(ROOT_LINE + 5, LINES[ROOT_LINE + 5].rindex(b" ") + 14)),
    ("the header of another version", PROOF.replace(b"@v1", b"@v2")),
    ("no log signature", b"\n".join(LINES[: ROOT_LINE + 2] + LINES[ROOT_LINE + 4 :])),
    ("one authority alone", b"\n".join(LINES[: ROOT_LINE + 5] + LINES[ROOT_LINE + 6 :])),
    ("nothing", b""),
]


@pytest.mark.parametrize(("what", "proof"), TAMPERED, ids=[what for what, _ in TAMPERED])
def test_the_other_program_refuses_a_proof_with(program: Path, tmp_path: Path, what: str, proof: bytes) -> None:
    assert proof != PROOF
    status, output = check_proof(program, tmp_path, corridor.policy_text("kz"), proof, corridor.STATEMENT.raw)
    assert status == 1, output


def test_the_other_program_refuses_another_statement_or_policy(program: Path, tmp_path: Path) -> None:
    raw, policy = corridor.STATEMENT.raw, corridor.policy_text("kz")
    for position in range(0, len(raw), 37):
        assert check_proof(program, tmp_path, policy, PROOF, flipped(raw, position))[0] == 1
    demanding = policy.replace(b"kz any", b"kz all")
    assert check_proof(program, tmp_path, demanding, PROOF, raw)[0] == 1


def write_archive(folder: Path, entries: list[bytes]) -> None:
    """Lay out entries as C2SP tlog-tiles says."""
    frontier = merkle.Frontier()
    for entry in entries:
        frontier.append(merkle.leaf_hash(entry))
    for start in range(0, len(entries), merkle.TILE_WIDTH):
        bundle = entries[start : start + merkle.TILE_WIDTH]
        file = folder / tiles.entries_path(start // merkle.TILE_WIDTH, len(bundle))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tiles.encode_entry_bundle(bundle))
    checkpoint = Checkpoint(corridor.ORIGIN, len(entries), frontier.root())
    (folder / "checkpoint").write_bytes(corridor.cosigned(checkpoint, *corridor.VALIDATORS))


def test_the_other_program_computes_the_root_of_an_archive_and_sees_one_flipped_bit(
    program: Path, tmp_path: Path
) -> None:
    entries = [b"entry %d" % number for number in range(700)]
    policy = tmp_path / "authority.policy"
    policy.write_bytes(corridor.policy_text("cn"))
    archive = tmp_path / "archive"
    write_archive(archive, entries)
    result = run(program, "archive", policy, archive)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, f"700 entries of {corridor.ORIGIN}")
    bundle = archive / tiles.entries_path(1)
    bundle.write_bytes(flipped(bundle.read_bytes(), 1000))
    assert run(program, "archive", policy, archive).returncode == 1
