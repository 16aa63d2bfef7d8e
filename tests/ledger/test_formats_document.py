"""The worked examples of docs/formats.md are what the code produces, and its tables say the limits that the code has.

`python -m tests.ledger.test_formats_document` writes the examples into the document again.
"""

from __future__ import annotations

import re
import textwrap
from hashlib import sha256
from pathlib import Path

import pytest

from contracts import certificate, crossing_pass
from contracts.registry import Key, Participant, participant_key
from ledger import (
    archive,
    attestation,
    audit_saved,
    cbor,
    entry,
    evidence,
    merkle,
    multiproof,
    note,
    policy,
    proof,
    receipt,
    statement,
    stateproof,
    status_proof,
    tiles,
)
from ledger.algorithms import EDDSA, PrivateKey
from ledger.algorithms.eddsa import Signer
from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.cosignature import cosign, subtree_message
from ledger.entry import BlockRecord, Genesis, GenesisAuthority, GenesisValidator
from ledger.evidence_check import check_evidence
from ledger.evidence_making import conflicting_heads
from ledger.statemap import StateMap
from ledger.store import MemoryStore
from tests.ledger import corridor

CROSSING = Path(__file__).parents[1] / "contracts" / "crossing.golden"
DOCUMENT = Path(__file__).parents[2] / "docs" / "formats.md"
_BLOCK = re.compile(r"<!-- example: ([a-z-]+) -->\n```text\n(.*?)```\n", re.DOTALL)
_LIMIT = re.compile(r"^\| `(MAX_[A-Z_]+)` \| ([0-9 ]+) ", re.MULTILINE)


def wrapped(data: bytes) -> str:
    return "\n".join(textwrap.wrap(data.hex(), 64))


def genesis() -> Genesis:
    authorities = []
    for country, (name, code) in {"kz": ("kz-kgd", "KZ"), "cn": ("cn-gacc", "CN")}.items():
        registrar = PrivateKey(EDDSA, Signer(corridor.seed(f"{name}/registrar")))
        validators = [
            GenesisValidator(each, corridor.COSIGNERS[each].public_key) for each in corridor.AUTHORITIES[country]
        ]
        authorities.append(
            GenesisAuthority(
                name=name,
                country=code,
                log_key=corridor.LOG_KEYS[country].public_key,
                ca_sha256=corridor.seed(f"{country} certificate"),
                registrar_id=f"{name}/registrar",
                registrar_key=registrar.public.cose_key,
                validators=tuple(validators),
            )
        )
    return Genesis(
        origin=corridor.ORIGIN,
        time_ms=corridor.TIME_S * 1000,
        authorities=tuple(authorities),
        parameters={"skew_s": 300},
        contracts={"registry": 1, "declaration": 1, "escort": 1},
    )


def block_record() -> BlockRecord:
    return BlockRecord(
        height=1,
        time_ms=corridor.TIME_S * 1000 + 250,
        first=1,
        count=2,
        previous=merkle.leaf_hash(genesis().encode()),
        state_root=bytes(32),
        proposer="kz-kgd-1",
    )


def transparent() -> bytes:
    receipts = []
    for name in ("kz-kgd-1", "cn-gacc-2"):
        key = corridor.COSIGNERS[name]
        receipts.append(
            receipt.Receipt(
                signer=name,
                origin=corridor.ORIGIN,
                kid=attestation.kid_of(key.public_key),
                size=corridor.CHECKPOINT.size,
                index=corridor.INDEX,
                hashes=corridor.PROOF.hashes,
                signature=receipt.sign_receipt(key, name, corridor.ORIGIN, corridor.CHECKPOINT.root),
            )
        )
    return receipt.format_transparent(corridor.STATEMENT.raw, receipts)


