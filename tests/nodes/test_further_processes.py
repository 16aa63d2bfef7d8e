"""A policy that wants both authorities, their ML-DSA-44 keys and a third party's witness, on a network of processes.

Set up as docs/operating.md says, with its commands and its configuration keys. The witness is the one that others wrote
(`tests/interop`) where it can be built; where not, the one that `test_further` writes down from the specification.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from click.testing import Result

from ledger.note import COSIGNATURE_V1, SUBTREE_V1, Note, format_note, format_vkey, parse_note, parse_vkey
from ledger.policy import parse_policy
from ledger.statement import Statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_UNAVAILABLE
from nodes.config import load_validator_config
from tests.interop import go
from tests.interop.test_witness import HERE, VKEY, signer_key
from tests.nodes.network import Processes, Signer, all_final, gateway_of, make_network, until, wait_ready
from tests.nodes.test_cli import run, run_light
from tests.nodes.test_further import THIRD, URL, HonestWitness

pytestmark = [pytest.mark.processes, pytest.mark.soak]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
KZ, CN = "kz-kgd-1", "cn-gacc-1"
BY = {KZ: "kz-kgd-1-ml-dsa", CN: "cn-gacc-1-ml-dsa"}


# --- witnesses --------------------------------------------------------------------------------------------------------


class Witness(Protocol):
    """A third party's: at the same address whenever it is there."""

    vkey: str
    url: str

    def start(self, log_vkey: str) -> None: ...

    def kill(self) -> None: ...


