"""The network under test: made by `comity network init`, run by `comity validator run` and `comity gateway run`.

Where the machine allows it, each node has a network namespace of its own, reached by its name over the switch, and each
validator a disk of its own. Otherwise everything runs on loopback and in one file system.

All blocking; nothing here decides anything about faults.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Final

import httpx

from nodes.demo.processes import NodeProcess, comity_command
from nodes.network import Network, NetworkGateway, NetworkValidator, load_network
from nodes.newcomer import Newcomer
from tests.chaos.disks import Disk
from tests.chaos.link import Link
from tests.chaos.machine import CLOCK, DISKS, SWITCH, Ability

SUBNET: Final = "10.77.0"
CLIENT: Final = "client"
BASE_PORT: Final = 7000
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1
HTTP_TIMEOUT_S: Final = 2.0
NO_ANSWER: Final = "no answer"
# How a validator begins to say that it is behind, and how far it has come.
CATCHING_UP: Final = "catching up"
CATCH_UP_MAX_S: Final = 600.0
# For validators that join later; a name is never used twice.
SPARE_MACHINES: Final = 14
# A party that is no authority, and its machines: witnesses, which join and leave.
NEUTRAL: Final = "arbiter"
NEUTRAL_MACHINES: Final = 3
# Blocks; some fifteen seconds of the load: longer than a validator takes to begin anew on a busy machine.
ORDER_TAIL_ENTRIES: Final = 150
# Everything stored is read again so often, for damage that comes while a validator runs.
SCRUB_INTERVAL_S: Final = 10
TUNING: Final = f"\n[tuning]\norder_tail_entries = {ORDER_TAIL_ENTRIES}\nscrub_interval_s = {SCRUB_INTERVAL_S}\n"
SOURCE: Final = Path(__file__).parent
# In gateway.toml: whom it asks.
LISTED_VALIDATORS: Final = re.compile(r"\n\[\[validators\]\]\n.*", re.DOTALL)


class ClusterFailed(Exception):
    """The network could not be set up: a fault of the harness or of the machine."""


class Cluster:
    """Use as a context: leaving it leaves no process, namespace or mount of it behind."""

    def __init__(self, directory: Path, abilities: Mapping[str, Ability], seed: int, plant: str = "") -> None:
        self.directory = directory
        self._abilities = abilities
        self._seed = seed
        self._plant = plant
        self.isolated = abilities[SWITCH].there
        self.network: Network
        self.nodes: dict[str, NodeProcess] = {}
        self.disks: dict[str, Disk] = {}
        self.incarnations: dict[str, int] = {}
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._addresses: dict[str, str] = {}
        self._switch: subprocess.Popen[str] | None = None
        self._links: dict[str, Link] = {}
        self._clocks: dict[str, Path] = {}
        self._newcomers: dict[str, Newcomer] = {}
        # By name: the number of its device follows from its place.
        self._machines: list[str] = []
        # Validators that others took the place of, for good.
        self._lost: dict[str, NetworkValidator] = {}
        self._http = httpx.Client(timeout=HTTP_TIMEOUT_S)
        self.packets: dict[str, int] = {}

    # ---- setting up and taking down

    def __enter__(self) -> Cluster:
        try:
            self._init_network()
            self._keep_a_short_order()
            if self.isolated:
                self._make_namespaces()
            if self._abilities[DISKS].there:
                self._make_disks()
            if self._abilities[CLOCK].there:
                self._make_clocks()
            (self.directory / "logs").mkdir()
            for validator in self.network.validators:
                self._add_node(validator.name, "validator", validator.config)
            for gateway in self.network.gateways:
                self._add_node(gateway.name, "gateway", gateway.config)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for disk in self.disks.values():
            with contextlib.suppress(Exception):
                disk.thaw()
        for node in self.nodes.values():
            node.kill()
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait()
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
        for disk in self.disks.values():
            with contextlib.suppress(Exception):
                disk.unmount()
            disk.image.unlink(missing_ok=True)
        self._http.close()

    def _init_network(self) -> None:
        command = comity_command("network", "init", str(self.directory / "network"))
        if self.isolated:
            command += ["--host", "{name}", "--base-port", str(BASE_PORT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterFailed(f"network init: status {done.returncode}: {done.stderr.strip()}")
        self.network = load_network(self.directory / "network")
        self._machines = self._name_machines()

    def _keep_a_short_order(self) -> None:
        """Whoever is away for some seconds has to come back by a snapshot: it is to happen often here."""
        for validator in self.network.validators:
            with validator.config.open("a") as file:
                file.write(TUNING)

    def _make_namespaces(self) -> None:
        names = self._machines
        self._addresses = {name: f"{SUBNET}.{number}" for number, name in enumerate(names, 1)}
        hosts = self.directory / "hosts"
        hosts.write_text(
            "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in self._addresses.items())
        )
        # In this mount namespace only.
        subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
        for name in names[1:]:
            self._holders[name] = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._wait_for_namespaces()
        nodes = [
            {
                "name": name,
                "device": f"chaos{number}",
                "address": self._addresses[name],
                "holder_pid": self._holders[name].pid if name in self._holders else None,
            }
            for number, name in enumerate(names)
        ]
        self._switch = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.switch", json.dumps({"nodes": nodes, "seed": self._seed})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stdout: IO[str] = self._switch.stdout  # type: ignore[assignment]
        if stdout.readline() != "ready\n":
            raise ClusterFailed("the switch did not come up")

    def _name_machines(self) -> list[str]:
        """Everything with a network namespace: ours, the nodes', and those that wait for newcomers."""
        first = 1 + max(len(self.members(authority)) for authority in self.authorities)
        spare = [f"{name}-{number}" for number in range(first, first + SPARE_MACHINES) for name in self.authorities]
        neutral = [f"{NEUTRAL}-{number}" for number in range(1, 1 + NEUTRAL_MACHINES)]
        return [CLIENT, *self.validators, *self.gateways, *spare, *neutral]

    def spare(self, authority: str) -> str | None:
        """The name of a validator of this authority that never was, if there is a machine for it."""
        known = set(self.nodes)
        free = (name for name in self._machines if name not in known and name.rpartition("-")[0] == authority)
        return next((name for name in free if self.isolated), None)

    def add_newcomer(self, made: Newcomer, *, to_stay: bool = False) -> None:
        """A validator that is not in the genesis record: run like the others, but no victim of other faults.

        `to_stay`: it is to take another's place; it gets a disk and a clock of its own, which can then fail it.
        """
        self._newcomers[made.name] = made
        if to_stay and self._abilities[DISKS].there:
            self._make_disk(made.name, made.config)
        if to_stay and self._abilities[CLOCK].there:
            self._make_clock(made.name)
        self._add_node(made.name, "validator", made.config)

    def succeed(self, lost: str, name: str) -> None:
        """The newcomer `name` stands where `lost` stood: a victim like the others, exported and judged like the others.

        Its authority's gateways are told to ask it, as docs/operating.md says, and start again.
        """
        made = self._newcomers[name]
        item = next(item for item in self.network.validators if item.name == lost)
        successor = NetworkValidator(
            name, item.authority, made.config, made.peer_address, made.service_address, made.http_address
        )
        self._lost[lost] = item
        validators = tuple(successor if each.name == lost else each for each in self.network.validators)
        self.network = replace(self.network, validators=validators)
        for gateway in self.network.gateways:
            if gateway.authority == item.authority:
                listed = [each for each in validators if each.authority == item.authority]
                gateway.config.write_text(with_validators(gateway.config.read_text(), listed))
                if self.nodes[gateway.name].running:
                    self.stop(gateway.name)
                    self.start(gateway.name)

    def policy(self, authority: str) -> bytes:
        """By which this authority's people verify: newcomers cosign as well, once they are let in."""
        item = next(item for item in self.network.authorities if item.name == authority)
        lines = item.policy.read_text().splitlines()
        for made in self._newcomers.values():
            if made.party == NEUTRAL:
                continue  # it cosigns nothing
            country = next(item.country for item in self.network.authorities if item.name == made.party).lower()
            place = next(number for number, line in enumerate(lines) if line.startswith("group "))
            credential = made.step.member.credential if made.step.member else ""
            lines.insert(place, f"witness {made.name} {credential}")
            lines = [f"{line} {made.name}" if line.startswith(f"group {country} ") else line for line in lines]
        return ("\n".join(lines) + "\n").encode()

    @property
    def somebody_was_replaced(self) -> bool:
        return bool(self._lost)

    @property
    def newcomers(self) -> int:
        return len(self._newcomers)

    def _wait_for_namespaces(self) -> None:
        """Until each holder has a network namespace that is not ours."""
        own = os.readlink("/proc/self/ns/net")
        deadline_s = time.monotonic() + START_TIMEOUT_S
        for name, holder in self._holders.items():
            while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
                if time.monotonic() > deadline_s or holder.poll() is not None:
                    raise ClusterFailed(f"{name} has no network namespace")
                time.sleep(0.01)

    def _make_disks(self) -> None:
        (self.directory / "disks").mkdir()
        for validator in self.network.validators:
            self._make_disk(validator.name, validator.config)

    def _make_disk(self, name: str, config: Path) -> None:
        disk = Disk(name, self.directory / "disks" / f"{name}.ext4", config.parent / "data")
        disk.create()
        self.disks[name] = disk

    def _make_clocks(self) -> None:
        library = self.directory / "clock_step.so"
        source = SOURCE / "clock_step.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        for name in self.validators:
            self._make_clock(name)

    def _make_clock(self, name: str) -> None:
        self._clocks[name] = self.directory / f"{name}.clock"
        self._clocks[name].write_bytes(struct.pack("q", 0))

    def _add_node(self, name: str, kind: str, config: Path) -> None:
        command = comity_command(kind, "run", "--config", str(config))
        if self._plant and kind == "validator":
            command = [sys.executable, "-m", "tests.chaos.planted", self._plant, *command[3:]]
        if name in self._clocks:
            preload = [f"LD_PRELOAD={self.directory / 'clock_step.so'}", f"CHAOS_CLOCK_FILE={self._clocks[name]}"]
            command = ["env", *preload, *command]
        self.nodes[name] = NodeProcess(name, self.inside(name, command), self.directory / "logs" / f"{name}.log")
        self.incarnations[name] = 0

    def inside(self, name: str, command: list[str]) -> list[str]:
        """The command as it runs on that node's machine."""
        if name not in self._holders:
            return command
        return ["nsenter", "-t", str(self._holders[name].pid), "-n", "--", *command]

    # ---- names

    @property
    def validators(self) -> list[str]:
        return [item.name for item in self.network.validators]

    @property
    def ever(self) -> list[str]:
        """Every validator that ever was: those of now, newcomers that left, and those that were lost."""
        return list(dict.fromkeys((*self.validators, *self._newcomers, *self._lost)))

    @property
    def gateways(self) -> list[str]:
        return [item.name for item in self.network.gateways]

    @property
    def authorities(self) -> list[str]:
        return [item.name for item in self.network.authorities]

    def members(self, authority: str) -> list[str]:
        return [item.name for item in self.network.validators if item.authority == authority]

    def authority_of(self, validator: str) -> str:
        return next(item.authority for item in self.network.validators if item.name == validator)

    def authority_of_gateway(self, gateway: str) -> str:
        return next(item.authority for item in self.network.gateways if item.name == gateway)

    def config_of(self, name: str) -> Path:
        return self._item(name).config

    def _item(self, name: str) -> NetworkValidator | NetworkGateway | Newcomer:
        items: list[NetworkValidator | NetworkGateway | Newcomer] = [*self.network.validators, *self.network.gateways]
        items += [*self._newcomers.values(), *self._lost.values()]
        return next(item for item in items if item.name == name)

    def data_of(self, validator: str) -> Path:
        return self.config_of(validator).parent / "data"

    def gateway_url(self, authority: str) -> str:
        gateway = next(item for item in self.network.gateways if item.authority == authority)
        return f"http://{gateway.http_address}"

    def label(self, gateway: str) -> str:
        """The gateway with its incarnation, as the history names it."""
        return f"{gateway}#{self.incarnations[gateway]}"

    # ---- processes

    def start(self, name: str) -> None:
        self.incarnations[name] += 1
        self.nodes[name].start()

    def kill(self, name: str) -> None:
        self.nodes[name].kill()

    def pause(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        node = self.nodes[name]
        if node.pid is not None and node.running:
            os.killpg(node.pid, number)

    def storage(self, command: str, data: Path) -> tuple[int, str]:
        """`comity storage` on the data of a stopped validator: its exit status, and the end of what it said."""
        done = subprocess.run(
            comity_command("storage", command, str(data)), capture_output=True, text=True, check=False
        )
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        return done.returncode, lines[-1][:300] if lines else ""

    def limit_descriptors(self, name: str, limit: int | None) -> int:
        """How many files it may have open; None: not one more than now. Returns what the limit was."""
        pid = self.nodes[name].pid
        if pid is None:
            raise ClusterFailed(f"{name} does not run")
        before, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        wanted = len(os.listdir(f"/proc/{pid}/fd")) if limit is None else limit
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        return before

    def stop(self, name: str) -> int | None:
        """Ask it to end and wait. Returns its exit status; None when it had to be killed."""
        node = self.nodes[name]
        node.terminate()
        status = node.wait(time.monotonic() + STOP_TIMEOUT_S)
        node.kill()
        return status

    def readiness(self, name: str) -> tuple[bool, str]:
        """What the node says of itself."""
        try:
            reply = self._http.get(f"http://{self._item(name).http_address}/readyz")
        except httpx.HTTPError as error:
            return False, f"{NO_ANSWER}: {type(error).__name__}"
        return reply.status_code == 200, reply.text.strip()

    def metric(self, validator: str, name: str) -> float | None:
        """One number of a validator's metrics; None when it does not answer."""
        try:
            text = self._http.get(f"http://{self._item(validator).http_address}/metrics").text
        except httpx.HTTPError:
            return None
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return None

    def leader(self) -> str | None:
        """Who says that it leads; the one of the highest term if several do."""
        leading = [
            (self.metric(name, "comity_raft_term") or 0.0, name)
            for name in self.validators
            if self.nodes[name].running and self.metric(name, "comity_raft_leading") == 1.0
        ]
        return max(leading)[1] if leading else None

    def wait_ready(self, names: list[str], timeout_s: float) -> dict[str, str]:
        """Wait until all are ready or have ended. Returns those that are not ready, with what they say.

        Whoever catches up and comes further is waited for: how long that takes is a matter of the machine.
        """
        began_s = time.monotonic()
        deadline_s = began_s + timeout_s
        waiting = list(names)
        said: dict[str, str] = {}
        while waiting:
            for name in list(waiting):
                node = self.nodes[name]
                if not node.running:
                    said[name] = f"ended with status {node.exit_status}: {_last_line(node)}"
                    continue
                before = said.get(name)
                ready, said[name] = self.readiness(name)
                if CATCHING_UP in said[name] and said[name] != before:
                    deadline_s = min(time.monotonic() + timeout_s, began_s + CATCH_UP_MAX_S)
                if ready:
                    waiting.remove(name)
                    del said[name]
            ended = not any(self.nodes[name].running for name in waiting)
            if waiting and (ended or time.monotonic() > deadline_s):
                return {name: said[name] for name in waiting}
            if waiting:
                time.sleep(POLL_S)
        return {}

    def wait_answering(self, name: str, timeout_s: float) -> None:
        """Wait until it answers at all, ready or not. Raises ClusterFailed."""
        deadline_s = time.monotonic() + timeout_s
        while (said := self.readiness(name)[1]).startswith(NO_ANSWER):
            if time.monotonic() > deadline_s or not self.nodes[name].running:
                raise ClusterFailed(f"{name} does not answer: {said}")
            time.sleep(POLL_S)

    def logged(self) -> Counter[str]:
        """How often validators said what, by level and event."""
        counted: Counter[str] = Counter()
        for name in self.ever:
            log = self.nodes[name].log
            if not log.exists():
                continue
            with log.open(errors="replace") as lines:
                for line in lines:
                    try:
                        said = json.loads(line)
                        counted[f"{said['level']} {said['event']}"] += 1
                    except (ValueError, KeyError, TypeError):
                        counted["not JSON"] += 1
        return counted

    # ---- network, clock

    def set_links(self, links: Mapping[tuple[str, str], Link]) -> None:
        """Replaces all that were set; what is not named is perfect."""
        if self._switch is None or self._switch.stdin is None or self._switch.stdout is None:
            raise ClusterFailed("there is no switch on this machine")
        wanted = {f"{source}>{target}": asdict(link) for (source, target), link in links.items()}
        self._switch.stdin.write(json.dumps({"links": wanted}) + "\n")
        self._switch.stdin.flush()
        self.packets = json.loads(self._switch.stdout.readline())

    def set_cable(self, name: str, plugged: bool) -> None:
        """The node's own interface goes down, or up again: unlike a silent loss, the node is told."""
        device = f"chaos{self._machines.index(name)}"
        command = ["ip", "link", "set", device, "up" if plugged else "down"]
        subprocess.run(self.inside(name, command), check=True)

    def set_clock(self, validator: str, offset_ms: int) -> None:
        """How far this validator's wall clock is ahead of everybody's."""
        with self._clocks[validator].open("r+b") as file:
            file.write(struct.pack("q", offset_ms * 1_000_000))


def with_validators(text: str, listed: list[NetworkValidator]) -> str:
    """A gateway.toml that lists these validators instead of those that it listed."""
    parts = [f'\n[[validators]]\nname = "{each.name}"\naddress = "{each.service_address}"\n' for each in listed]
    return LISTED_VALIDATORS.sub("", text) + "".join(parts)


def _last_line(node: NodeProcess) -> str:
    lines = node.log_tail().splitlines()
    return lines[-1][-600:] if lines else "(its log is empty)"
