"""What a validator as a whole must never do, whatever its parts are busy with."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import UnknownDurableState
from ledger.evidence import Claim
from nodes.config import load_validator_config
from nodes.evidence import OWN_WORDS, Kept
from nodes.identity import load_identity
from nodes.proto import peer_pb2
from nodes.repair import repair
from nodes.validator import Validator
from tests.ledger.evidence import BUNDLES
from tests.nodes.network import make_network


async def made(directory: Path) -> Validator:
    config = load_validator_config(directory / "validators" / "kz-kgd-1" / "validator.toml")
    return Validator(config, load_identity(config))


async def test_nothing_is_executed_while_something_is_being_signed(tmp_path: Path) -> None:
    make_network(tmp_path / "n")
    validator = await made(tmp_path / "n")
    executed = asyncio.Event()

    class OneBlock:
        async def take(self, after: int) -> list[tuple[int, bytes]]:
            if executed.is_set():
                await asyncio.Event().wait()
            return [(1, b"")]

        def waiting(self, after: int) -> int:
            return 0

    def execute(blocks: Any, behind: int) -> tuple[list[Any], None]:
        executed.set()
        validator.execution.applied = 1
        return [type("Executed", (), {"block": None})()], None

    validator.applying._ordering = OneBlock()  # type: ignore[assignment]
    validator.applying.execute_some = execute  # type: ignore[method-assign]
    async with validator.applying.executing:
        task = asyncio.create_task(validator._apply())
        await asyncio.sleep(0.05)
        assert not executed.is_set()
    async with asyncio.timeout(60):
        await executed.wait()
    task.cancel()


async def test_a_question_for_cosignatures_is_answered_once(tmp_path: Path) -> None:
    make_network(tmp_path / "n")
    validator = await made(tmp_path / "n")
    sent: list[tuple[str, peer_pb2.Envelope]] = []

    def send(name: str, envelope: peer_pb2.Envelope) -> bool:
        sent.append((name, envelope))
        return True

    validator.transport.send = send  # type: ignore[method-assign]
    validator.finality.answer = lambda *question: [(5, bytes(32), ())]  # type: ignore[method-assign]
    validator._deliver("cn-gacc-1", peer_pb2.Envelope(cosignature_query=peer_pb2.CosignatureQuery(executed_size=5)))
    answers = [(peer, each.cosignatures.size) for peer, each in sent if each.WhichOneof("body") == "cosignatures"]
    assert answers == [("cn-gacc-1", 5)]


@pytest.mark.parametrize("lost", ["ledger", "order", "."])
async def test_a_validator_that_lost_what_it_voted_for_or_signed_does_not_start(tmp_path: Path, lost: str) -> None:
    make_network(tmp_path / "n")
    validator = await made(tmp_path / "n")
    validator._store.close()
    validator.ordering.close()
    data = tmp_path / "n" / "validators" / "kz-kgd-1" / "data"
    assert not (data / "first-start").exists()
    shutil.rmtree(data / lost)
    with pytest.raises(UnknownDurableState, match="this is not the first start"):
        await made(tmp_path / "n")


async def test_a_first_start_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    make_network(tmp_path / "n")
    data = tmp_path / "n" / "validators" / "kz-kgd-1" / "data"
    marker = (data / "first-start").read_bytes()
    validator = await made(tmp_path / "n")
    validator._store.close()
    validator.ordering.close()
    shutil.rmtree(data / "order")
    (data / "first-start").write_bytes(marker)
    again = await made(tmp_path / "n")
    assert again.chain.size == 1
    again._store.close()
    again.ordering.close()


async def test_a_validator_whose_lost_ledger_was_repaired_starts_and_knows_what_not_to_sign(tmp_path: Path) -> None:
    make_network(tmp_path / "n")
    validator = await made(tmp_path / "n")
    validator._store.close()
    validator.ordering.close()
    data = tmp_path / "n" / "validators" / "kz-kgd-1" / "data"
    shutil.rmtree(data / "ledger")
    _, done = repair(data)
    assert done is not None
    assert done.from_order
    again = await made(tmp_path / "n")
    assert (again.chain.size, again.promises.floor) == (1, 1)
    assert again.execution.sign_now() is None
    again._store.close()
    again.ordering.close()


async def test_evidence_shows_in_the_status_the_metrics_and_to_gateways(tmp_path: Path) -> None:
    make_network(tmp_path / "n")
    validator = await made(tmp_path / "n")
    assert (list(validator.report.status().evidence), validator.report.gauges()["evidence_bundles"]) == ([], 0)
    bundle = BUNDLES[Claim.TWO_ROOTS]
    validator.bundles.kept["5-liar-00"] = Kept(bundle.encode(), bundle, "who against whom", OWN_WORDS)
    assert list(validator.report.status().evidence) == ["who against whom"]
    assert validator.report.gauges()["evidence_bundles"] == 1
    (shown,) = validator.report.evidence()
    assert (shown.id, shown.claim, shown.bundle) == (bundle.id, "two_roots", bundle.encode())
    assert b"comity_evidence_bundles" in validator.metrics.text()
    validator._store.close()
    validator.ordering.close()
