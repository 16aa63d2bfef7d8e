"""The three kinds of leaf are told apart, have one spelling, and refuse what cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger import cbor
from ledger.algorithms import ES256, PrivateKey
from ledger.entry import BlockRecord, Genesis, GenesisAuthority, GenesisValidator, GenesisWitness, parse_entry
from ledger.errors import Malformed, Misuse
from ledger.tiles import MAX_ENTRY_BYTES
from tests.ledger.corridor import AUTHORITIES, COSIGNERS, LOG_KEYS, ORIGIN, STATEMENT, seed

BLOCK = BlockRecord(
    height=1,
    time_ms=1_795_305_600_000,
    first=1,
    count=3,
    previous=bytes(range(32)),
    state_root=bytes(range(32, 64)),
    proposer="kz-kgd-1",
)


def authority(country: str, name: str) -> GenesisAuthority:
    validators = tuple(GenesisValidator(each, COSIGNERS[each].public_key) for each in AUTHORITIES[country])
    return GenesisAuthority(
        name=name,
        country=country.upper(),
        log_key=LOG_KEYS[country].public_key,
        ca_sha256=seed(f"{country} certificate"),
        registrar_id=f"{name}/registrar",
        registrar_key=PrivateKey.generate(ES256).public.cose_key,
        validators=validators,
    )


GENESIS = Genesis(
    origin=ORIGIN,
    time_ms=1_795_305_000_000,
    authorities=(authority("kz", "kz-kgd"), authority("cn", "cn-gacc")),
    parameters={"escort.mass_tolerance_g": 50_000, "legal_basis": "agreement of 2025"},
    contracts={"registry": 1, "declaration": 1, "escort": 1},
)


WITNESSED = replace(GENESIS, witnesses=(GenesisWitness("harbour-1", "harbour-trust", b"a certificate"),))


def test_a_genesis_record_without_a_witness_is_spelled_as_it_always_was() -> None:
    assert b"witnesses" not in GENESIS.encode()
    assert parse_entry(WITNESSED.encode()) == WITNESSED
    with pytest.raises(Malformed):
        Genesis.decode(cbor.encode({**cbor.decode(GENESIS.encode()), "witnesses": []}))  # type: ignore[dict-item]


def test_each_kind_comes_back_as_itself() -> None:
    for entry, raw in ((BLOCK, BLOCK.encode()), (GENESIS, GENESIS.encode()), (STATEMENT, STATEMENT.raw)):
        assert parse_entry(raw) == entry
        assert type(parse_entry(raw)) is type(entry)


def test_a_largest_genesis_record_fits_a_bundle_and_a_larger_one_is_misuse() -> None:
    parameters: dict[str, int | str] = {f"p{number}": "x" * 900 for number in range(60)}
    assert len(replace(GENESIS, parameters=parameters).encode()) <= MAX_ENTRY_BYTES
    with pytest.raises(Misuse):
        replace(GENESIS, parameters={f"p{number}": "x" * 900 for number in range(80)}).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": True},
        {"time_ms": -1},
        {"time_ms": 253_402_300_800_000},
        {"first": 0},
        {"count": -1},
        {"count": 65_537},
        {"previous": bytes(31)},
        {"state_root": bytes(33)},
        {"state_root": "x" * 32},
        {"proposer": ""},
        {"proposer": "KZ"},
        {"proposer": "a" * 65},
    ],
    ids=repr,
)
def test_a_block_record_that_cannot_be_is_misuse_to_write_and_malformed_to_read(change: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        replace(BLOCK, **change).encode()
    members: Any = cbor.decode(BLOCK.encode())
    with pytest.raises(Malformed, match="bad_block_record"):
        parse_entry(cbor.encode({**members, **change}))


KZ = GENESIS.authorities[0]
CN = GENESIS.authorities[1]


@pytest.mark.parametrize(
    ("what", "genesis"),
    [
        ("no authority", replace(GENESIS, authorities=())),
        ("an origin with a space", replace(GENESIS, origin="a b")),
        ("an empty origin", replace(GENESIS, origin="")),
        ("a negative time", replace(GENESIS, time_ms=-1)),
        ("a country in small letters", replace(GENESIS, authorities=(replace(KZ, country="kz"), CN))),
        ("one country twice", replace(GENESIS, authorities=(KZ, replace(CN, country="KZ")))),
        ("one name twice", replace(GENESIS, authorities=(KZ, replace(CN, name="kz-kgd")))),
        ("one log key twice", replace(GENESIS, authorities=(KZ, replace(CN, log_key=KZ.log_key)))),
        ("one registrar key twice", replace(GENESIS, authorities=(KZ, replace(CN, registrar_key=KZ.registrar_key)))),
        ("one ca twice", replace(GENESIS, authorities=(KZ, replace(CN, ca_sha256=KZ.ca_sha256)))),
        ("one validator on both sides", replace(GENESIS, authorities=(KZ, replace(CN, validators=KZ.validators)))),
        ("no validator", replace(GENESIS, authorities=(KZ, replace(CN, validators=())))),
        ("a log key of small order", replace(GENESIS, authorities=(KZ, replace(CN, log_key=b"\x01" + bytes(31))))),
        ("a registrar that is no participant", replace(GENESIS, authorities=(KZ, replace(CN, registrar_id="X")))),
        ("a parameter that is a list", replace(GENESIS, parameters={"a": []})),  # type: ignore[dict-item]
        ("a parameter that is true", replace(GENESIS, parameters={"a": True})),
        ("a parameter without a name", replace(GENESIS, parameters={"": 1})),
        ("a witness that is a validator", replace(GENESIS, witnesses=(GenesisWitness("kz-kgd-1", "trust", b"c"),))),
        ("a witness of an authority", replace(GENESIS, witnesses=(GenesisWitness("w-1", "kz-kgd", b"c"),))),
        ("two witnesses of one party", replace(WITNESSED, witnesses=WITNESSED.witnesses * 2)),
        ("a witness without a CA", replace(GENESIS, witnesses=(GenesisWitness("w-1", "trust", b""),))),
        ("a contract of version 0", replace(GENESIS, contracts={"registry": 0})),
    ],
)
def test_a_genesis_record_cannot_have(what: str, genesis: Genesis) -> None:
    with pytest.raises(Misuse):
        genesis.encode()


def test_a_registrar_key_of_no_known_algorithm_is_refused() -> None:
    with pytest.raises(Misuse, match="unknown_algorithm"):
        replace(GENESIS, authorities=(KZ, replace(CN, registrar_key=b"\xa0"))).encode()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed_cbor"),
        (b"\x00", "unknown_entry"),
        (b"\xa0", "unknown_entry"),
        (b"\x80", "unknown_entry"),
        (b"\xa1\x64type\x00", "unknown_entry"),
        (cbor.encode({"type": "comity.block.v2"}), "unknown_entry"),
        (cbor.encode({"type": "comity.block.v1"}), "bad_block_record"),
        (cbor.encode({"type": "comity.genesis.v1"}), "bad_genesis"),
        (b"\xd2\x84", "malformed_cbor"),
        (b"\xbf\xff", "non_canonical_cbor"),
        (BLOCK.encode() + b"\0", "malformed_cbor"),
        (bytes(MAX_ENTRY_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_entry_is_malformed(raw: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_entry(raw)
    assert caught.value.code == code


@pytest.mark.parametrize("entry", [BLOCK, GENESIS], ids=["block", "genesis"])
def test_a_flipped_bit_makes_another_record_or_none(entry: BlockRecord | Genesis) -> None:
    raw = entry.encode()
    for position in range(0, len(raw) * 8, 3):
        data = bytearray(raw)
        data[position // 8] ^= 1 << position % 8
        try:
            changed = parse_entry(bytes(data))
        except Malformed:
            continue
        assert changed != entry
        assert isinstance(changed, BlockRecord | Genesis)
        assert changed.encode() == bytes(data)