class WitnessOfOthers:
    """A process that forgets what it has seen when it is killed, as an operator's who lost a disk."""

    vkey = VKEY

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self.url = "http://127.0.0.1:0"
        self.start(vkey_of_nobody())
        self.kill()

    def start(self, log_vkey: str) -> None:
        where = self.url.removeprefix("http://").rstrip("/")
        command = [str(self._program), "-listen", where, signer_key(), log_vkey]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class OwnWitness:
    """It remembers."""

    vkey = format_vkey(THIRD.verifier("witness.example/w1", COSIGNATURE_V1))

    def __init__(self) -> None:
        self._honest, self._lock = HonestWitness(), threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start("")
        self.kill()
        self.url = f"http://127.0.0.1:{self._port}/"

    def start(self, log_vkey: str) -> None:
        honest, lock = self._honest, self._lock

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with lock:
                    answer = honest(URL + self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def kill(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def vkey_of_nobody() -> str:
    """Of a log that no test has: for asking once where there is a free port."""
    return format_vkey(THIRD.verifier("log.example/nobody", 1))


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    made: Witness
    try:
        made = WitnessOfOthers(go.build(HERE, "the witness of others", tmp_path / "witness"))
    except pytest.skip.Exception:
        made = OwnWitness()
    yield made
    made.kill()


# --- what operators do ------------------------------------------------------------------------------------------------


def blocks_of_the_page() -> tuple[str, str]:
    """The lines of a policy and of a configuration that the page has under further cosignatures."""
    section = PAGE.read_text().split("\n## Further cosignatures\n")[1].split("\n## ")[0]
    (policy,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    (configuration,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    return policy, configuration


def done(*arguments: str | Path, status: int = 0) -> Result:
    result = run(*arguments)
    assert result.exit_code == status, (arguments, result.output)
    return result


class Border:
    """One validator and one gateway of each authority, and what each side has on its disks."""

    def __init__(self, directory: Path, witness: Witness) -> None:
        self.directory, self.witness = directory, witness
        self.processes: Processes = make_network(directory / "net", validators_per_authority=1)
        self.network = self.processes.network
        self.signer = Signer(self.network)
        self.policies = {each.name: each.directory / "further.policy" for each in self.network.authorities}
        self._follow_the_page()

    def _follow_the_page(self) -> None:
        lines, configuration = blocks_of_the_page()
        made = {name: done("validator", "ml-dsa-key", self._config(name)).stdout.split("\n")[0] for name in (KZ, CN)}
        for name, line in made.items():
            vkey = line.split(" ")[2]
            assert line == f"witness {BY[name]} {vkey}"
            assert f"witness {BY[name]} {name}+<id>+<key>\n" in lines, "the command and the page say the same"
            lines = lines.replace(f"{name}+<id>+<key>", vkey)
        lines = lines.replace("witness.example/w1+<id>+<key> https://witness.example/", self._third())
        assert "<" not in lines
        keys, further = configuration.replace("interval_s = 30", "interval_s = 1").split("\n\n")
        for authority, validator in zip(self.network.authorities, (KZ, CN), strict=True):
            policy = authority.policy.read_text().replace("quorum both\n", "")
            self.policies[authority.name].write_text(policy + lines)
            config = self._config(validator)
            shutil.copy(self.policies[authority.name], config.parent / "further.policy")
            config.write_text(config.read_text().replace("[keys]", keys) + f"\n{further}")

    def _third(self) -> str:
        return f"{self.witness.vkey} {self.witness.url}"

    def _config(self, name: str) -> Path:
        return self.processes.validator(name).config

    def log_vkey(self) -> str:
        return format_vkey(parse_policy(self.network.authorities[0].policy.read_bytes()).logs[0].key)

    async def crossing(self, url: str, name: str) -> Path:
        """A statement that both authorities call final, in a file."""
        statement: Statement = self.signer.enrol()
        path = self.directory / f"{name}.cose"
        path.write_bytes(statement.raw)
        done("submit", path, "--gateway", url)
        for validator in (KZ, CN):
            await all_final(self.network, validator, [statement.id])
        return path

    def asking(self) -> list[str | Path]:
        """Who asks for what is not open."""
        return ["--as", "kz-kgd/registrar", "--key", self.network.authorities[0].key("registrar")]

    def prove(self, statement: Path, url: str, *options: str, status: int = 0) -> Path:
        out = statement.with_suffix(".tlog-proof")
        out.unlink(missing_ok=True)
        done("proof", statement, "--gateway", url, *self.asking(), *options, "--out", out, status=status)
        return out


@asynccontextmanager
async def running(border: Border) -> AsyncIterator[dict[str, str]]:
    """The network and a gateway of each side, by its authority."""
    border.witness.start(border.log_vkey())
    border.processes.start()
    try:
        await wait_ready(border.network, [KZ, CN])
        async with gateway_of(border.processes, "kz-kgd") as kz, gateway_of(border.processes, "cn-gacc") as cn:
            yield {"kz-kgd": kz, "cn-gacc": cn}
    finally:
        border.processes.stop()


# --- what is taken out of a note, and altered in it -------------------------------------------------------------------


def without(note: bytes, vkey: str) -> bytes:
    """Without the line of a key."""
    key, parsed = parse_vkey(vkey), parse_note(note)
    kept = tuple(each for each in parsed.signatures if (each.name, each.key_id) != (key.name, key.key_id))
    assert len(kept) == len(parsed.signatures) - 1
    return format_note(Note(parsed.text, kept))


def altered(note: bytes, vkey: str, at: int) -> bytes:
    """With one bit of the signature of a key the other way round."""
    key, parsed = parse_vkey(vkey), parse_note(note)
    assert key.algorithm == SUBTREE_V1
    changed = []
    for each in parsed.signatures:
        data = bytearray(each.signature)
        if (each.name, each.key_id) == (key.name, key.key_id):
            data[at] ^= 1
        changed.append(type(each)(each.name, each.key_id, bytes(data)))
    made = format_note(Note(parsed.text, tuple(changed)))
    assert made != note
    return made


def tampered(border: Border, note: bytes) -> dict[str, bytes]:
    """What no policy of both sides, their ML-DSA keys and the witness may take."""
    policy = parse_policy(border.policies["kz-kgd"].read_bytes())
    vkeys = {each.name: format_vkey(each.key) for each in policy.witnesses}
    made = {f"without {name}": without(note, vkeys[name]) for name in (*BY.values(), "w1")}
    for name in BY.values():
        # The first bytes are the time.
        made |= {f"{name} altered at {at}": altered(note, vkeys[name], at) for at in (0, 8, 1200, -1)}
    return made


def note_of(proof: bytes) -> bytes:
    """The note ends a proof, and is the rest of it."""
    return proof[proof.index(b"\n\n") + 2 :]


# --- the test ---------------------------------------------------------------------------------------------------------


async def test_what_both_sides_their_ml_dsa_keys_and_a_witness_signed_verifies_and_nothing_less(
    tmp_path: Path, witness: Witness
) -> None:
    border = Border(tmp_path, witness)
    async with running(border) as gateways:
        first = await border.crossing(gateways["kz-kgd"], "first")
        for authority, url in gateways.items():
            proof = border.prove(first, url, "--further", "--wait", "60")
            for policy in border.policies.values():
                held = run_light("verify", proof, "--policy", policy)
                assert held.returncode == EXIT_HOLDS, (authority, held.stdout, held.stderr)
        whole = proof.read_bytes()
        for what, note in tampered(border, note_of(whole)).items():
            proof.write_bytes(whole.replace(note_of(whole), note))
            refused = run("verify", proof, "--policy", border.policies["cn-gacc"])
            assert refused.exit_code == EXIT_DOES_NOT_HOLD, (what, refused.output)
            plain = run("verify", proof, "--policy", border.network.authorities[1].policy)
            assert plain.exit_code == EXIT_HOLDS, "who does not know the keys ignores their lines"
        plain_proof = border.prove(first, gateways["kz-kgd"])
        assert run("verify", plain_proof, "--policy", border.policies["kz-kgd"]).exit_code == EXIT_DOES_NOT_HOLD
        _archives(border, gateways)
        await _without_the_witness(border, gateways)


def _archives(border: Border, gateways: dict[str, str]) -> None:
    """What an auditor exports and mirrors with that policy holds under it, and less does not."""
    policy = border.policies["kz-kgd"]
    archive, mirror = border.directory / "archive", border.directory / "mirror"
    done("export", archive, "--gateway", gateways["kz-kgd"], "--policy", policy, *border.asking())
    done("mirror", mirror, "--gateway", gateways["cn-gacc"], "--policy", border.policies["cn-gacc"], *border.asking(),
         "--once")  # fmt: skip
    for each, by in ((archive, policy), (mirror, border.policies["cn-gacc"])):
        held = run_light("audit", each, "--policy", by, "--jobs", "1")
        assert held.returncode == EXIT_HOLDS, (held.stdout, held.stderr)
    note = (archive / "checkpoint").read_bytes()
    for what, changed in tampered(border, note).items():
        (archive / "checkpoint").write_bytes(changed)
        refused = run("audit", archive, "--policy", policy, "--jobs", "1")
        assert refused.exit_code == EXIT_DOES_NOT_HOLD, (what, refused.output)


async def _without_the_witness(border: Border, gateways: dict[str, str]) -> None:
    """Nothing waits for it; what it has not signed is told; and back, it is asked again."""
    url = gateways["kz-kgd"]
    border.witness.kill()
    second = await border.crossing(url, "second")
    size = json.loads(done("status", "--gateway", url, "--json").stdout)["final_size"]

    async def told() -> Any:
        behind = await cosigners(url)
        return behind if behind["w1"]["trouble"] and all(behind[name]["size"] >= size for name in BY.values()) else None

    found = await until(told, what="the witness is missed, and nobody else")
    assert found["w1"]["size"] < size
    assert "cannot be reached" in found["w1"]["trouble"]
    border.prove(second, url, "--further", status=EXIT_UNAVAILABLE)

    async def shown() -> bool:
        said = run("status", "--gateway", url).stdout
        return f"w1: has cosigned {found['w1']['size']} of {size}: cannot be reached" in said

    await until(shown, what="the status says it in words")
    said = json.loads(done("status", "--gateway", url, "--json").stdout)["further"]
    assert (said["size"], said["lag_ms"] > 0) == (found["w1"]["size"], True)
    metrics = await metrics_of(border)
    assert metrics["comity_further_size"] == metrics['comity_further_cosigned_size{cosigner="w1"}'] < size
    assert metrics["comity_further_lag_seconds"] > 0
    assert [metrics[f'comity_further_trouble{{cosigner="{name}"}}'] for name in (*BY.values(), "w1")] == [0, 0, 1]
    plain = border.prove(second, url)
    assert run("verify", plain, "--policy", border.network.authorities[0].policy).exit_code == EXIT_HOLDS
    border.witness.start(border.log_vkey())
    for authority, gateway in gateways.items():
        proof = border.prove(second, gateway, "--further", "--wait", "60")
        assert run_light("verify", proof, "--policy", border.policies[authority]).returncode == EXIT_HOLDS
    assert {each["trouble"] for each in (await cosigners(url)).values()} == {""}
    metrics = await metrics_of(border)
    assert metrics["comity_further_size"] >= size
    assert metrics["comity_further_lag_seconds"] == 0

    async def quiet() -> bool:
        said = run("status", "--gateway", url).stdout
        return "has cosigned" not in said and "further cosignatures: " in said

    await until(quiet, what="nobody is behind")


async def metrics_of(border: Border) -> dict[str, float]:
    """What the Kazakh validator tells Prometheus, by name and labels."""
    address = load_validator_config(border.processes.validator(KZ).config).http_address
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://{address}/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def cosigners(url: str) -> dict[str, dict[str, Any]]:
    """What the gateway says of each further cosigner, by its name in the policy."""
    async with httpx.AsyncClient(base_url=url) as http:
        document = (await http.get("/v1/further")).json()
    return {each["name"]: each for each in document["cosigners"]}
