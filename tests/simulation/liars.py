"""One validator that lies, of an authority that has another one. What it does is not believed; what the others do is.

Each kind is the real validator with one thing changed. A lie of the kind that leaves evidence has to leave it: whoever
was shown another root at a size that it had executed keeps the note that proves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.outcome import Outcome
from ledger.checkpoint import Checkpoint, log_signature
from ledger.cosignature import cosign
from nodes.blocks import decode_block, encode_block
from nodes.execution import Rejected
from nodes.proto import peer_pb2
from tests.simulation.corridor import ORIGIN, START_MS
from tests.simulation.node import Node
from tests.simulation.simulation import Simulation

SHAPES = ("kz-kgd:2 cn-gacc:2", "kz-kgd:3 cn-gacc:2")


def _on_start(node: Node, change: Callable[[Any], None]) -> None:
    before = node.on_started

    def started(node: Node) -> None:
        before(node)
        if node.validator is not None:
            change(node.validator)

    node.on_started = started


def wrong_time(simulation: Simulation, node: Node) -> None:
    """Dates its blocks ahead or back, sometimes by years; back also behind what it has seen itself."""
    rng = simulation.world.rng
    error_ms = rng.choice((-86_400_000, -4000, 3000, 6000, 3_600_000, 10**12))

    class Clock:
        def now_ms(self) -> int:
            return max(0, node.validator.clock.now_ms() + error_ms) if node.validator is not None else START_MS

        def monotonic_s(self) -> float:
            return node.validator.clock.monotonic_s() if node.validator is not None else 0.0

    _on_start(node, lambda validator: setattr(validator.proposals, "_clock", Clock()))
    if error_ms < 0:
        _propose(simulation, node, list, error_ms)


def _propose(
    simulation: Simulation, node: Node, change: Callable[[tuple[bytes, ...]], list[bytes]], error_ms: int = 0
) -> None:
    def install(validator: Any) -> None:
        submit = validator.ordering.submit

        def lying(payload: bytes) -> None:
            block = decode_block(payload)
            submit(encode_block(block.proposer, max(0, block.time_ms + error_ms), change(block.statements)))

        validator.ordering.submit = lying

    _on_start(node, install)


def forged_statement(simulation: Simulation, node: Node) -> None:
    """Puts statements that nobody signed into its blocks, and bytes that are no statement."""
    corridor, rng = simulation.corridor, simulation.world.rng

    def add(statements: tuple[bytes, ...]) -> list[bytes]:
        forged = corridor.forgery(rng.choice(corridor.authorities), 10_000 + rng.randrange(50))
        return [*statements, forged, rng.choice((b"", b"\xff", b"\xd2\x84"))]

    _propose(simulation, node, add)


def doubled_statement(simulation: Simulation, node: Node) -> None:
    """Proposes what it proposed before, again and again, and everything twice."""
    rng = simulation.world.rng
    said: list[bytes] = []

    def again(statements: tuple[bytes, ...]) -> list[bytes]:
        said.extend(statements)
        return [*statements, *rng.sample(said, min(3, len(said))), *statements]

    _propose(simulation, node, again)


def omitted_statement(simulation: Simulation, node: Node) -> None:
    """Leaves out of its blocks what it was given by others, as long as the trouble lasts."""
    rng, world = simulation.world.rng, simulation.world

    def leave_out(statements: tuple[bytes, ...]) -> list[bytes]:
        if world.now_us > simulation.trouble_us:
            return list(statements)
        return [raw for raw in statements if rng.random() < 0.5]

    _propose(simulation, node, leave_out)


def diverging_execution(simulation: Simulation, node: Node) -> None:
    """Executes something else than the others from some point on, and signs what comes of it."""
    rng = simulation.world.rng
    from_index = rng.randrange(5, 40)

    def install(validator: Any) -> None:
        execution = validator.execution
        take = execution._take

        def wrong(raw: bytes, *rest: Any) -> Any:
            if execution.applied > from_index and rng.random() < 0.2:
                return Rejected(Outcome.CTI_REUSED, None)
            return take(raw, *rest)

        execution._take = wrong

    _on_start(node, install)


def two_cosignatures(simulation: Simulation, node: Node) -> None:
    """Signs another root of the same size for some of the others."""
    corridor, rng = simulation.corridor, simulation.world.rng

    def lie(to: str, envelope: peer_pb2.Envelope) -> peer_pb2.Envelope | None:
        if envelope.WhichOneof("body") != "cosignatures" or rng.random() < 0.5:
            return envelope
        size = envelope.cosignatures.size
        other = Checkpoint(ORIGIN, size, bytes(32))
        time_s = START_MS // 1000 + 1
        lines = (
            log_signature(corridor.log_keys[node.authority], other),
            cosign(corridor.cosigners[node.name], node.name, other, time_s),
        )
        message = peer_pb2.Cosignatures(size=size, root=other.root)
        for line in lines:
            message.lines.append(peer_pb2.SignatureLine(name=line.name, key_id=line.key_id, signature=line.signature))
        return peer_pb2.Envelope(cosignatures=message)

    simulation.links.lies[node.name] = lie


def altered_snapshot(simulation: Simulation, node: Node) -> None:
    """Gives snapshots in which one byte of the state is another one. Quick to lead: who is behind asks its leader."""
    rng = simulation.world.rng

    def alter(piece: peer_pb2.FetchPiece) -> peer_pb2.FetchPiece:
        if piece.WhichOneof("piece") == "state" and piece.state:
            data = bytearray(piece.state)
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return peer_pb2.FetchPiece(state=bytes(data))
        return piece

    simulation.links.altered[node.name] = alter
    _on_start(node, _campaigns_early)


def _campaigns_early(validator: Any) -> None:
    config = validator.ordering._node._raft.config
    ticks = max(config.heartbeat_ticks + 1, config.election_timeout_ticks // 3)
    object.__setattr__(config, "election_timeout_ticks", ticks)


def lost_change(simulation: Simulation, node: Node) -> None:
    """Shows changes that all registrars signed and that were never ordered: the losers of a race, for the winners."""
    operators = simulation.operators
    if operators is None:
        return
    operators.competing = 0.7

    def install(validator: Any) -> None:
        notes = validator.roster.notes

        def lying(after: int) -> list[bytes]:
            signed = [note for note, change in operators.signed if change.number == after + 1]
            return signed[-1:] or notes(after)

        validator.roster.notes = lying

    _on_start(node, install)


KINDS: dict[str, Callable[[Simulation, Node], None]] = {
    each.__name__: each
    for each in (
        wrong_time,
        forged_statement,
        doubled_statement,
        omitted_statement,
        diverging_execution,
        two_cosignatures,
        altered_snapshot,
        lost_change,
    )
}


def tell_lies(simulation: Simulation, kind: str | None = None) -> None:
    """Let one validator lie, of the kind that is named or that the seed picks."""
    rng = simulation.world.rng
    kind = kind or rng.choice(sorted(KINDS))
    counts = list(simulation.corridor.validators.values())
    # One that is there from the beginning: a newcomer that nobody sets up would lie to nobody.
    able = [node for node in simulation.nodes.values() if node.present and counts.count(node.authority) > 1]
    node = rng.choice(able)
    node.lies = True
    simulation.world.note(f"{node.name} lies: {kind}")
    simulation.world.faults[f"liar: {kind.replace('_', ' ')}"] += 1
    KINDS[kind](simulation, node)
