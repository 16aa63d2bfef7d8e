"""What the register means for this validator: its own part, whom it talks to, whose cosignatures make final.

Follows `Roster`, and is the one place where roles are told apart: a voter orders, executes and cosigns; an observer
executes and serves what it has, without a vote and without a cosignature that counts; a witness, of a neutral party,
votes and keeps its copy of the order, executes for itself, and neither proposes nor cosigns; a newcomer that no change
has let in yet follows as soon as somebody sends it anything.

Addresses: what the configuration says of a peer goes before what its change said, since each side knows its own ways.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ledger.errors import LedgerError
from ledger.membership import Member, Register, Role
from ledger.note import parse_note
from ledger.policy import Policy, parse_policy
from nodes.certificates import certificate_pem
from nodes.config import PeerEntry, ValidatorConfig, parse_address
from nodes.identity import Identity
from nodes.keys_in_force import KeysInForce
from nodes.membership import Roster
from nodes.network import policy_of_members, wants_several


class Participation:
    """See the module. Changes nothing; asks the roster each time."""

    def __init__(self, config: ValidatorConfig, identity: Identity, roster: Roster, keys: KeysInForce) -> None:
        self._config = config
        self._keys = keys
        self._identity = identity
        self._roster = roster
        self._configured = {peer.name: peer for peer in config.peers}

    # --- ourselves ---------------------------------------------------------------------------------------------------

    @property
    def role(self) -> Role | None:
        """Our part; None as long as no change has let us in, and once one has removed us."""
        member = self._roster.members().get(self._config.name)
        return None if member is None else member.role

    def cosigns(self) -> bool:
        """Whether our cosignature counts, and we have the keys for it."""
        return self._has_keys() and self._config.name in self._roster.voters()

    def _has_keys(self) -> bool:
        return self._identity.cosigner_key is not None and bool(self._identity.log_keys)

    def orders(self) -> bool:
        """Whether we propose blocks: a witness passes leadership on."""
        return self.role is not Role.WITNESS

    def objection(self) -> str | None:
        """What keeps us from the part that we are given, in words."""
        if self.role is Role.VOTER and not self._has_keys():
            return "a voter without keys.cosigner and keys.log: it cosigns nothing until it is started again with them"
        return None

    def in_words(self) -> str:
        """Our part, for the status."""
        role = self.role
        return "newcomer: no change of the membership has let it in yet" if role is None else role.value

    def removed(self) -> str | None:
        """Why we have no part here any more, and what to do; None while we have or may get one."""
        number = self._roster.removed(self._config.name)
        if number is None:
            return None
        return (
            f"{self._config.name} was removed by membership change {number}, which all authorities signed: it has no "
            "part in this network any more. Keep its data as evidence, and destroy its keys; a machine that is to take "
            "part again is a new validator under a new name"
        )

    def is_given_up(self, name: str, committed: int) -> bool:
        """Whether an observer was let in so long ago, and never heard of, that nobody waits for it any more."""
        since = self._roster.observer_since(name)
        return since is not None and committed - since > self._config.tuning.unheard_observer_entries

    def party_of(self, name: str) -> str:
        """Whose a member, or a former one, is; its own name where it never was one."""
        members = self._roster.former() | self._roster.known()
        return members[name].party if name in members else name

    # --- the others --------------------------------------------------------------------------------------------------

    def peers(self) -> list[PeerEntry]:
        """Whom to connect to. Members since genesis that the configuration does not name have no address."""
        found = []
        for member in self._roster.known().values():
            if member.name == self._config.name:
                continue
            configured = self._configured.get(member.name)
            if configured is not None:
                found.append(PeerEntry(member.name, member.party, configured.address))
            elif member.address:
                found.append(PeerEntry(member.name, member.party, parse_address(member.address)))
        return found

    def callers(self) -> dict[str, str]:
        """Who may call us, and whose they are: members, and former ones, who may ask what became of them."""
        members = self._roster.former() | self._roster.known()
        return {name: member.party for name, member in members.items() if name != self._config.name}

    def cas(self) -> dict[str, bytes]:
        """The CAs of each party that are believed now, PEM."""
        members = (self._roster.former() | self._roster.known()).values()
        neutral = {member.party: certificate_pem(member.ca_certificate) for member in members if member.ca_certificate}
        return neutral | self._keys.cas()

    def names(self, authority: str, *roles: Role) -> list[str]:
        """The members of an authority in these roles, in the order in which they came."""
        members = self._roster.members().values()
        return [member.name for member in members if member.party == authority and member.role in roles]

    def hears_cosignatures(self, name: str, *, colleagues_too: bool) -> bool:
        """Whether to send a peer our cosignatures: all but our colleagues who make their own, where that is enough."""
        member = self._roster.members().get(name)
        if member is None:
            return False
        return colleagues_too or member.party != self._config.authority or member.role is not Role.VOTER

    def voices(self) -> dict[str, str]:
        """Whose each validator of an authority is, ourselves not counted."""
        voters = self._roster.known().values()
        return {
            member.name: member.party
            for member in voters
            if member.role is Role.VOTER and member.name != self._config.name
        }

    # --- finality ----------------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """What makes a checkpoint final now: the file until something has changed, then what the members make it."""
        if not self._roster.committed.number:
            return self._of_all_times(self._identity.policy)
        return self._policy_of(self._roster.voters().values())

    def policies_of_snapshots(self) -> list[Policy]:
        """By any one of which a snapshot may be final: that of now, then those that the changes made which are known.

        A snapshot is of a time that is not in our log yet, and nothing need have been ordered since several of them.
        Never the voters of two registers together: a validator that left, with one that came after, made nothing final.
        The last change that is committed is one of them: while we have not left its joint configuration, others have.
        """
        numbers = range(max(1, self._roster.committed.number), self._roster.newest_number + 1)
        known = filter(None, map(self._roster.knows, numbers))
        return [self.policy(), *(self._policy_of(register.of(Role.VOTER)) for register in known)]

    def policy_of_note(self, note: bytes) -> Policy:
        """The policy under which a note on our disk became final: that of the members of the time.

        That time may be ahead of our log: a snapshot brings its note, and the order only up to where its tail begins.
        """
        for register in reversed(self._roster.registers()):
            voters = register.of(Role.VOTER)
            present = self._policy_of(voters) if register.number else self._of_all_times(self._identity.policy)
            # Any one of a side was enough before 0031 once the membership had changed, and before the file of the
            # beginning was put in the place of one that wants more.
            for policy in (present, self._policy_of(voters, majority=False)):
                with contextlib.suppress(LedgerError):
                    if policy.check(parse_note(note)).satisfied:
                        return policy
        return self.policy()

    def _of_all_times(self, policy: Policy) -> Policy:
        """Whichever log key of our authority has signed: which of them count at a size is for finality to say."""
        return self._keys.known_to(policy, self._config.authority)

    def _policy_of(self, voters: Iterable[Member], *, majority: bool | None = None) -> Policy:
        """Where the file of the beginning wants more than any one of a side, so do all that follow from the members."""
        names = [authority.name for authority in self._identity.genesis.authorities]
        # A witness has no log key; any authority's will do.
        authority = self._config.authority if self._config.authority in names else names[0]
        wanted = wants_several(self._identity.policy) if majority is None else majority
        text = policy_of_members(self._identity.genesis, authority, voters, majority=wanted)
        return self._of_all_times(parse_policy(text.encode()))

    def ever(self) -> list[Member]:
        """Everybody who ever could cosign."""
        registers: list[Register] = self._roster.registers()
        return [member for register in registers for member in register.members.values() if member.cosigner_key]
