"""Proofs from the files of an archive: each is what a gateway would give, and no altered file yields one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from ledger.archive import archive_paths, export_archive
from ledger.archive_proof import ArchiveFolder, prove_statement, root_of_archive
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import leaf_hash
from ledger.policy import parse_policy
from ledger.proof import format_proof, parse_proof, verify_proof
from tests.ledger.archives import edit, flip
from tests.ledger.toy import World


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(60, 9)
    return grown


@pytest.fixture
def folder(world: World, tmp_path: Path) -> ArchiveFolder:
    export_archive(world.chain, tmp_path, world.policy(), world.note())
    return ArchiveFolder(tmp_path)


@pytest.mark.parametrize("index", [1, 2, 255, 256, 257, 511, 512, -2])
def test_a_statement_is_proven_by_its_id_alone(world: World, folder: ArchiveFolder, index: int) -> None:
    raw = world.chain.entry(index % world.chain.size)
    policy = parse_policy(world.policy())
    proof, found = prove_statement(folder, folder.checkpoint(), policy, leaf_hash(raw))
    assert (found, proof.index) == (raw, index % world.chain.size)
    assert verify_proof(parse_proof(format_proof(proof)), leaf_hash(raw), policy).size == world.chain.size


def test_what_is_not_in_the_log_is_not_proven(world: World, folder: ArchiveFolder) -> None:
    policy = parse_policy(world.policy())
    with pytest.raises(Untrue, match="is not among"):
        prove_statement(folder, folder.checkpoint(), policy, leaf_hash(b"never sent"))
    with pytest.raises(Misuse):
        prove_statement(folder, folder.checkpoint(), policy, b"short")


def test_a_hash_across_two_others_is_no_statement(world: World, folder: ArchiveFolder, tmp_path: Path) -> None:
    tile = (tmp_path / "tile/0/000").read_bytes()
    with pytest.raises(Untrue, match="is not among"):
        prove_statement(folder, folder.checkpoint(), parse_policy(world.policy()), tile[16:48])


def test_no_altered_file_yields_a_proof_of_something_else(world: World, folder: ArchiveFolder, tmp_path: Path) -> None:
    raw = world.chain.entry(300)
    policy = parse_policy(world.policy())
    note = folder.checkpoint()
    genuine = prove_statement(folder, note, policy, leaf_hash(raw))
    for path in archive_paths(world.chain.size):
        before = (tmp_path / path).read_bytes()
        for position in (0, len(before) // 2, len(before) - 1):
            edit(tmp_path / path, flip(position))
            found = genuine
            with contextlib.suppress(Untrue, Malformed):
                found = prove_statement(folder, note, policy, leaf_hash(raw))
            assert found == genuine
            (tmp_path / path).write_bytes(before)


def test_a_checkpoint_of_one_side_alone_proves_nothing(world: World, folder: ArchiveFolder) -> None:
    note = world.note(without=("cn-gacc-1", "cn-gacc-2"))
    with pytest.raises(Untrue):
        prove_statement(folder, note, parse_policy(world.policy()), leaf_hash(world.chain.entry(1)))


def test_the_root_at_each_earlier_size_is_the_one_that_the_ledger_had(world: World, folder: ArchiveFolder) -> None:
    size = world.chain.size
    for earlier in (0, 1, 2, 255, 256, 257, 512, size - 1, size):
        assert root_of_archive(folder, size, earlier) == world.chain.root_at(earlier)
    with pytest.raises(Misuse):
        root_of_archive(folder, size, size + 1)


def test_only_plain_files_of_a_sane_size_are_read(world: World, folder: ArchiveFolder, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").unlink()
    os.mkfifo(tmp_path / "checkpoint")
    with pytest.raises(Malformed, match="is not a plain file"):
        folder.checkpoint()
    (tmp_path / "tile/0/000").write_bytes(bytes(8193))
    with pytest.raises(Malformed, match="is too large"):
        folder.tile("tile/0/000")
    with pytest.raises(Malformed, match="not a tile path"):
        folder.tile("../checkpoint")
