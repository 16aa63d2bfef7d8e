"""Gateways with statements: fresh ones, the same again, forgeries, two with one `cti`; sent, and sent again until
answered.

A client hands statements to the validators of its own authority, by their own service, and keeps at it as a gateway
does: another validator after a time-out, a pause after a refusal. What it was told goes to the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from api.proto import validator_pb2
from ledger.statement import Statement
from tests.simulation.corridor import Corridor
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle
from tests.simulation.world import MS, S, World

PATIENCE_US = 4 * S
RETRY_US = (100 * MS, 800 * MS)


@dataclass
class Errand:
    """One statement that somebody wants in the ledger, or wants to see refused."""

    raw: bytes
    statement: Statement | None
    done: bool = False
    accepted_at: int | None = None
    attempts: int = 0
    # The validators that said it is accepted: each must have it from then on.
    seen_by: set[str] = field(default_factory=set)


class Client:
    def __init__(self, world: World, corridor: Corridor, oracle: Oracle, authority: str, nodes: list[Node]) -> None:
        self.world = world
        self.corridor = corridor
        self.oracle = oracle
        self.authority = authority
        self.nodes = nodes
        self.errands: list[Errand] = []
        self.resting = False
        self._numbers = 0
        self.reads = 0.05
        # How long it waits between two errands.
        self.pace_us = world.rng.choice((100, 300, 800)) * MS

    def begin(self) -> None:
        self.world.after(self.world.rng.randrange(self.pace_us), self._go_on)

    def _go_on(self) -> None:
        if self.resting:
            return
        self.step()
        self.world.after(self.world.rng.randrange(1, 2 * self.pace_us), self._go_on)

    def step(self) -> None:
        rng = self.world.rng
        if self.oracle.answers and rng.random() < self.reads:
            self.read_fresh()
            return
        kind = rng.random()
        if kind < 0.1 and self.errands:
            self.send([rng.choice(self.errands)])
        elif kind < 0.2 and self.errands:
            self.read(rng.choice(self.errands))
        elif kind < 0.27:
            self._numbers += 1
            self.send([Errand(self.corridor.forgery(self.authority, self._numbers), None)])
        elif kind < 0.34 and self._numbers > 1:
            self._numbers += 1
            again = self.corridor.enrolment(self.authority, self._numbers, cti=rng.randrange(self._numbers - 1))
            self.send([self._keep(Errand(again.raw, again))])
        else:
            self.send([self.fresh() for _ in range(rng.choice((1, 1, 2, 4)))])

    def fresh(self) -> Errand:
        self._numbers += 1
        statement = self.corridor.enrolment(self.authority, self._numbers)
        return self._keep(Errand(statement.raw, statement))

    def _keep(self, errand: Errand) -> Errand:
        self.errands.append(errand)
        return errand

    # --- submitting -------------------------------------------------------------------------------------------------

    def send(self, errands: list[Errand]) -> None:
        rng = self.world.rng
        for errand in errands:
            self.oracle.asked(errand.raw, errand.statement)
            errand.attempts += 1
        there = [node for node in self.nodes if node.present]
        nodes = there if rng.random() < 0.1 else [rng.choice(there)]
        for node in nodes:
            self._submit(node, errands)

    def _submit(self, node: Node, errands: list[Errand]) -> None:
        world = self.world
        request = validator_pb2.SubmitRequest()
        for tag, errand in enumerate(errands):
            request.items.append(validator_pb2.SubmitRequest.Item(tag=tag, statement=errand.raw))
        data = request.SerializeToString()

        def replied(reply: validator_pb2.SubmitReply) -> None:
            world.after(world.rng.randrange(200, 5000), lambda: self._replied(node, errands, reply))

        world.after(world.rng.randrange(200, 5000), lambda: node.submit(data, replied))
        attempts = [errand.attempts for errand in errands]
        world.after(PATIENCE_US, lambda: self._check(errands, attempts))

    def _check(self, errands: list[Errand], attempts: list[int]) -> None:
        """Nobody answered: somebody else may."""
        for errand, attempt in zip(errands, attempts, strict=True):
            if not errand.done and errand.attempts == attempt:
                self.send([errand])

    def _replied(self, node: Node, errands: list[Errand], reply: validator_pb2.SubmitReply) -> None:
        for result in reply.results:
            errand = errands[result.tag]
            kind = result.WhichOneof("outcome")
            if node.lies:
                # It may say whatever it likes: an honest one has to be asked.
                self._again(errand)
            elif kind == "accepted":
                errand.done, errand.accepted_at = True, result.accepted.index
                errand.seen_by.add(node.name)
                self.oracle.answered(errand.raw, result.accepted.index)
            elif kind == "rejected":
                errand.done = True
            elif result.refused.reason in (
                validator_pb2.Refused.Reason.OVERLOADED,
                validator_pb2.Refused.Reason.UNAVAILABLE,
            ):
                if not errand.done:
                    self._again(errand)
            else:
                errand.done = True

    def _again(self, errand: Errand) -> None:
        attempt = errand.attempts

        def retry() -> None:
            if not errand.done and errand.attempts == attempt:
                self.send([errand])

        self.world.after(self.world.rng.randrange(*RETRY_US), retry)

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, errand: Errand) -> None:
        """What a validator said it has, it has, whatever happened to it meanwhile."""
        node = self.world.rng.choice([node for node in self.nodes if node.present])
        if errand.statement is None:
            return
        must_have = node.name in errand.seen_by and not node.lies

        def replied(info: validator_pb2.StatementInfo) -> None:
            if info.found and errand.accepted_at not in (None, info.index) and not node.lies:
                self.oracle.fail("reads agree", f"{node.name} has at {info.index} what is at {errand.accepted_at}")
            if must_have and not info.found:
                self.oracle.fail("reads never go back", f"{node.name} no longer has {errand.accepted_at}")

        node.ask("GetStatement", validator_pb2.StatementQuery(id=errand.statement.id), replied)

    def read_fresh(self) -> None:
        """A read that has to see whatever anybody was told before it was asked, at any validator of this authority."""
        node = self.world.rng.choice([node for node in self.nodes if node.present])
        newest = max(answer.index for answer in self.oracle.answers)

        def replied(reply: validator_pb2.RecordsReply) -> None:
            self.world.faults["linearizable read"] += 1
            if reply.size <= newest and not node.lies and not self.oracle.liar_leads():
                detail = f"{node.name} answers with {reply.size} entries, {newest} was acknowledged before it was asked"
                self.oracle.fail("reads see what was acknowledged", detail)

        node.ask("GetRecords", validator_pb2.RecordsQuery(linearizable=True), replied)
