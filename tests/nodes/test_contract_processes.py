"""A contract of one's own on a real network: named in the genesis, executed by both sides, read, exported, audited."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.client import Client, NotFound, RejectedStatement, TokenSigner
from api.problems import of_rejection
from contracts.replay import ContractReplay
from ledger.algorithms import EDDSA, PrivateKey
from ledger.archive import export_archive
from ledger.audit import audit_archive
from ledger.entry import Genesis
from ledger.statement import sign_statement
from nodes.cli import comity
from nodes.cli.participant import _advice
from nodes.config import ConfigError
from nodes.network import Network, contracts_of, newest_contracts
from tests.nodes.network import ORIGIN, gateway_of, running
from tests.nodes.test_documented_commands import ROOT, documented_commands

NUMBER, UCR = "KZ/2026-004711", "26KZBKT/000123"
DECLARANT = "kz/declarant/agro"
CONTENT = {
    "consignor": "Agro LLP",
    "consignee": "Mill Co",
    "origin": "KZ",
    "destination": "CN",
    "gross_mass_g": 24_500_000,
    "goods": [{"hs": "100199", "description": "wheat", "mass_g": 24_000_000}],
    "containers": [],
}


class People:
    """Who signs: officers and registrars of both sides with the keys that the network made, and a declarant."""

    def __init__(self, network: Network) -> None:
        self.keys = {
            f"{authority.name}/{role}": PrivateKey.from_pem(authority.key(role).read_bytes())
            for authority in network.authorities
            for role in ("registrar", "officer")
        }
        self.keys[DECLARANT] = PrivateKey.generate(EDDSA)

    def client(self, url: str, name: str) -> Client:
        return Client(url, signer=TokenSigner(self.keys[name], participant=name, origin=ORIGIN))

    def say(self, client: Client, kind: str, issuer: str, subject: str, payload: dict[str, Any]) -> None:
        statement = sign_statement(
            self.keys[issuer],
            kind=kind,
            iss=issuer,
            sub=subject,
            iat_s=int(time.time()),
            cti=secrets.token_bytes(16),
            payload=payload,
        )
        client.submit(statement.raw, wait="final")

    def enrol(self, client: Client, name: str, registrar: str, role: str) -> None:
        payload = {"key": self.keys[name].public.cose_key, "roles": [role]}
        self.say(client, "registry.enrol", registrar, name, payload)


def certificates(url: str, network: Network, archive: Path) -> None:
    """A certificate from its issue by one side to its recognition by the other, and what is left of it offline."""
    people = People(network)
    with people.client(url, "kz-kgd/officer") as officer, people.client(url, DECLARANT) as declarant:
        people.enrol(officer, "kz-kgd/officer", "kz-kgd/registrar", "customs.officer")
        people.enrol(officer, "cn-gacc/officer", "cn-gacc/registrar", "customs.officer")
        people.enrol(officer, DECLARANT, "kz-kgd/registrar", "declarant")
        lodged = {"home": "kz-kgd", "partner": "cn-gacc", "content": CONTENT}
        people.say(officer, "declaration.lodge", DECLARANT, UCR, lodged)
        with pytest.raises(RejectedStatement) as refused:
            people.say(officer, "phytosanitary.recognise", "cn-gacc/officer", NUMBER, {})
        assert refused.value.outcome == "certificate_unknown"
        issued = {
            "ucr": UCR,
            "ephyto_sha256": bytes(32),
            "plants": [{"name": "Triticum aestivum", "mass_g": 24_000_000}],
            "valid_until_ms": int(time.time() + 86_400) * 1000,
        }
        people.say(officer, "phytosanitary.issue", "kz-kgd/officer", NUMBER, issued)
        people.say(officer, "phytosanitary.recognise", "cn-gacc/officer", NUMBER, {})
        shown = officer.record("phytosanitary", NUMBER)["record"]
        assert (shown["state"], shown["by"], shown["importing"]) == ("recognised", "cn-gacc/officer", "cn-gacc")
        assert declarant.record("phytosanitary", NUMBER)["record"] == shown
        with pytest.raises(NotFound):
            declarant.record("phytosanitary", "KZ/0")
        policy = network.authorities[0].policy.read_bytes()
        export_archive(officer, archive, policy, officer.checkpoint())
    report = audit_archive(archive, policy, ContractReplay())
    assert report.holds, report.faults
    # Three enrolled, one declaration, two statements on the certificate.
    assert report.statements == 6


@pytest.mark.processes
async def test_a_contract_that_the_genesis_names_runs_on_a_real_network_and_is_audited(tmp_path: Path) -> None:
    named = contracts_of(["phytosanitary:1"])
    async with running(tmp_path / "net", validators_per_authority=1, contracts=named) as processes:
        async with gateway_of(processes, "kz-kgd") as url:
            await asyncio.to_thread(certificates, url, processes.network, tmp_path / "archive")
        assert set(processes.stop().values()) == {0}


def test_the_command_of_the_page_makes_a_network_that_has_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = documented_commands(ROOT / "docs" / "writing-a-contract.md")
    assert [command[:3] for command in commands] == [["comity", "network", "init"]]
    done = CliRunner().invoke(comity, commands[0][1:])
    assert done.exit_code == 0, done.output
    genesis = Genesis.decode((tmp_path / "border" / "genesis.cbor").read_bytes())
    assert genesis.contracts == {**newest_contracts(), "phytosanitary": 1}
    refused = CliRunner().invoke(comity, ["network", "init", "other", "--contract", "weather"])
    assert refused.exit_code == 2
    assert "expected one of registry:1" in refused.output


def test_a_rejected_statement_is_shown_with_what_to_do_about_it() -> None:
    known = of_rejection(500, "certificate_unknown").document()
    assert _advice(RejectedStatement("rejected", known)) == {
        "outcome_code": 500,
        "do": "Look at the number, or issue it.",
    }
    newer = {**known, "outcome_code": 998}
    assert _advice(RejectedStatement("rejected", newer)) == {}
    assert _advice(RejectedStatement("rejected", {})) == {}


def test_contracts_are_named_by_name_or_with_a_version() -> None:
    assert "phytosanitary" not in newest_contracts()
    assert contracts_of(["phytosanitary"]) == {**newest_contracts(), "phytosanitary": 1}
    assert contracts_of(["phytosanitary:1", "escort:1"])["escort"] == 1
    assert contracts_of([]) == newest_contracts()


@pytest.mark.parametrize(
    "text", ["weather", "phytosanitary:2", "phytosanitary:", "phytosanitary:one", ":1", "escort:٣"]
)
def test_a_contract_that_this_program_has_not_is_refused_with_those_that_it_has(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected one of registry:1, .*phytosanitary:1, got "):
        contracts_of([text])
