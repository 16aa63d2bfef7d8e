"""A network of processes whose membership changes: newcomers are made, and both registrars sign."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from api.proto import validator_pb2
from ledger.algorithms import PrivateKey
from ledger.entry import Genesis
from ledger.membership import Register, Step, Verb, sign_change
from nodes.config import load_validator_config
from nodes.network import NetworkValidator, free_ports
from nodes.newcomer import Addresses, Newcomer, make_newcomer
from tests.nodes.network import PATIENCE_S, Client, Processes, until


def three_ports() -> tuple[int, int, int]:
    ports = free_ports(None, "127.0.0.1")
    return next(ports), next(ports), next(ports)


class Operators:
    """The operators of both authorities: they make validators, sign changes with both registrar keys, hand them in."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        network = processes.network
        self.genesis = Genesis.decode(network.genesis.read_bytes())
        self.registrars = {
            authority.name: PrivateKey.from_pem(authority.key("registrar").read_bytes())
            for authority in network.authorities
        }
        self.register = Register.of_genesis(self.genesis)
        self.notes: list[bytes] = []

    def make(self, name: str, like: str, *, party: str | None = None, observer: bool = False) -> Newcomer:
        """The folder of a newcomer, beside the others; it can be started from then on."""
        network = self.processes.network
        authority = like.rpartition("-")[0]
        home = network.directory / "authorities" / (party or authority)
        made = make_newcomer(
            network.directory / "validators" / name,
            name=name,
            like=load_validator_config(self.processes.validator(like).config),
            authority_directory=home,
            addresses=Addresses("127.0.0.1", *three_ports(), "127.0.0.1"),
            notes=self.notes,
            party=party,
            observer=observer,
        )
        node = NetworkValidator(
            name, made.party, made.config, made.peer_address, made.service_address, made.http_address
        )
        self.processes.network = dataclasses.replace(network, validators=(*network.validators, node))
        return made

    def sign(self, steps: Iterable[Step], *names: str) -> bytes:
        """A change of the present membership, signed by these authorities, by default by all."""
        data = self.register.change(steps).text().encode()
        for name in names or self.registrars:
            data = sign_change(data, self.registrars[name], self.genesis)
        return data

    async def submit(self, name: str, note: bytes) -> Any:
        async with Client(self.processes.network, name) as client:
            return await client.stub.ChangeMembership(validator_pb2.MembershipSubmission(change=note), timeout=15)

    async def change(self, name: str, *steps: Step, timeout_s: float = PATIENCE_S) -> None:
        """Hand a change in until it is committed, as the command does."""
        note = self.sign(steps)

        async def committed() -> bool:
            reply = await self.submit(name, note)
            if reply.state == "refused" and reply.code not in (
                "no_leader",
                "not_leader",
                "not_caught_up",
                "term_not_open",
            ):
                raise AssertionError(f"{reply.code}: {reply.detail}")
            return bool(reply.state == "committed")

        await until(committed, timeout_s=timeout_s, what=f"{[step.line() for step in steps]} committed")
        self.notes.append(note)
        self.register = self.register.after(self.register.change(steps))

    async def membership(self, name: str) -> Any:
        async with Client(self.processes.network, name) as client:
            return await client.stub.GetMembership(validator_pb2.MembershipQuery(), timeout=5)


def promote(name: str) -> Step:
    return Step(Verb.PROMOTE, name)


def demote(name: str) -> Step:
    return Step(Verb.DEMOTE, name)


def remove(name: str) -> Step:
    return Step(Verb.REMOVE, name)
