"""A validator through changes that both authorities signed: parameters, a registrar's key, a contract, a CA.

One node has the whole program. Another is of a release before: it lacks a version that the ledger brings into force,
and must stop before that block with nothing written or signed. The archive is then audited, old part under old rules.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.catalogue import CONTRACTS
from contracts.governance_record import decode_proposal, proposal_key
from contracts.releases import missing_ahead
from contracts.replay import ContractReplay
from ledger.algorithms import EDDSA, PrivateKey
from ledger.archive import export_archive
from ledger.audit import audit_archive
from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.note import Note, format_note
from ledger.statement import Statement, sign_statement
from nodes.blocks import encode_block
from nodes.execution import Accepted, Executed, Halted, Rejected
from nodes.network import policy_text
from tests.nodes.world import Node, World

KZ, CN = "kz-kgd/registrar", "cn-gacc/registrar"


class Governed:
    """A world with governance from the start, `registry` in version 1, and an order that a test writes."""

    def __init__(self) -> None:
        self.world = World()
        contracts = self.world.genesis.contracts | {"registry": 1}
        self.world.genesis = replace(self.world.genesis, contracts=contracts, parameters={"effect_lead_blocks": 1})
        self.keys = {KZ: self.world.registrars["kz-kgd"], CN: self.world.registrars["cn-gacc"]}
        self.order: list[bytes] = []
        self.node = self.world.node()

    def sign(self, who: str, kind: str, sub: str, payload: dict[str | int, Any]) -> Statement:
        return sign_statement(
            self.keys[who],
            kind=kind,
            iss=who,
            sub=sub,
            iat_s=self.world.time_ms // 1000,
            cti=secrets.token_bytes(16),
            payload=payload,
        )

    def block(self, *statements: Statement) -> Executed:
        self.order.append(
            encode_block("cn-gacc-1", self.world.time_ms + len(self.order), [each.raw for each in statements])
        )
        return self.node.execution.execute(len(self.order), self.order[-1], 0)

    def must(self, who: str, kind: str, sub: str, payload: dict[str | int, Any]) -> None:
        executed = self.block(self.sign(who, kind, sub, payload))
        assert isinstance(executed.results[0][1], Accepted), executed.results

    def agree(self, name: str, *changes: dict[str, Any]) -> None:
        self.must(KZ, "governance.propose", name, {"title": "for the test", "changes": list(changes)})
        raw = self.node.chain.state.get(proposal_key(name))
        assert raw is not None
        self.must(CN, "governance.approve", name, {"proposal": decode_proposal(raw).statement})

    def enrol(self) -> None:
        assert isinstance(self.block(self.world.enrol()).results[0][1], Accepted)

    def enrol_with(self, key: PrivateKey, *, refused: bool) -> None:
        self.world.registrars["kz-kgd"] = key
        result = self.block(self.world.enrol()).results[0][1]
        assert isinstance(result, Rejected if refused else Accepted), result

    def upgrade(self) -> None:
        fields = {"name": "registry", "from": 1, "to": 2, "release": "2.0.0"}
        self.agree("kz-kgd/upgrade", {"contract": fields})

    def rotation(self) -> Statement:
        """What version 1 lets a registrar do alone, and version 2 does not."""
        new = PrivateKey.generate(EDDSA).public
        return self.sign(KZ, "registry.rotate", KZ, {"key": new.cose_key})


@pytest.fixture
def governed() -> Governed:
    return Governed()


def test_the_new_version_decides_from_its_height_on_and_not_before(governed: Governed) -> None:
    governed.upgrade()
    before = governed.block(governed.rotation())
    assert isinstance(before.results[0][1], Rejected)  # the height is reached as this block begins
    assert before.results[0][1].outcome.fact == "registrar_key_is_governed"
    assert before.height == 3


def test_up_to_the_block_before_the_old_version_decides(governed: Governed) -> None:
    governed.must(KZ, "governance.propose", "kz-kgd/1", {"title": "t", "changes": [_lapse(1_800, 60)]})
    assert isinstance(governed.block(governed.rotation()).results[0][1], Accepted)


@contextmanager
def earlier_program() -> Iterator[None]:
    """One that lacks the version. The catalogue is put back in its order, which the generated pages follow."""
    catalogue = dict(CONTRACTS)
    del CONTRACTS["registry", 2]
    try:
        yield
    finally:
        CONTRACTS.clear()
        CONTRACTS.update(catalogue)


def test_a_program_without_the_version_halts_before_the_block_and_goes_on_once_it_has_it(
    governed: Governed,
) -> None:
    governed.upgrade()
    governed.enrol()
    old = governed.world.node("kz-kgd-2")
    with earlier_program():
        for index, payload in enumerate(governed.order[:2], 1):
            old.execution.execute(index, payload, 0)
        assert [each.release for each in missing_ahead(old.chain.state)] == ["2.0.0"]
        before = old.whole()
        with pytest.raises(Halted, match=r"registry version 2 is in force.*install release 2\.0\.0"):
            old.execution.execute(3, governed.order[2], 0)
        assert old.whole() == before
    again = Node(governed.world, "kz-kgd-2", old.store, old.clock)
    again.execution.execute(3, governed.order[2], 0)
    assert (again.chain.size, again.chain.root) == (governed.node.chain.size, governed.node.chain.root)


def test_a_block_in_which_nothing_but_a_height_happened_is_on_the_log(governed: Governed) -> None:
    governed.agree("kz-kgd/1", _lapse(1_800, 60))
    size = governed.node.chain.size
    executed = governed.block()
    assert (executed.height, governed.node.chain.size) == (3, size + 1)
    assert governed.block().checkpoint is None


def _lapse(present: int, to: int) -> dict[str, Any]:
    return {"parameter": {"name": "offer_lapse_s", "from": present, "to": to}}


def test_an_archive_that_spans_every_kind_of_change_is_audited_under_the_rules_of_each_height(
    governed: Governed, tmp_path: Path
) -> None:
    assert isinstance(governed.block(governed.rotation()).results[0][1], Accepted)  # version 1 allows it
    governed.agree("kz-kgd/1", _lapse(1_800, 60), {"ca": _ca(governed)})
    governed.upgrade()
    governed.enrol()
    new, old = PrivateKey.generate(EDDSA), governed.keys[KZ]
    change = {"authority": "kz-kgd", "from": old.public.kid, "key": new.public.cose_key}
    governed.agree("kz-kgd/key", {"registrar_key": change})
    governed.enrol_with(old, refused=True)
    governed.keys[KZ] = new
    governed.enrol_with(new, refused=False)
    governed.agree("kz-kgd/2", _lapse(60, 90))
    governed.block()
    directory = _archive(governed, tmp_path)
    policy = policy_text(governed.world.genesis, "kz-kgd").encode()
    report = audit_archive(directory, policy, ContractReplay())
    assert report.holds, str(report)
    with earlier_program():
        told = audit_archive(directory, policy, ContractReplay())
    assert not told.holds
    assert "install release 2.0.0" in str(told)


def _ca(governed: Governed) -> dict[str, Any]:
    present = governed.world.genesis.authorities[1].ca_sha256
    return {"authority": "cn-gacc", "from": present, "to": bytes(32), "overlap_s": 3_600}


def _archive(governed: Governed, directory: Path) -> Path:
    chain, world = governed.node.chain, governed.world
    checkpoint = Checkpoint(world.genesis.origin, chain.size, chain.root)
    lines = [line for name in ("kz-kgd-1", "cn-gacc-1") for line in world.lines(name, checkpoint)]
    note = format_note(Note(checkpoint_body(checkpoint), tuple(lines)))
    export_archive(chain, directory / "archive", policy_text(world.genesis, "kz-kgd").encode(), note)
    return directory / "archive"
