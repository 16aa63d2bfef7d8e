"""The pages on governance and on upgrading a contract, command by command, on a network of real processes.

Then what neither page shows: that the change of versions holds for statements. The archive that is audited on the way
spans changes of parameters, of a contract, and of the legal basis. The nodes are processes; the commands run in this
one, since most of what they cost is starting.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nodes.cli import comity as command_line
from nodes.network import load_network
from tests.nodes.test_documented_commands import (
    documented_commands,
    free_base_port,
    processes,
    start_nodes,
    wait_until_ready,
)

__all__ = ["processes"]

ROOT = Path(__file__).resolve().parents[2]
GOVERNANCE = ROOT / "docs" / "governance.md"
UPGRADING = ROOT / "docs" / "upgrading-contracts.md"
DOCUMENTED_BASE_PORT = 7000
DOCUMENTED_GATEWAYS = ("127.0.0.1:7003", "127.0.0.1:7008")


def comity(arguments: list[str]) -> Result:
    return CliRunner().invoke(command_line, arguments)


@pytest.mark.processes
def test_both_pages_can_be_followed_and_the_archive_that_spans_the_changes_holds(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = free_base_port()
    gateways = [
        f"127.0.0.1:{base + int(text.rpartition(':')[2]) - DOCUMENTED_BASE_PORT}" for text in DOCUMENTED_GATEWAYS
    ]
    audited = ""
    for words in (*documented_commands(GOVERNANCE), *documented_commands(UPGRADING)):
        arguments = [str(base) if word == str(DOCUMENTED_BASE_PORT) else word for word in words[1:]]
        for documented, here in zip(DOCUMENTED_GATEWAYS, gateways, strict=True):
            arguments = [word.replace(documented, here) for word in arguments]
        if arguments[1] == "run":
            if not processes:
                start_nodes(tmp_path / "border", processes)
            if arguments[0] == "gateway":
                wait_until_ready(gateways["cn-gacc" in arguments[-1]], tmp_path)
            continue
        result = comity(arguments)
        assert result.exit_code == 0, (arguments, result.output)
        audited = result.stdout
    assert "holds" in audited
    url = f"http://{gateways[1]}"
    listed = json.loads(comity(["governance", "list", "--gateway", url, "--json"]).stdout)
    versions = {each["name"]: each for each in listed["contracts"]}
    assert versions["registry"]["version"] == 2
    assert versions["registry"]["since"]["proposal"] == "kz-kgd/2026-020"
    assert (listed["open"], listed["approved"], listed["missing"]) == ([], [], [])
    assert [each["effective"] for each in listed["legal_basis"]] == ["2025-07-01"]
    shown = json.loads(comity(["governance", "parameters", "--gateway", url, "--json"]).stdout)
    assert {each["name"]: each["value"] for each in shown["parameters"]}["offer_lapse_s"] == 3_600
    _version_2_is_what_decides(tmp_path, url)


def _version_2_is_what_decides(directory: Path, url: str) -> None:
    """Under version 1 the registrar's own side could rotate its key; under version 2 the ledger says who decides."""
    network = load_network(directory / "border")
    key = network.genesis.parent / "authorities" / "kz-kgd" / "registrar.key"
    new = json.loads(comity(["keys", "new", "next.key", "--json"]).stdout)
    (directory / "rotate.json").write_text(json.dumps({"key": {"hex": new["cose_key"]}}))
    sign = ["sign", "--key", str(key), "--as", "kz-kgd/registrar", "--kind", "registry.rotate"]
    signed = comity([*sign, "--about", "kz-kgd/registrar", "--payload", "rotate.json", "--out", "r.cose"])
    assert signed.exit_code == 0, signed.output
    refused = comity(["submit", "r.cose", "--gateway", url])
    assert refused.exit_code == 1
    assert "registrar key is governed" in refused.stdout
