"""Sealing: keys are believed with a proof and not from a gateway, and a sealed content belongs together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from api.envelope import EnvelopePrivateKey, open_envelope
from api.sealing import PUBLISHING_KIND, envelope_key_of, proven_envelope_keys, seal_content
from contracts.declaration_private import ENVELOPE, private_fields_refusal, reveal
from ledger.algorithms import EDDSA, PrivateKey
from ledger.errors import Misuse, Untrue
from ledger.statement import Statement, sign_statement
from tests.contracts.corridor import UCR, content
from tests.ledger.test_proof_check import POLICY, proof_of

KEYS = {name: EnvelopePrivateKey.generate() for name in ("cn-gacc", "kz-kgd")}
BOTH = ("kz-kgd-1", "cn-gacc-1")
REGISTRAR = PrivateKey.generate(EDDSA)


def published(authority: str, public: bytes, kind: str = PUBLISHING_KIND) -> Statement:
    registrar = f"{authority}/registrar"
    payload: Any = {"authority": authority, "key": public}
    return sign_statement(REGISTRAR, kind=kind, iss=registrar, sub=registrar, iat_s=1, cti=public[:16], payload=payload)


@dataclass
class FakeGateway:
    """Says which keys there are, and hands out statements and proofs; a liar where it is told to be."""

    shown: dict[str, bytes]
    statements: dict[str, Statement]
    cosigners: tuple[str, ...] = BOTH
    swapped: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def honest(cls) -> FakeGateway:
        statements = {name: published(name, key.public) for name, key in KEYS.items()}
        return cls({name: key.public for name, key in KEYS.items()}, statements)

    def envelope_keys(self) -> dict[str, Any]:
        return {
            "authorities": [
                {"authority": name, "keys": [{"public": public.hex(), "statement": self.statements[name].id_hex}]}
                if public
                else {"authority": name, "keys": []}
                for name, public in self.shown.items()
            ]
        }

    def statement(self, statement_id: str) -> Statement:
        return next(s for s in self.statements.values() if s.id_hex == statement_id)

    def proof(self, statement_id: str) -> bytes:
        return proof_of(self.statement(statement_id).raw, self.cosigners)


def test_what_both_authorities_published_is_what_is_sealed_to() -> None:
    assert proven_envelope_keys(FakeGateway.honest(), POLICY) == {name: key.public for name, key in KEYS.items()}


def test_a_gateway_cannot_put_a_key_of_its_own_in_the_place_of_the_other_sides() -> None:
    mine = EnvelopePrivateKey.generate().public
    liar = FakeGateway.honest()
    liar.shown["cn-gacc"] = mine
    with pytest.raises(Untrue, match="envelope_key_not_proven"):
        proven_envelope_keys(liar, POLICY)
    alone = FakeGateway.honest()
    alone.shown["cn-gacc"] = mine
    alone.statements["cn-gacc"] = published("cn-gacc", mine)
    alone.cosigners = ("kz-kgd-1", "kz-kgd-2")
    with pytest.raises(Untrue, match="quorum"):
        proven_envelope_keys(alone, POLICY)
    other_kind = FakeGateway.honest()
    other_kind.shown["cn-gacc"] = mine
    other_kind.statements["cn-gacc"] = published("cn-gacc", mine, "registry.enrol")
    with pytest.raises(Untrue, match=r"expected registry\.publish_envelope_key"):
        proven_envelope_keys(other_kind, POLICY)
    renamed = FakeGateway.honest()
    renamed.shown["cn-gacc"] = renamed.shown["kz-kgd"]
    renamed.statements["cn-gacc"] = renamed.statements["kz-kgd"]
    with pytest.raises(Untrue, match="of kz-kgd"):
        proven_envelope_keys(renamed, POLICY)


def test_an_authority_without_a_key_is_named() -> None:
    gateway = FakeGateway.honest()
    gateway.shown["cn-gacc"] = b""
    with pytest.raises(Untrue, match="cn-gacc has published no envelope key yet"):
        proven_envelope_keys(gateway, POLICY)


def test_a_key_of_another_length_is_none() -> None:
    statement = published("kz-kgd", bytes(31))
    with pytest.raises(Untrue, match="names no authority and key"):
        envelope_key_of(POLICY, proof_of(statement.raw, BOTH), statement.raw)


def test_content_envelope_and_openings_belong_together() -> None:
    sealed = seal_content(UCR, content(), ["consignor", "consignee"], {n: k.public for n, k in KEYS.items()})
    assert sealed.content[ENVELOPE] == sealed.envelope.sha256
    assert private_fields_refusal(sealed.content) is None
    for key in KEYS.values():
        assert open_envelope(sealed.envelope, key) == sealed.openings
    assert reveal(sealed.content, sealed.openings) == content()
    with pytest.raises(Misuse, match="at least one field"):
        seal_content(UCR, content(), [], {})