def status() -> status_proof.StatusProof:
    """Of a truck, in a state of three records and a log of four entries."""
    public = corridor.TRUCK.public
    key = Key(public.kid, public.alg, public.cose_key, corridor.TIME_S * 1000, None, "active", 0, "kz", None)
    truck = Participant("kz/truck/t-001", "kz-kgd", "KZ", ("truck",), "kz-kgd/registrar", 0, None, "", (key,))
    store = MemoryStore()
    state = StateMap(store)
    records = {participant_key(truck.id): truck.encode(), "parameter/corridor_m": b"1", "parameter/posts": b"2"}
    update = state.update(records)
    store.write(update.writes)
    state.adopt(update)
    block = BlockRecord(1, corridor.TIME_S * 1000, 1, 2, bytes(32), state.root, "kz-kgd-1")
    leaves = [merkle.leaf_hash(b"entry %d" % number) for number in range(3)] + [merkle.leaf_hash(block.encode())]

    def read(*_: int) -> bytes:
        return b"".join(leaves)

    checkpoint = Checkpoint(corridor.ORIGIN, 4, merkle.root_from_tiles(4, read))
    note_bytes = corridor.cosigned(checkpoint, "kz-kgd-1", "cn-gacc-2")
    path = tuple(merkle.inclusion_proof(3, 4, read))
    name = participant_key(truck.id)
    return status_proof.StatusProof(name, state.get(name), state.prove(name), block, path, note_bytes)


def crossing() -> crossing_pass.CrossingPass:
    facts = crossing_pass.PassFacts(
        origin=corridor.ORIGIN,
        size=corridor.CHECKPOINT.size,
        root=corridor.CHECKPOINT.root,
        as_of_s=corridor.TIME_S,
        until_s=corridor.TIME_S + 1_800,
        mrn="19GBCKKCQSXV2FGVA8",
        state="started",
        custody="kz-kgd",
        exit_post="KZ/BAKHTY",
        entry_post="CNBKT",
        truck="kz/truck/t-001",
        truck_keys=(corridor.TRUCK.public.kid,),
        vehicle="fleet/BKT-0001",
        containers=("CSQU3054383",),
        seals=("KZE0000001",),
        declarations=(crossing_pass.PassedDeclaration("KZ-2026-000123", 1, 1, "released", "recognised", 1),),
    )
    signatures = [crossing_pass.sign_pass(corridor.COSIGNERS[name], facts) for name in ("kz-kgd-1", "cn-gacc-2")]
    return crossing_pass.CrossingPass(facts, tuple(signatures))


def saved_header() -> audit_saved.Header:
    record = block_record().encode()
    return audit_saved.Header(
        program="comity 0.1.0 00000000000000000000000000000000",
        policy_sha256=sha256(corridor.policy_text("kz")).digest(),
        note=corridor.PROOF.checkpoint_note,
        origin=corridor.ORIGIN,
        size=corridor.CHECKPOINT.size,
        root=corridor.CHECKPOINT.root,
        genesis=merkle.leaf_hash(genesis().encode()),
        record=record,
        upper=(),
        keys=(corridor.TRUCK.public.cose_key,),
        statements=2,
        blocks=1,
        records=5,
        state_root=bytes(32),
    )


def two_roots() -> evidence.Evidence:
    """Size 11 of the corridor, signed once as it is and once with another root, by the same validator."""
    name = "cn-gacc-2"
    heads = []
    for root in (corridor.CHECKPOINT.root, bytes(range(32))):
        head = Checkpoint(corridor.ORIGIN, corridor.CHECKPOINT.size, root)
        line = cosign(corridor.COSIGNERS[name], name, head, corridor.TIME_S)
        heads.append(evidence.SignedHead(note.format_note(note.Note(checkpoint_body(head), (line,)))))
    found = conflicting_heads(heads[0], heads[1])
    if found is None:
        raise ValueError("no conflict")
    return found


def crossing_certificate() -> str:
    """The parts of the golden certificate, how each begins; it is too long to be shown whole."""
    raw = CROSSING.read_bytes()
    fields = cbor.decode(raw, max_bytes=certificate.MAX_CERTIFICATE_BYTES)
    assert isinstance(fields, list)
    tag, mrn, checkpoint, hashes, entries, record = map(cbor.encode, fields)
    parts = {
        raw[:1]: "array of six",
        tag: "tag",
        mrn: "mrn",
        checkpoint: f"checkpoint, {len(checkpoint)} bytes",
        hashes: f"hashes, {len(hashes)} bytes",
        entries: f"entries, {len(entries)} bytes",
        record: f"record, {len(record)} bytes",
    }
    lines = [f"{part[:20].hex() + ('…' if len(part) > 20 else ''):<41}  {what}" for part, what in parts.items()]
    return "\n".join([*lines, f"SHA-256 of the {len(raw)} bytes", f"{sha256(raw).hexdigest()}"])


