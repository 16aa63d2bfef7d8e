"""The worked examples of docs/formats.md are what the code produces, and its tables say the limits that the code has.

`python -m tests.ledger.test_formats_document` writes the examples into the document again.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from ledger import archive, cbor, entry, merkle, note, policy, proof, statement, stateproof, tiles
from ledger.algorithms import EDDSA, PrivateKey
from ledger.algorithms.eddsa import Signer
from ledger.entry import BlockRecord, Genesis, GenesisAuthority, GenesisValidator
from tests.ledger import corridor

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
        "bundle": f'entries "a", "", "bc"\n{tiles.encode_entry_bundle([b"a", b"", b"bc"]).hex()}',
    }


def test_every_example_in_the_document_is_what_the_code_produces() -> None:
    found = {name: body.rstrip("\n") for name, body in _BLOCK.findall(DOCUMENT.read_text())}
    assert found == examples()


def test_every_limit_in_the_document_is_the_one_in_the_code() -> None:
    modules = (archive, cbor, entry, merkle, note, policy, proof, statement, stateproof, tiles)
    listed = dict(_LIMIT.findall(DOCUMENT.read_text()))
    assert len(listed) > 25
    for name, value in listed.items():
        defined = {getattr(module, name) for module in modules if hasattr(module, name)}
        assert defined == {int(value.replace(" ", ""))}, name


@pytest.mark.parametrize("name", ["statement", "proof"])
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
