"""The network between the nodes: a process of its own through which every packet passes.

`python -m tests.chaos.switch '<json>'` makes one TUN device for each node, moves it into the node's network namespace,
and forwards packets between them by their IPv4 destination, each as `tests.chaos.link` says for its direction. This is
what `tc netem` does, for machines whose kernel is built without it, with two gains: every choice comes from a
seed, and a partition of one direction is a line of configuration.

Standard input takes one JSON object a line: `{"links": {"kz-kgd-1>cn-gacc-1": {"blocked": true}}}` replaces all links
that are not perfect. Each is answered on standard output with what has been counted so far. End of input ends it.

The order of packets of one direction is kept as long as nothing delays them, as on a cable.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from typing import Any, Final

from tests.chaos.link import PERFECT, Link, fate

TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
PREFIX_BITS: Final = 24
# A packet with headers; the devices have the usual 1500.
MAX_PACKET_BYTES: Final = 2048
# Read at most so many from one device before the others get their turn.
BURST_PACKETS: Final = 64
MAX_WAITING_PACKETS: Final = 100_000


def make_device(name: str, address: str, holder_pid: int | None) -> int:
    """A TUN device with its address, in the namespace of that process (None: in ours). Returns our end of it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    inside: list[str] = []
    if holder_pid is not None:
        subprocess.run(["ip", "link", "set", name, "netns", str(holder_pid)], check=True)
        inside = ["nsenter", "-t", str(holder_pid), "-n", "--"]
    for command in (
        ["ip", "addr", "add", f"{address}/{PREFIX_BITS}", "dev", name],
        ["ip", "link", "set", name, "up"],
        ["ip", "link", "set", "lo", "up"],
    ):
        subprocess.run([*inside, *command], check=True)
    return descriptor


class Switch:
    def __init__(self, nodes: list[dict[str, Any]], seed: int) -> None:
        self._rng = random.Random(f"switch/{seed}")
        self._names: dict[int, str] = {}
        self._by_address: dict[bytes, tuple[str, int]] = {}
        for node in nodes:
            descriptor = make_device(node["device"], node["address"], node["holder_pid"])
            self._names[descriptor] = node["name"]
            self._by_address[socket.inet_aton(node["address"])] = (node["name"], descriptor)
        self._links: dict[tuple[str, str], Link] = {}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._sequence = 0
        self.counted: Counter[str] = Counter()

    def configure(self, links: dict[str, dict[str, Any]]) -> None:
        self._links = {}
        for direction, values in links.items():
            source, _, target = direction.partition(">")
            self._links[source, target] = Link(**values)

    def run(self) -> None:
        poller = select.epoll()
        for descriptor in self._names:
            poller.register(descriptor, select.EPOLLIN)
        poller.register(sys.stdin.fileno(), select.EPOLLIN)
        while True:
            timeout_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else 1.0
            for descriptor, _ in poller.poll(timeout_s):
                if descriptor == sys.stdin.fileno():
                    if not self._command():
                        return
                else:
                    self._forward(descriptor)
            self._deliver_due()

    def _command(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        self.configure(json.loads(line)["links"])
        sys.stdout.write(json.dumps(self.counted) + "\n")
        sys.stdout.flush()
        return True

    def _forward(self, descriptor: int) -> None:
        source = self._names[descriptor]
        for _ in range(BURST_PACKETS):
            try:
                packet = os.read(descriptor, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            if len(packet) < 20 or packet[0] >> 4 != 4:
                continue  # IPv6 neighbours looking for each other
            found = self._by_address.get(packet[16:20])
            if found is None:
                continue
            target, out = found
            fates = fate(self._links.get((source, target), PERFECT), self._rng)
            self.counted["packets"] += 1
            if not fates:
                self.counted["dropped"] += 1
            elif len(fates) > 1:
                self.counted["duplicated"] += 1
            for delay_s in fates:
                if delay_s == 0.0:
                    self._send(out, packet)
                elif len(self._waiting) < MAX_WAITING_PACKETS:
                    self.counted["delayed"] += 1
                    self._sequence += 1
                    heapq.heappush(self._waiting, (time.monotonic() + delay_s, self._sequence, out, packet))

    def _deliver_due(self) -> None:
        now_s = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now_s:
            _, _, out, packet = heapq.heappop(self._waiting)
            self._send(out, packet)

    def _send(self, out: int, packet: bytes) -> None:
        try:
            os.write(out, packet)
        except OSError:
            self.counted["undeliverable"] += 1  # the device is down, or its queue is full: the packet is lost


def main() -> None:
    given = json.loads(sys.argv[1])
    switch = Switch(given["nodes"], given["seed"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    switch.run()


if __name__ == "__main__":
    main()