def examples() -> dict[str, str]:
    made = corridor.STATEMENT
    raw = made.raw
    protected_end = raw.index(b"\xa0", 2 + 2 + raw[3])
    public = corridor.TRUCK.public
    mixed: dict[str | int, cbor.Encodable] = {10: 1, 100: 2, -1: 3, "z": 4, "aa": 5}
    return {
        "map": f'{{10: 1, 100: 2, -1: 3, "z": 4, "aa": 5}}\n{cbor.encode(mixed).hex()}',
        "cose-key": f"COSE_Key   {public.cose_key.hex()}\nkid        {public.kid.hex()}",
        "statement": "\n".join(
            [
                f"{raw[:2].hex()}  tag 18, array of four",
                f"{raw[2:4].hex()}  protected header, {raw[3]} bytes:",
                textwrap.indent(wrapped(raw[4:protected_end]), "  "),
                f"{raw[protected_end : protected_end + 1].hex()}  unprotected header, empty",
                f"{raw[protected_end + 1 : protected_end + 3].hex()}  payload, {raw[protected_end + 2]} bytes:",
                textwrap.indent(wrapped(raw[protected_end + 3 : -66]), "  "),
                f"{raw[-66:-64].hex()}  signature, 64 bytes:",
                textwrap.indent(wrapped(raw[-64:]), "  "),
                f"id  {made.id_hex}",
            ]
        ),
        "to-be-signed": wrapped(made.to_be_signed()),
        "genesis": wrapped(genesis().encode()),
        "block": wrapped(block_record().encode()),
        "checkpoint": corridor.PROOF.checkpoint_note.decode().rstrip("\n"),
        "cosigned": (
            f"cosignature/v1\ntime {corridor.TIME_S}\n{corridor.ORIGIN}\n{corridor.CHECKPOINT.size}\n"
            f"{note.encode_base64(corridor.CHECKPOINT.root)}"
        ),
        "cosigned-ml-dsa": wrapped(subtree_message("kz-kgd-1", corridor.TIME_S, corridor.CHECKPOINT)),
        "policy": corridor.policy_text("kz").decode().rstrip("\n"),
        "proof": proof.format_proof(corridor.PROOF).decode().rstrip("\n"),
        "tiles": "\n".join(
            [
                tiles.tile_path(0, 0),
                tiles.tile_path(0, 273, 112),
                tiles.tile_path(1, 1234067),
                tiles.entries_path(273, 112),
            ]
        ),
        "transparent-statement": wrapped(transparent()),
        "status-proof": wrapped(status().encode()),
        "pass": wrapped(crossing().encode()),
        "saved-audit": wrapped(saved_header().encode()),
        "evidence": wrapped(two_roots().encode()),
        "crossing-certificate": crossing_certificate(),
        "bundle": f'entries "a", "", "bc"\n{tiles.encode_entry_bundle([b"a", b"", b"bc"]).hex()}',
    }


def test_every_example_in_the_document_is_what_the_code_produces() -> None:
    found = {name: body.rstrip("\n") for name, body in _BLOCK.findall(DOCUMENT.read_text())}
    assert found == examples()


def test_every_limit_in_the_document_is_the_one_in_the_code() -> None:
    modules = (
        *(
            archive,
            attestation,
            audit_saved,
            cbor,
            certificate,
            crossing_pass,
            entry,
            evidence,
            merkle,
            multiproof,
            note,
            policy,
            proof,
            receipt,
            statement,
        ),
        *(stateproof, status_proof, tiles),
    )
    listed = dict(_LIMIT.findall(DOCUMENT.read_text()))
    assert len(listed) > 25
    for name, value in listed.items():
        defined = {getattr(module, name) for module in modules if hasattr(module, name)}
        assert defined == {int(value.replace(" ", ""))}, name


def test_the_example_of_evidence_holds() -> None:
    report = check_evidence([corridor.policy_text("kz")], two_roots().encode())
    assert report.accused == ("cn-gacc-2",)


@pytest.mark.parametrize("name", ["statement", "proof", "evidence"])
def test_the_examples_say_the_same_every_time(name: str) -> None:
    assert examples()[name] == examples()[name]


def write_examples() -> None:
    made = examples()
    text = _BLOCK.sub(
        lambda block: f"<!-- example: {block[1]} -->\n```text\n{made[block[1]]}\n```\n", DOCUMENT.read_text()
    )
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    write_examples()
