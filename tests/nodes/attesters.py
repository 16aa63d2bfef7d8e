"""Four validators that attest to each other: each its own ledger in memory, messages handed over in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.membership import Member, Role
from ledger.note import Note, format_note
from ledger.policy import Policy
from ledger.statement import Statement
from ledger.store import MemoryStore
from nodes.attesting import Attesting, Surroundings
from nodes.final_state import FinalState
from nodes.proto import peer_pb2
from tests.contracts import corridor as c
from tests.nodes.world import AUTHORITIES, HandClock, World

NAMES = ("kz-kgd-1", "kz-kgd-2", "cn-gacc-1", "cn-gacc-2")


class Attester:
    """One validator's ledger, with a movement on its way, and what it attests."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.network = network
        self.store = MemoryStore()
        self.chain = Chain.open(self.store)
        self.chain.initialise(network.world.genesis, network.records)
        self.final: tuple[int, bytes] | None = None
        self.changed = asyncio.Event()
        self.clock = HandClock(network.world.time_ms)
        self.halted: str | None = None
        self.final_state = FinalState(self.store, self.chain, self.clock, lambda: self.final, lambda: self.changed)
        self.attesting = Attesting(
            name,
            network.world.genesis.origin,
            network.world.cosigners[name],
            self.chain,
            self.final_state,
            self.clock,
            Surroundings(
                voters=lambda: network.voters,
                policy=lambda: network.policy,
                reachable=lambda peer: peer in network.up,
                speaks=lambda peer: peer in network.speaking,
                send=lambda peer, envelope: network.send(name, peer, envelope),
                objection=lambda: self.halted,
            ),
        )

    def append(self, *statements: Statement, changes: Mapping[str, bytes | None] | None = None) -> Checkpoint:
        """A block that is executed here; what it changes is up to the test."""
        applied = self.chain.applied + 1
        time_ms = self.network.world.time_ms + applied
        checkpoint = self.chain.append_block(applied, time_ms, "kz-kgd-1", statements, changes or {})
        self.final_state.grown(checkpoint.size)
        self._tell()
        return checkpoint

    def finalise(self, checkpoint: Checkpoint) -> None:
        note = self.network.note(checkpoint)
        self.chain.put_cosigned(checkpoint.size, note)
        self.final = checkpoint.size, note
        self.final_state.became_final()
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Network:
    """All of them. `tamper` may alter or swallow (None) what one says to another."""

    def __init__(self, movement: str = "started") -> None:
        self.world = World(c.OPEN_MS + 3_600_000)
        self.records = c.at(movement).state.records
        self.voters = {
            f"{party}-{number}": Member(
                f"{party}-{number}", party, Role.VOTER, "", self.world.cosigners[f"{party}-{number}"].public_key
            )
            for party, _ in AUTHORITIES
            for number in (1, 2)
        }
        self.policy: Policy = self.world.policy()
        self.up = set(NAMES)
        self.speaking = set(NAMES)
        self.sent: list[tuple[str, str, peer_pb2.Envelope]] = []
        self.tamper: Callable[[str, str, peer_pb2.Envelope], peer_pb2.Envelope | None] = lambda _, __, envelope: (
            envelope
        )
        self.nodes = {name: Attester(name, self) for name in NAMES}

    def note(self, checkpoint: Checkpoint) -> bytes:
        lines = [line for name in ("kz-kgd-1", "cn-gacc-2") for line in self.world.lines(name, checkpoint)]
        return format_note(
            Note(checkpoint_body(checkpoint), tuple(sorted(lines, key=lambda line: len(line.signature))))
        )

    def send(self, sender: str, receiver: str, envelope: peer_pb2.Envelope) -> bool:
        self.sent.append((sender, receiver, envelope))
        passed = self.tamper(sender, receiver, envelope)
        if passed is not None and receiver in self.up:
            asyncio.get_running_loop().call_soon(self.nodes[receiver].attesting.take, sender, passed)
        return receiver in self.up

    def append(self, *statements: Statement, changes: Mapping[str, bytes | None] | None = None) -> Checkpoint:
        """A block that all execute."""
        checkpoints = [node.append(*statements, changes=changes) for node in self.nodes.values()]
        return checkpoints[0]

    def finalise(self, checkpoint: Checkpoint) -> None:
        for node in self.nodes.values():
            node.finalise(checkpoint)

    def questions(self) -> list[tuple[str, str]]:
        return [
            (sender, receiver)
            for sender, receiver, envelope in self.sent
            if envelope.WhichOneof("body") == "attestation_query"
        ]
