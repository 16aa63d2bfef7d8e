"""`docs/privacy.md`, command by command, on a real network: sealed, submitted, copied, opened, disclosed, deleted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from nodes.cli import EXIT_DOES_NOT_HOLD, comity
from tests.nodes.network import Processes, gateway_of, running
from tests.nodes.test_documented_commands import documented_commands

PAGE = Path(__file__).resolve().parents[2] / "docs" / "privacy.md"
DOCUMENTED = {"kz-kgd": "http://127.0.0.1:7006", "cn-gacc": "http://127.0.0.1:7014"}
CONTENT: dict[str, Any] = {
    "consignor": "Agro Export LLP",
    "consignee": "Tacheng Flour Mill",
    "origin": "KZ",
    "destination": "CN",
    "gross_mass_g": 33_500_000,
    "goods": [{"hs": "100199", "description": "wheat", "mass_g": 33_000_000}],
    "containers": [],
    "documents": [{"kind": "invoice", "number": "INV-7", "sha256": {"hex": "00" * 32}}],
    "value": {"amount": 7_500_000, "currency": "USD"},
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(comity, list(arguments))


def must(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def enrol(folder: Path, authority: str, participant: str, key: str, role: str, gateway: str) -> None:
    registrar = ["--as", f"{authority}/registrar", "--key", str(folder / f"authorities/{authority}/registrar.key")]
    must("keys", "new", key)
    must(
        "enrol",
        "--gateway",
        gateway,
        *registrar,
        "--participant",
        participant,
        "--public-key",
        f"{key}.pub",
        "--role",
        role,
    )


def follow_the_page(network: Processes, gateways: dict[str, str]) -> list[str]:
    """Runs every command of the page in its order; returns the first two words of each."""
    enrol(Path("border"), "kz-kgd", "kz/declarant/agro", "declarant.key", "declarant", gateways["kz-kgd"])
    enrol(Path("border"), "kz-kgd", "kz/truck/t-001", "truck.key", "truck", gateways["kz-kgd"])
    enrol(Path("border"), "cn-gacc", "cn-gacc/officer", "cn-officer.key", "customs.officer", gateways["cn-gacc"])
    Path("lodge.json").write_text(json.dumps({"home": "kz-kgd", "partner": "cn-gacc", "content": CONTENT}))
    fixes = [{"at_ms": 1_790_000_000_000 + n * 1000, "latitude_udeg": n, "longitude_udeg": n} for n in range(1000)]
    Path("fixes.jsonl").write_text("".join(json.dumps(fix) + "\n" for fix in fixes))
    done = []
    for words in documented_commands(PAGE):
        assert words[0] == "comity", words
        arguments = list(words[1:])
        for authority, documented in DOCUMENTED.items():
            arguments = [gateways[authority] if word == documented else word for word in arguments]
        must(*arguments)
        done.append(" ".join(words[1:3]))
    return done


def check_what_came_of_it(gateways: dict[str, str]) -> None:
    opened = json.loads(
        must("envelope", "open", "lodge.envelope", "--key", "kz-envelope.key", "--statement", "lodge.cose", "--json")
    )
    assert opened["content"] == CONTENT
    assert opened["fields"]["value"] == {"amount": 7_500_000, "currency": "USD"}
    shown = json.loads(
        must("disclosure", "verify", "consignee.disclosure", "--policy", "border/policy/cn-gacc.policy", "--json")
    )
    assert (shown["holds"], shown["fields"]) == (True, {"consignee": "Tacheng Flour Mill"})
    assert b"Tacheng" not in Path("lodge.cose").read_bytes()
    stranger = run("envelope", "open", "lodge.envelope", "--key", "truck.key", "--statement", "lodge.cose")
    assert stranger.exit_code == 2
    must("envelope", "new-key", "other.key")
    other = run("envelope", "open", "lodge.envelope", "--key", "other.key", "--statement", "lodge.cose")
    assert (other.exit_code, "not_for_this_key" in other.output) == (EXIT_DOES_NOT_HOLD, True)
    # Deleting the envelope on both sides leaves the proof, the audit and the statement's answer as they were.
    registrar = ["--as", "kz-kgd/registrar", "--key", "border/authorities/kz-kgd/registrar.key"]
    seal = json.loads(must("submit", "lodge.cose", "--gateway", gateways["kz-kgd"], "--json"))
    assert seal["results"][0]["duplicate"]
    digest = hashlib.sha256(Path("lodge.envelope").read_bytes()).hexdigest()
    must("attachment", "delete", digest, "--gateway", gateways["kz-kgd"], *registrar)
    officer = ["--as", "cn-gacc/officer", "--key", "cn-officer.key"]
    must("attachment", "get", digest, "--gateway", gateways["cn-gacc"], *officer, "--out", "copy")
    assert Path("copy").read_bytes() == Path("lodge.envelope").read_bytes()
    must("attachment", "delete", digest, "--gateway", gateways["cn-gacc"], *officer)
    gone = run("attachment", "get", digest, "--gateway", gateways["cn-gacc"], *officer, "--out", "none")
    assert gone.exit_code == EXIT_DOES_NOT_HOLD
    must("verify", "lodge.tlog-proof", "--policy", "border/policy/kz-kgd.policy")
    must("disclosure", "verify", "consignee.disclosure", "--policy", "border/policy/kz-kgd.policy")
    must("submit", "lodge.cose", "--gateway", gateways["kz-kgd"])
    policy = ["--policy", "border/policy/kz-kgd.policy"]
    must("export", "archive", "--gateway", gateways["kz-kgd"], *policy, *registrar)
    must("audit", "archive", *policy, "--jobs", "1")


def test_every_command_of_the_page_is_one_that_the_program_takes() -> None:
    """Parsed here each time; run, on a real network, by the test below."""
    for words in documented_commands(PAGE):
        command: click.Command = comity
        context = click.Context(comity, info_name="comity")
        rest = list(words[1:])
        while isinstance(command, click.Group):
            found = command.get_command(context, rest.pop(0))
            assert found is not None, words
            command = found
        command.make_context(str(command.name), rest, parent=context)


@pytest.mark.soak
@pytest.mark.processes
async def test_the_page_can_be_followed_and_deleting_envelopes_leaves_every_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with (
        running(tmp_path / "border", validators_per_authority=1) as network,
        gateway_of(network, "kz-kgd") as kz,
        gateway_of(network, "cn-gacc") as cn,
    ):
        gateways = {"kz-kgd": kz, "cn-gacc": cn}
        follow: Callable[[], list[str]] = lambda: follow_the_page(network, gateways)  # noqa: E731
        done = await asyncio.to_thread(follow)
        assert len(done) == 17
        assert done.count("envelope publish-key") == 2
        await asyncio.to_thread(check_what_came_of_it, gateways)
