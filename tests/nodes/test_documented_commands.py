"""Every command in the operator's page is run, in the page's order, against the network that the page sets up."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.network import load_network
from nodes.validator import EXIT_REMOVED

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operating.md"
DOCUMENTED_BASE_PORT = 7000
DOCUMENTED_GATEWAY = "127.0.0.1:7006"
PORTS_A_NETWORK = 16


def documented_commands(page: Path) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


def free_base_port() -> int:
    """A row of ports that nobody listens on: the page numbers them upwards."""
    for base in range(20_000, 31_000, PORTS_A_NETWORK):
        try:
            for port in range(base, base + PORTS_A_NETWORK):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise RuntimeError("no row of free ports")


def comity(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodes.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def start_node(kind: str, config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nodes.cli", kind, "run", "--config", str(config)]
    with config.with_name("log.jsonl").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def start_nodes(directory: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    network = load_network(directory)
    for kind, nodes in (("validator", network.validators), ("gateway", network.gateways)):
        processes += [start_node(kind, node.config) for node in nodes]


def while_stopped(
    arguments: list[str], cwd: Path, processes: list[subprocess.Popen[bytes]]
) -> subprocess.CompletedProcess[str]:
    """Run a command about the `data` of a validator as the page says: while that validator is stopped."""
    config = (cwd / arguments[-1]).parent / "validator.toml"
    position = [validator.config for validator in load_network(cwd / "border").validators].index(config)
    wait_until_started(config)
    processes[position].terminate()
    assert processes[position].wait(60) == 0
    result = comity(arguments, cwd)
    config.with_name("log.jsonl").unlink()
    processes[position] = start_node("validator", config)
    return result


def wait_until_started(config: Path) -> None:
    """It listens to signals from then on, and has its stores open."""
    deadline = time.monotonic() + 60
    while '"event": "started"' not in config.with_name("log.jsonl").read_text():
        if time.monotonic() > deadline:
            pytest.fail(f"{config} did not start within 60 s")
        time.sleep(0.05)


def wait_until_ready(gateway: str, cwd: Path) -> None:
    deadline = time.monotonic() + 150
    while comity(["status", "--gateway", f"http://{gateway}"], cwd).returncode:
        if time.monotonic() > deadline:
            pytest.fail("the network did not become ready within 150 s")


@pytest.mark.soak
@pytest.mark.processes
def test_the_operators_page_can_be_followed_command_by_command(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    base = free_base_port()
    gateway = f"127.0.0.1:{base + int(DOCUMENTED_GATEWAY.rpartition(':')[2]) - DOCUMENTED_BASE_PORT}"
    done = []
    for words in documented_commands(PAGE):
        assert words[0] == "comity", words
        arguments = [
            str(base) if word == str(DOCUMENTED_BASE_PORT) else word.replace(DOCUMENTED_GATEWAY, gateway)
            for word in words[1:]
        ]
        if arguments[:2] == ["validator", "run"]:
            if processes:
                processes.append(start_node("validator", tmp_path / arguments[-1]))
            else:
                start_nodes(tmp_path / "border", processes)
            continue
        if arguments[:2] == ["gateway", "run"]:
            wait_until_ready(gateway, tmp_path)
            continue
        if arguments[0] == "sign":
            shown = json.loads(comity(["keys", "show", "truck.key.pub", "--json"], tmp_path).stdout)
            (tmp_path / "suspend.json").write_text(json.dumps({"kid": {"hex": shown["kid"]}, "reason": "a rehearsal"}))
        if arguments[0] == "storage":
            result = while_stopped(arguments, tmp_path, processes)
        else:
            result = comity(arguments, tmp_path)
        assert result.returncode == 0, (arguments, result.stdout, result.stderr)
        done.append(arguments[0])
    assert done == [
        "network",
        "status",
        "evidence",
        "storage",
        "storage",
        "storage",
        "export",
        "audit",
        "mirror",
        "dwell",
        "identify",
        "keys",
        "enrol",
        "sign",
        "submit",
        "proof",
        "verify",
        "validator",
        "restore",
        *["membership"] * 13,
    ]
    # One was removed, as the page says; the others are there.
    ended = {process.poll() for process in processes} - {None}
    assert ended <= {EXIT_REMOVED}, "a node ended by itself"
