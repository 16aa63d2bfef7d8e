"""Those who change the membership while everything else goes wrong: newcomers, promotions, removals, joint changes.

They know what the judge has seen committed, make the next change of that as `comity membership` does, have both
registrars sign it, and hand it in to some validator again and again until it is committed. Between that they make
the mistakes that people make: hand in what only one authority has signed, or the one of two competing changes that
lost, or an old one.

They are careful in one thing: a majority, and a voter of each authority, are always left that are sound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from api.proto import validator_pb2
from ledger.membership import Change, Register, Role, Step, Verb, sign_change
from nodes.config import Address, PeerEntry
from tests.simulation.corridor import NEUTRAL, Corridor
from tests.simulation.membership import SignedChange
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle
from tests.simulation.world import World

# Nobody is reached by an address here.
UNUSED = Address("127.0.0.1", 1)
# The part of their visits that goes wrong.
MISTAKES = 0.25
COMPETING = 0.15


class Operators:
    """`pace_us`: how long they wait between two visits. They stop beginning changes when told to `finish`."""

    def __init__(
        self, world: World, corridor: Corridor, oracle: Oracle, nodes: dict[str, Node], *, pace_us: int
    ) -> None:
        self.world = world
        self.corridor = corridor
        self.oracle = oracle
        self.nodes = nodes
        self.pace_us = pace_us
        self.register = Register.of_genesis(corridor.genesis)
        self.finishing = False
        self.kinds: tuple[str, ...] = (
            *("replace", "renew", "join", "join", "welcome"),
            *("promote", "promote", "demote", "remove"),
        )
        # What was signed for the next number, by both: one, or two that compete. And what no longer has a place.
        self.pending: dict[bytes, Register] = {}
        self.spent: list[bytes] = []
        self.abandoned: dict[bytes, Register] = {}
        # What has taken its place, from genesis on.
        self.done: list[bytes] = []
        # All that both have signed, ordered or not.
        self.signed: list[tuple[bytes, Change]] = []
        self.competing = COMPETING
        oracle.on_change = self.committed

    def begin(self) -> None:
        self.world.after(self.world.rng.randrange(1, self.pace_us), self._go_on)

    def _go_on(self) -> None:
        self.step()
        if not self.settled:
            self.world.after(self.world.rng.randrange(self.pace_us // 2, 2 * self.pace_us), self._go_on)

    @property
    def settled(self) -> bool:
        """Whether there is nothing left that they want."""
        return self.finishing and not self.pending and not self._strangers()

    def finish(self) -> None:
        """Go on with what is begun, and begin nothing more. Nobody waits for a machine that is lost to get a vote."""
        self.finishing = True
        for note, after in list(self.pending.items()):
            if any(self._unsound(member.name) for member in after.of(Role.VOTER)):
                self.abandoned[note] = self.pending.pop(note)

    # --- what is sound ----------------------------------------------------------------------------------------------

    def _unsound(self, name: str) -> bool:
        node = self.nodes[name]
        flipped = any(platter.flipped for platter in node.disk.platters.values())
        return node.lost is not None or node.lies or flipped or not node.present

    def registers(self) -> list[Register]:
        """Those that may come to be in force as things stand."""
        return [self.register, *self.pending.values()]

    def bears(self, register: Register, damaged: Collection[str]) -> bool:
        """Whether the sound members of a register can commit without these."""
        electors = [*register.of(Role.VOTER), *register.of(Role.WITNESS)]
        sound = [each for each in electors if each.name not in damaged and not self._unsound(each.name)]
        parties = {each.party for each in sound if each.role is Role.VOTER}
        return 2 * len(sound) > len(electors) and parties == set(register.authorities)

    def may_lose(self, name: str) -> bool:
        return all(self.bears(register, {name}) for register in self.registers())

    # --- machines ---------------------------------------------------------------------------------------------------

    def _set_up(self, node: Node) -> None:
        """With those who are there now, and the changes that led to them, as `validator init --changes` makes it."""
        members = self.register.members.values()
        peers = (PeerEntry(each.name, each.party, UNUSED) for each in members if each.name != node.name)
        node.config = dataclasses.replace(node.config, peers=tuple(peers))
        node.identity = dataclasses.replace(node.identity, notes=tuple(self.done))
        node.start()

    def _strangers(self) -> list[Node]:
        """Members that were let in, heard of nothing, and then all whom they were set up to know were removed."""
        found = []
        for name in self.register.members:
            node = self.nodes[name]
            if node.validator is None or node.lies or name in node.validator.roster.members():
                continue
            if not any(peer.name in self.register.members for peer in node.config.peers):
                found.append(node)
        return found

    # --- one visit --------------------------------------------------------------------------------------------------

    def step(self) -> None:
        rng = self.world.rng
        if not self.pending and not self.finishing:
            steps = self._draw()
            if steps:
                self._sign(steps)
                if rng.random() < self.competing:
                    self._sign(self._draw())
        for node in self._strangers():
            # Its status goes on saying that nobody has let it in, and somebody comes and looks.
            self.world.faults["newcomer told who is there"] += 1
            node.crash(keep_unsynced=True)
            self._set_up(node)
        if self.spent and rng.random() < MISTAKES:
            self._hand_in(rng.choice(self.spent))
        if self.pending:
            self._hand_in(rng.choice(list(self.pending)))

    def _sign(self, steps: list[Step]) -> None:
        if not steps:
            return
        change = self.register.change(steps)
        after = self.register.after(change)
        if not self.bears(after, ()):
            return
        for step in steps:
            if step.member is not None and not self.nodes[step.name].present:
                # The machine is set up before anybody is asked to let it in.
                self.nodes[step.name].present = True
                self._set_up(self.nodes[step.name])
        note = change.text().encode()
        for name, key in self.corridor.registrars.items():
            note = sign_change(note, key, self.corridor.genesis)
            if name == self.corridor.authorities[0] and self.world.rng.random() < MISTAKES:
                self.world.faults["change signed by one authority"] += 1
                self._hand_in(note)
        self.pending[note] = after
        self.signed.append((note, change))
        self.world.note(
            f"signed change {change.number}: {', '.join(step.line().split(' ca:')[0][:40] for step in steps)}"
        )

    def _hand_in(self, note: bytes) -> None:
        serving = [node for node in self.nodes.values() if node.serving]
        if serving:
            node = self.world.rng.choice(serving)
            node.ask("ChangeMembership", validator_pb2.MembershipSubmission(change=note), lambda _: None)

    def committed(self, change: SignedChange) -> None:
        """The judge has seen this one take its place."""
        after = self.pending.get(change.note) or self.abandoned.get(change.note)
        if after is None:
            self.oracle.fail("membership changes are asked for", f"change {change.number} was handed in by nobody")
            return
        self.register = after
        self.done.append(change.note)
        self.spent = [*self.spent[-3:], *self.pending]
        self.pending = {}

    # --- which change -----------------------------------------------------------------------------------------------

    def _draw(self) -> list[Step]:
        kinds = self.world.rng.sample(self.kinds, len(self.kinds))
        dead = [each for each in self.register.of(Role.VOTER) if self.nodes[each.name].lost is not None]
        for kind in ["replace", *kinds] if dead else kinds:
            steps: list[Step] = getattr(self, f"_{kind}")()
            if steps:
                return steps
        return []

    def _pick(self, names: Iterable[str]) -> str | None:
        found = sorted(names)
        return self.world.rng.choice(found) if found else None

    def _join(self) -> list[Step]:
        used = self.register.members.keys() | self.register.retired.keys()
        name = self._pick(self.corridor.newcomers.keys() - used)
        return [self.corridor.newcomers[name]] if name is not None else []

    def _welcome(self) -> list[Step]:
        """A newcomer of each authority in one change: what a machine room that is moved begins with."""
        used = self.register.members.keys() | self.register.retired.keys()
        free = sorted(self.corridor.newcomers.keys() - used)
        names = [self._pick(name for name in free if self.corridor.parties[name] == party) for party in self._sides()]
        return [self.corridor.newcomers[name] for name in names if name is not None]

    def _ready(self) -> list[str]:
        return [each.name for each in self.register.of(Role.OBSERVER) if not self._unsound(each.name)]

    def _promote(self) -> list[Step]:
        name = self._pick(self._ready())
        return [Step(Verb.PROMOTE, name)] if name is not None else []

    def _replace(self) -> list[Step]:
        """One machine of a party for another of it, through a joint configuration."""
        new = self._pick(self._ready())
        return self._exchange([new]) if new is not None else []

    def _renew(self) -> list[Step]:
        """Machines of every authority for others of it in one change, as many as there are, or one on each side."""
        ready: list[str] = []
        for party in self._sides():
            of_party = [name for name in self._ready() if self.corridor.parties[name] == party]
            if not of_party:
                return []
            ready += self.world.rng.sample(of_party, self.world.rng.randrange(1, len(of_party) + 1))
        return self._exchange(ready)

    def _sides(self) -> list[str]:
        return sorted(self.register.authorities)

    def _exchange(self, ready: list[str]) -> list[Step]:
        """Each of these for one of its party, the dead ones first. All of an authority may go if as many come."""
        steps: list[Step] = []
        going: set[str] = set()
        for new in ready:
            party = self.corridor.parties[new]
            role = Role.WITNESS if party == NEUTRAL else Role.VOTER
            old = [each.name for each in self.register.of(role, party) if each.name not in going]
            name = self._pick(each for each in old if self.nodes[each].lost is not None) or self._pick(old)
            if name is None:
                continue
            going.add(name)
            verb = self.world.rng.choice((Verb.REMOVE, Verb.DEMOTE)) if self.nodes[name].lost is None else Verb.REMOVE
            steps += [Step(Verb.PROMOTE, new), Step(verb, name)]
        return steps

    def _spare_voter(self) -> str | None:
        counts = {party: len(self.register.of(Role.VOTER, party)) for party in self.register.authorities}
        voters = [each.name for each in self.register.of(Role.VOTER) if counts[each.party] > 1]
        return self._pick([*voters, *(each.name for each in self.register.of(Role.WITNESS))])

    def _demote(self) -> list[Step]:
        name = self._spare_voter()
        return [Step(Verb.DEMOTE, name)] if name is not None else []

    def _remove(self) -> list[Step]:
        name = self._pick([each.name for each in self.register.of(Role.OBSERVER)])
        name = self._spare_voter() if name is None or self.world.rng.random() < 0.5 else name
        return [Step(Verb.REMOVE, name)] if name is not None else []
