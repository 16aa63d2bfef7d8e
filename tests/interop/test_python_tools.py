"""Two packages of PyPI that others wrote read what Comity hands out, and refuse what was tampered with.

tlog-scales knows checkpoints, cosignatures of both kinds, tiles and proofs (C2SP); scitt-cose knows COSE receipts (RFC
9942). Neither shares code with Comity. They are in the lock of the developer's installation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import merkle, tiles
from ledger.attestation import kid_of
from ledger.checkpoint import checkpoint_body
from ledger.cosignature import MlDsaCosigner, verify_cosignature
from ledger.note import Note, NoteSignature, format_note, format_vkey, parse_note
from ledger.receipt import Receipt, parse_receipt, sign_receipt
from tests.interop.test_c2sp_tools import write_archive
from tests.ledger import corridor
from tests.ledger.archives import naive_root
from tests.ledger.test_cosignature_mldsa import PQ_KEYS, note_with

scales = pytest.importorskip("tlog_scales.tlog", reason="tlog-scales is not installed")
signing = pytest.importorskip("tlog_scales.signing", reason="tlog-scales is not installed")
reading = pytest.importorskip("tlog_scales.reader", reason="tlog-scales is not installed")
scitt = pytest.importorskip("scitt_cose.receipt", reason="scitt-cose is not installed")


# --- C2SP -------------------------------------------------------------------------------------------------------------


def vkeys() -> list[str]:
    """The keys of everybody in the test network, as policies write them."""
    lines = corridor.policy_text("kz").decode().split("\n")
    own = [line.split()[1 if line.startswith("log ") else 2] for line in lines if line.startswith(("log ", "witness "))]
    return own + [format_vkey(key.verifier(name)) for name, key in PQ_KEYS.items()]


def valid_names(note: bytes) -> list[tuple[str, int]]:
    """Whose lines of a note the other library takes for valid, by name and type."""
    checkpoint = scales.Checkpoint.from_text(note.decode())
    known = signing.VkeySet(*map(signing.Vkey.from_string, vkeys()))
    return sorted((key.name, key.sig_type) for key, _ in known.verify(checkpoint.signatures, checkpoint))


def test_every_line_of_a_checkpoint_holds_for_the_other_library_ml_dsa_too() -> None:
    assert valid_names(note_with("kz-kgd-1", "cn-gacc-1")) == [
        ("cn-gacc-1", 4),
        ("cn-gacc-1", 6),
        (corridor.ORIGIN, 1),
        ("kz-kgd-1", 4),
        ("kz-kgd-1", 6),
    ]


def test_it_writes_keys_and_ml_dsa_lines_that_hold_here() -> None:
    name, seed = "witness.example/w1", corridor.seed("w1")
    signer = signing.MLDSA44CosignatureSigner(name, seed)
    ours = MlDsaCosigner(seed).verifier(name)
    assert signer.vkey.serialize() == format_vkey(ours)
    checkpoint = scales.Checkpoint(corridor.ORIGIN, corridor.CHECKPOINT.size, corridor.CHECKPOINT.root, [])
    signed = replace(checkpoint, signatures=[signer.sign(checkpoint)]).serialize()
    note = parse_note(signed.encode())
    assert verify_cosignature(ours, note.text, note.signatures[0]) > corridor.TIME_S - 10**9


@pytest.mark.parametrize("part", ["origin", "size", "root"])
def test_it_takes_no_line_of_a_checkpoint_that_was_changed(part: str) -> None:
    checkpoint = corridor.CHECKPOINT
    changed = {
        "origin": replace(checkpoint, origin="comity.example/other"),
        "size": replace(checkpoint, size=checkpoint.size + 1),
        "root": replace(checkpoint, root=bytes(32)),
    }[part]
    note = note_with("kz-kgd-1", "cn-gacc-1").decode()
    text = note.replace(parse_note(note.encode()).text, checkpoint_body(changed), 1)
    # A line of the log's name stays of another log's name when the origin is changed.
    assert valid_names(text.encode()) == []


def test_it_takes_no_line_that_was_changed() -> None:
    good = note_with("kz-kgd-1", "cn-gacc-1")
    note = parse_note(good)
    whole = valid_names(good)
    for number, line in enumerate(note.signatures):
        flipped = line.signature[:20] + bytes((line.signature[20] ^ 1,)) + line.signature[21:]
        lines = list(note.signatures)
        lines[number] = replace(line, signature=flipped)
        known = line not in of_strangers(note.signatures)
        left = valid_names(format_note(Note(note.text, tuple(lines))))
        assert len(left) == len(whole) - (1 if known else 0)


def of_strangers(lines: tuple[NoteSignature, ...]) -> list[NoteSignature]:
    """The lines whose keys the policy of one authority does not list: the other's log."""
    known = {(key.name, key.key_id) for key in map(signing.Vkey.from_string, vkeys())}
    return [line for line in lines if (line.name, int.from_bytes(line.key_id, "big")) not in known]


