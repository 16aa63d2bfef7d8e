"""Options that only pass something on: each has to arrive where it does something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.algorithms import PrivateKey
from ledger.statement import Statement, parse_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE
from nodes.cli import governance as governance_commands
from nodes.cli import participant as participant_commands
from nodes.config import Address, load_validator_config
from tests.api.wco.documents import lodged
from tests.nodes.test_cli import run

GATEWAY = "http://127.0.0.1:1"


class Taking:
    """A gateway that takes everything, and shows one parameter."""

    def __init__(self) -> None:
        self.taken: list[Statement] = []

    def __enter__(self) -> Taking:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, raw: bytes, *, wait: str) -> object:
        self.taken.append(parse_statement(raw))
        return wait

    def parameters(self) -> dict[str, Any]:
        return {"parameters": [{"name": "offer_lapse_s", "value": 1_800}]}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Taking:
    taking = Taking()
    for commands in (participant_commands, governance_commands):
        monkeypatch.setattr(commands, "open_client", lambda *_: taking)
        monkeypatch.setattr(commands, "show_receipt", lambda *_: None)
    return taking


@pytest.fixture
def registrar(tmp_path: Path) -> list[str]:
    (tmp_path / "registrar.key").write_bytes(PrivateKey.generate().to_pem())
    (tmp_path / "truck.pub").write_bytes(PrivateKey.generate().public.cose_key)
    return ["--gateway", GATEWAY, "--key", str(tmp_path / "registrar.key"), "--as", "kz-kgd/registrar"]


def test_the_window_of_a_key_is_signed_with_its_enrolment(
    gateway: Taking, registrar: list[str], tmp_path: Path
) -> None:
    enrol: list[str | Path] = [
        "enrol",
        *registrar,
        "--participant",
        "kz/truck/t-1",
        "--public-key",
        tmp_path / "truck.pub",
        "--role",
        "truck",
    ]
    window = ["--valid-from-ms", "1700000000000", "--valid-until-ms", "1800000000000"]
    for options, expected in (
        (window, {"valid_from_ms": 1_700_000_000_000, "valid_until_ms": 1_800_000_000_000}),
        (window[:2], {"valid_from_ms": 1_700_000_000_000}),
        (window[2:], {"valid_until_ms": 1_800_000_000_000}),
        ([], {}),
    ):
        result = run(*enrol, *options)
        assert result.exit_code == EXIT_HOLDS, result.output
        payload = gateway.taken[-1].payload
        assert {name: value for name, value in payload.items() if str(name).startswith("valid_")} == expected


def test_the_height_of_a_proposal_is_signed_with_it(gateway: Taking, registrar: list[str]) -> None:
    propose = ["governance", "propose", "kz-kgd/1", *registrar, "--title", "t", "--parameter", "offer_lapse_s=60"]
    assert run(*propose).exit_code == EXIT_HOLDS
    assert "height" not in gateway.taken[-1].payload
    assert run(*propose, "--height", "4711").exit_code == EXIT_HOLDS
    assert gateway.taken[-1].payload["height"] == 4711
    assert run(*propose, "--height", "0").exit_code == EXIT_MISUSE


def test_an_overlap_without_anything_that_is_replaced_is_misuse(gateway: Taking, registrar: list[str]) -> None:
    propose = ["governance", "propose", "kz-kgd/1", *registrar, "--title", "t", "--parameter", "offer_lapse_s=60"]
    result = run(*propose, "--overlap", "60")
    assert (result.exit_code, "expected --registrar-key, --log-key or --ca" in result.output) == (EXIT_MISUSE, True)
    assert gateway.taken == []


def test_the_carrier_of_an_imported_declaration_stands_in_its_payload(tmp_path: Path) -> None:
    (tmp_path / "wheat.xml").write_bytes(lodged())
    sides = ("--home", "kz-kgd", "--partner", "cn-gacc")
    for options, carrier in (((), None), (("--carrier", "kz/carrier/nomad"), "kz/carrier/nomad")):
        result = run("import", tmp_path / "wheat.xml", *sides, *options, "--json")
        assert result.exit_code == EXIT_HOLDS, result.output
        (report,) = json.loads(result.stdout)["documents"]
        assert report["payload"].get("carrier") == carrier
    wrong = run("import", tmp_path / "wheat.xml", *sides, "--carrier", "NO/PARTICIPANT ID")
    assert wrong.exit_code == EXIT_DOES_NOT_HOLD


def test_nodes_listen_where_it_is_said_and_are_reached_where_they_are(tmp_path: Path) -> None:
    made = run(
        "network", "init", tmp_path / "net", "--host", "127.0.0.2", "--listen-host", "127.0.0.3", "--validators", "1"
    )
    assert made.exit_code == EXIT_HOLDS, made.output
    for name, other in (("kz-kgd-1", "cn-gacc-1"), ("cn-gacc-1", "kz-kgd-1")):
        config = load_validator_config(tmp_path / "net" / "validators" / name / "validator.toml")
        assert {config.peer_address.host, config.service_address.host} == {"127.0.0.3"}
        assert [(peer.name, peer.address.host) for peer in config.peers] == [(other, "127.0.0.2")]


def test_a_newcomer_listens_where_it_is_said_and_calls_its_model_where_that_is_reached(tmp_path: Path) -> None:
    assert (
        run("network", "init", tmp_path / "net", "--listen-host", "0.0.0.0", "--validators", "1").exit_code
        == EXIT_HOLDS
    )
    like = tmp_path / "net" / "validators" / "kz-kgd-1" / "validator.toml"
    options: list[str | Path] = [
        "--name",
        "kz-kgd-2",
        "--like",
        like,
        "--ca",
        tmp_path / "net" / "authorities" / "kz-kgd",
    ]
    # The model listens everywhere, which says nothing of where it is.
    unsaid = run("validator", "init", tmp_path / "a", *options)
    assert (unsaid.exit_code, "expected the address" in unsaid.output) == (EXIT_MISUSE, True)
    where = ["--like-address", "127.0.0.9:7000", "--host", "127.0.0.8", "--listen-host", "127.0.0.7"]
    made = run("validator", "init", tmp_path / "b", *options, *where)
    assert made.exit_code == EXIT_HOLDS, made.output
    config = load_validator_config(tmp_path / "b" / "validator.toml")
    assert config.peer_address.host == "127.0.0.7"
    assert {peer.name: peer.address for peer in config.peers}["kz-kgd-1"] == Address("127.0.0.9", 7000)
    assert "127.0.0.8:" in (tmp_path / "b" / "member").read_text()
    assert run("validator", "init", tmp_path / "c", *options, "--like-address", "nowhere").exit_code == EXIT_MISUSE
