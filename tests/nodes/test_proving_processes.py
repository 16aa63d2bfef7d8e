"""Receipts, status proofs and passes of a network of real processes, verified with nothing but each policy file."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.client import AsyncClient, ProblemError, Retry, TokenSigner
from contracts.crossing_pass import parse_pass
from contracts.verifying import Context, Verification, verify_file
from ledger.algorithms import PrivateKey
from ledger.proof_check import Verdict
from ledger.receipt import parse_receipt
from ledger.statement import Statement, sign_statement
from nodes.cli import comity as command_line
from tests.contracts import corridor as c
from tests.nodes.network import Client, Processes, all_final, gateway_of, running
from tests.nodes.test_documented_commands import documented_commands

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proofs.md"


class Cast:
    """Everybody of the contract tests' corridor, on a real network: each signs with a key of its own."""

    def __init__(self, processes: Processes) -> None:
        self.network = processes.network
        self.keys = {name: PrivateKey.generate() for name in c.CAST}
        for authority in self.network.authorities:
            registrar = PrivateKey.from_pem(authority.key("registrar").read_bytes())
            self.keys[f"{authority.name}/registrar"] = registrar

    def sign(self, kind: str, iss: str, sub: str, payload: Any) -> Statement:
        return sign_statement(
            self.keys[iss],
            kind=kind,
            iss=iss,
            sub=sub,
            iat_s=int(time.time()),
            cti=secrets.token_bytes(16),
            payload=payload,
        )

    async def play(self, *statements: Statement) -> None:
        """Hand them in one after the other, and wait until all are final."""
        async with Client(self.network, "kz-kgd-1") as client:
            for statement in statements:
                (result,) = await client.submit([statement.raw])
                assert result.WhichOneof("outcome") == "accepted", (statement.kind, result)
        for name in ("kz-kgd-1", "cn-gacc-1"):
            await all_final(self.network, name, [statement.id for statement in statements])

    async def start_a_movement(self) -> list[Statement]:
        enrolments = [
            self.sign("registry.enrol", by, name, {"key": self.keys[name].public.cose_key, "roles": list(roles)})
            for name, (by, roles) in c.CAST.items()
        ]
        declaring = [self.sign(f"declaration.{event}", by, c.UCR, what) for event, by, what in c.DECLARATION_STEPS]
        escorting = [self.sign(f"escort.{event}", by, c.MRN, what) for _, event, by, what in c.ESCORT_STEPS[:4]]
        statements = [*enrolments, *declaring, *escorting]
        await self.play(*statements)
        return statements


def checked(network: Any, data: bytes, name: str = "") -> Verification:
    """What each authority's own people find, which has to be the same."""
    found = [
        verify_file(data, name, Context(authority.policy.read_bytes(), int(time.time())))
        for authority in network.authorities
    ]
    assert [each.holds for each in found] == [found[0].holds] * len(found)
    return found[0]


def failing(found: Verification) -> str:
    return "; ".join(check.detail for check in found.checks if check.verdict is Verdict.FAILS)


@pytest.mark.soak
@pytest.mark.processes
async def test_what_a_network_hands_out_verifies_offline_and_says_what_holds(tmp_path: Path) -> None:
    async with running(tmp_path) as processes, gateway_of(processes, "kz-kgd") as url:
        cast = Cast(processes)
        statements = await cast.start_a_movement()
        network = processes.network
        signer = TokenSigner(cast.keys["kz-kgd/officer"], participant="kz-kgd/officer", origin=network.origin)
        async with AsyncClient(url, signer=signer, retry=Retry(attempts=1)) as client:
            await _receipts(client, network, statements[-1])
            await _status_proofs(client, network)
            await _passes(client, network)
            await asyncio.to_thread(_follow_the_page, tmp_path, cast, url, statements)
            suspend = cast.sign("declaration.suspend_recognition", "cn-gacc/officer", c.UCR, c.decision())
            await cast.play(suspend)
            await _after_a_suspension(client, network)
            processes.kill("cn-gacc-1", "cn-gacc-2")
            await _without_the_other_authority(client, network, statements)


async def _receipts(client: AsyncClient, network: Any, statement: Statement) -> None:
    transparent = await client.receipt(statement.id_hex)
    found = checked(network, transparent)
    assert found.holds, failing(found)
    assert {each["signer"].rpartition("-")[0] for each in found.facts["receipts"]} == {"kz-kgd", "cn-gacc"}
    assert found.facts["statement"]["id"] == statement.id_hex
    for authority in ("kz-kgd", "cn-gacc"):
        alone = parse_receipt(await client.receipt(statement.id_hex, authority=authority))
        assert alone.signer.startswith(authority)
    with pytest.raises(ProblemError, match="no authority here"):
        await client.receipt(statement.id_hex, authority="xx-none")


async def _status_proofs(client: AsyncClient, network: Any) -> None:
    for collection, name, says in (
        ("declarations", c.UCR, "is released in version 1; its recognition is recognised"),
        ("movements", c.MRN, "is started, in the custody of kz-kgd"),
        ("participants", "kz/truck/t-001", "has the roles truck"),
        ("declarations", "NO-SUCH", "there is no declaration NO-SUCH"),
    ):
        found = checked(network, await client.status_proof(collection, name))
        assert found.holds, failing(found)
        assert says in found.summary


async def _passes(client: AsyncClient, network: Any) -> None:
    data = await client.crossing_pass(c.MRN)
    found = checked(network, data)
    assert found.holds, failing(found)
    facts = parse_pass(data).facts
    assert (facts.vehicle, facts.until_s - facts.as_of_s) == ("fleet/BKT-0001", 1_800)
    assert len(data) < 1_000
    many = await asyncio.gather(*(client.crossing_pass(c.MRN) for _ in range(20)))
    assert all(checked(network, each).holds for each in many)


def _follow_the_page(directory: Path, cast: Cast, url: str, statements: list[Statement]) -> None:
    """Every command of docs/proofs.md, with the names of this network in the place of the page's."""
    released = next(each for each in statements if each.kind == "declaration.release")
    (directory / "release.cose").write_bytes(released.raw)
    (directory / "officer.pem").write_bytes(cast.keys["kz-kgd/officer"].to_pem())
    (directory / "kz-kgd.policy").write_bytes(cast.network.authorities[0].policy.read_bytes())
    here = {"http://127.0.0.1:7003": url, "KZ-2026-000123": c.UCR, "19GBCKKCQSXV2FGVA8": c.MRN, "CSQU3054383": c.BOX}
    commands = documented_commands(PAGE)
    assert len(commands) == 7
    for words in commands:
        arguments = [here.get(word, str(directory / word) if "." in word else word) for word in words[1:]]
        result = CliRunner().invoke(command_line, arguments)
        assert result.exit_code == 0, (arguments, result.output)
    assert (directory / "truck.svg").read_bytes().startswith(b"<?xml")


async def _after_a_suspension(client: AsyncClient, network: Any) -> None:
    with pytest.raises(ProblemError, match="is suspended: expected recognised") as refused:
        await client.crossing_pass(c.MRN)
    assert refused.value.code == "may_not_pass"
    found = checked(network, await client.status_proof("declarations", c.UCR))
    assert found.summary.endswith("its recognition is suspended")


async def _without_the_other_authority(client: AsyncClient, network: Any, statements: list[Statement]) -> None:
    await client.receipt(statements[-1].id_hex)  # remembered from before
    alone = parse_receipt(await client.receipt(statements[0].id_hex, authority="kz-kgd"))
    assert alone.signer.startswith("kz-kgd")
    assert checked(network, await client.status_proof("movements", c.MRN)).holds