@pytest.mark.parametrize("changed", [False, True])
def test_a_proof_of_inclusion_is_one_for_the_other_library(changed: bool) -> None:
    proof = corridor.PROOF
    hashes = list(proof.hashes)
    if changed:
        hashes[1] = bytes(32)
    theirs = scales.InclusionProof(proof.index, corridor.CHECKPOINT.size, hashes)
    if not changed:
        theirs.check(corridor.STATEMENT.id, corridor.CHECKPOINT.root)
        return
    with pytest.raises(scales.InclusionProofInvalid):
        theirs.check(corridor.STATEMENT.id, corridor.CHECKPOINT.root)


class Folder:
    """An archive, as the other library asks for its files."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, *path: str) -> bytes | None:
        file = self._root.joinpath(*path)
        return file.read_bytes() if file.is_file() else None


def test_its_reader_computes_the_root_of_our_tiles_and_sees_one_flipped_bit(tmp_path: Path) -> None:
    entries = [b"entry %d" % number for number in range(700)]
    write_archive(tmp_path, entries)
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    full = [naive_root(leaves[:256]), naive_root(leaves[256:512])]
    for level, hashes in ((0, leaves), (1, full)):
        for start in range(0, len(hashes), 256):
            part = hashes[start : start + 256]
            file = tmp_path / tiles.tile_path(level, start // 256, len(part))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"".join(part))

    def root() -> bytes:
        reader = reading.TilesReader(Folder(tmp_path))
        checkpoint = reader.get_checkpoint()
        assert checkpoint.size == 700
        computed: bytes = reader.mth(0, checkpoint.size)
        assert (computed == checkpoint.root_hash) is sound
        return computed

    sound = True
    root()
    sound = False
    tile = tmp_path / tiles.tile_path(0, 2, 188)
    tile.write_bytes(tile.read_bytes()[:100] + b"\0" + tile.read_bytes()[101:])
    root()


# --- SCITT ------------------------------------------------------------------------------------------------------------


def receipt(validator: str) -> bytes:
    key = corridor.COSIGNERS[validator]
    signature = sign_receipt(key, validator, corridor.ORIGIN, corridor.CHECKPOINT.root)
    return Receipt(
        signer=validator,
        origin=corridor.ORIGIN,
        kid=kid_of(key.public_key),
        size=corridor.CHECKPOINT.size,
        index=corridor.INDEX,
        hashes=corridor.PROOF.hashes,
        signature=signature,
    ).encode()


def pem_of(validator: str) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(corridor.COSIGNERS[validator].public_key)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("validator", corridor.VALIDATORS)
def test_a_receipt_holds_for_the_other_library(validator: str) -> None:
    raw = receipt(validator)
    assert parse_receipt(raw).encode() == raw
    result = scitt.verify_receipt(
        raw, leaf_entry_hex=corridor.STATEMENT.raw.hex(), log_public_key_pem=pem_of(validator)
    )
    assert result.ok, result.errors


def test_a_receipt_of_another_statement_key_or_with_one_flipped_bit_does_not() -> None:
    raw, pem = receipt("kz-kgd-1"), pem_of("kz-kgd-1")
    entry = corridor.STATEMENT.raw.hex()
    assert not scitt.verify_receipt(raw, leaf_entry_hex=entry[:-2] + "01", log_public_key_pem=pem).ok
    assert not scitt.verify_receipt(raw, leaf_entry_hex=entry, log_public_key_pem=pem_of("cn-gacc-1")).ok
    for position in range(0, len(raw), 3):
        flipped = raw[:position] + bytes((raw[position] ^ 4,)) + raw[position + 1 :]
        result = scitt.verify_receipt(flipped, leaf_entry_hex=entry, log_public_key_pem=pem)
        # A receipt signs the root alone (RFC 9942): the same path may be read as one of another size of the tree.
        said = (result.root, result.leaf_index) == (corridor.CHECKPOINT.root.hex(), corridor.INDEX)
        assert not result.ok or (said and result.tree_size != corridor.CHECKPOINT.size), position
