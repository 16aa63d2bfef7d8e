"""The operators of both authorities: they make validators, and sign and hand in changes of the membership.

What they know is what they signed: the register after each change follows from the one before, so that a change that
the network did not take as it was meant shows in the next one being refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

import grpc

from api.proto import validator_pb2
from ledger.algorithms import PrivateKey
from ledger.entry import Genesis
from ledger.membership import Register, Step, sign_change
from nodes.config import load_validator_config
from nodes.newcomer import Addresses, Newcomer, make_newcomer
from tests.chaos.cluster import BASE_PORT, TUNING, Cluster
from tests.nodes.network import Client

CHANGE_TIMEOUT_S: Final = 60.0
CALL_TIMEOUT_S: Final = 15.0
PAUSE_S: Final = 0.3
# Answers after which the same change is handed in again.
NOT_YET: Final = frozenset(("no_leader", "not_leader", "not_caught_up", "term_not_open", "change_pending", "too_busy"))


class ChangeFailed(Exception):
    """A change that both authorities signed was refused, or not committed in time."""


class Operators:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        network = cluster.network
        self._genesis = Genesis.decode(network.genesis.read_bytes())
        self._registrars = [
            PrivateKey.from_pem(authority.key("registrar").read_bytes()) for authority in network.authorities
        ]
        self.register = Register.of_genesis(self._genesis)
        self._notes: list[bytes] = []

    def make(self, name: str, like: str, party: str | None = None, *, to_stay: bool = False) -> Newcomer:
        """The folder of a newcomer on its own machine; it can be started from then on. `party`: a neutral one."""
        cluster = self._cluster
        network = cluster.network
        authority = next(item for item in network.authorities if item.name == cluster.authority_of(like))
        made = make_newcomer(
            network.directory / "validators" / name,
            name=name,
            like=load_validator_config(cluster.config_of(like)),
            authority_directory=authority.directory if party is None else authority.directory.parent / party,
            party=party,
            addresses=Addresses(name, BASE_PORT, BASE_PORT + 1, BASE_PORT + 2, "0.0.0.0"),
            notes=self._notes,
            like_address=next(item.peer_address for item in network.validators if item.name == like),
        )
        with made.config.open("a") as file:
            file.write(TUNING)
        cluster.add_newcomer(made, to_stay=to_stay)
        return made

    def change(self, through: Iterable[str], *steps: Step) -> None:
        """Sign a change with both registrars' keys, and hand it in here and there until it is committed."""
        change = self.register.change(steps)
        note = change.text().encode()
        for key in self._registrars:
            note = sign_change(note, key, self._genesis)
        asyncio.run(self._hand_in(list(through), note, [step.line() for step in steps]))
        self._notes.append(note)
        self.register = self.register.after(change)

    async def _hand_in(self, through: list[str], note: bytes, what: list[str]) -> None:
        deadline_s, attempt, said = time.monotonic() + CHANGE_TIMEOUT_S, 0, ""
        while time.monotonic() < deadline_s:
            name = through[attempt % len(through)]
            attempt += 1
            try:
                reply = await self._submit(name, note)
            except grpc.aio.AioRpcError as error:
                said = f"{name}: {error.code().name}"
            else:
                if reply.state == "committed":
                    return
                said = f"{name}: {reply.state} {reply.code} {reply.detail}"
                if reply.state == "refused" and reply.code not in NOT_YET:
                    raise ChangeFailed(f"{what} was refused: {said}")
            await asyncio.sleep(PAUSE_S)
        raise ChangeFailed(f"{what} was not committed within {CHANGE_TIMEOUT_S:.0f} s; last: {said}")

    async def _submit(self, name: str, note: bytes) -> Any:
        async with Client(self._cluster.network, name) as client:
            return await client.stub.ChangeMembership(
                validator_pb2.MembershipSubmission(change=note), timeout=CALL_TIMEOUT_S
            )
