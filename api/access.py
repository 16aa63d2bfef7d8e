"""Who asks, and what they may see.

Customs roles of either authority and auditors see all. Everyone else sees their own: a declaration its declarant and
its carrier; a movement its carrier, receiver and trucks, its electronic seals, the terminals that took part in it, and
the declarants of what it carries; for as long as it waits for a terminal, or at the border, every terminal of the side
or sides concerned: an offer has to be seen before it is accepted. What a terminal sees of a movement is its record and
its statements, never a declaration or an envelope. A participant itself; a record of any other contract those whom its
`visible_to` names; a statement its issuer, and whoever may see what it is about. What one may not see answers as what
is not there.

Records come from the validators as of the last executed block and are remembered for a few seconds: a revoked key stops
opening doors within `REMEMBERED_S`, while a burst of questions costs one look-up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from api.problems import Problem
from api.tokens import audience_of, parse_token, verify_token
from contracts.catalogue import contract_of, kind_parts, read_record
from contracts.machine import TERMINAL
from contracts.movement import Movement, movement_parties, terminals_at_work
from contracts.registry import Participant, key_refusal
from ledger.algorithms import PublicKey
from ledger.errors import Misuse
from ledger.statement import is_participant_id

REMEMBERED_S = 2.0
REMEMBERED_MAX = 4_096
RECORDS_AT_ONCE = 200
# To which key an envelope must be sealed, everybody who seals one has to be able to prove.
OPEN_KINDS = frozenset({"registry.publish_envelope_key"})
SEES_ALL_PREFIX = "customs."
SEES_ALL_ROLES = frozenset({"auditor"})

Records = Callable[[Iterable[str]], Awaitable[dict[str, bytes]]]
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as the ledger knows them."""

    id: str
    authority: str
    roles: frozenset[str]
    sees_all: bool
    kid: bytes


@dataclass(frozen=True, slots=True)
class Viewers:
    """Whose own a record is: participants by their id, and all terminals of some authorities."""

    ids: frozenset[str] = frozenset()
    terminals_of: frozenset[str] = frozenset()

    def include(self, principal: Principal) -> bool:
        at_work = TERMINAL in principal.roles and principal.authority in self.terminals_of
        return principal.sees_all or principal.id in self.ids or at_work


class ShortMemory(Generic[V]):
    """A bounded map whose values are forgotten after a while."""

    def __init__(self, seconds: float, maximum: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._maximum = maximum
        self._clock = clock
        self._values: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def get(self, key: str) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._values[key]
            return None
        return found[1]

    def put(self, key: str, value: V, until: float | None = None) -> None:
        ends = self._clock() + self._seconds
        self._values[key] = (ends if until is None else min(ends, until), value)
        self._values.move_to_end(key)
        if len(self._values) > self._maximum:
            self._values.popitem(last=False)


class Access:
    """Answers from the registry and the records, by way of `records`; `wall_clock` gives seconds since the epoch."""

    def __init__(
        self,
        origin: str,
        records: Records,
        wall_clock: Callable[[], float] = time.time,
        *,
        authority: str | None = None,
        unbound_tokens: bool = True,
    ) -> None:
        """`authority`: whose gateway this is; tokens for the other's are refused. `unbound_tokens`: whether those that
        name the log alone are taken.
        """
        if authority is None and not unbound_tokens:
            raise Misuse("expected the authority to which tokens are bound")
        bound = audience_of(origin, authority)
        self._audiences = tuple(dict.fromkeys((bound, origin))) if unbound_tokens else (bound,)
        # How many tokens were taken that name the log alone: when there are none, they can be refused.
        self.unbound_taken = 0
        self._records = records
        self._clock = wall_clock
        self._principals: ShortMemory[Principal] = ShortMemory(REMEMBERED_S, REMEMBERED_MAX, wall_clock)
        self._viewers: ShortMemory[Viewers] = ShortMemory(REMEMBERED_S, REMEMBERED_MAX, wall_clock)

    # ---- who asks

    async def authenticate(self, authorization: str | None) -> Principal:
        """The participant that an `Authorization` header proves; a `token_*` Problem otherwise."""
        if not authorization:
            raise Problem("token_missing", "send Authorization: Bearer with a token signed by an enrolled key")
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise Problem("token_malformed", "expected the Bearer scheme")
        remembered = self._principals.get(text)
        if remembered is not None:
            return remembered
        token = parse_token(text)
        participant = await self._participant(token.issuer)
        key = None if participant is None else participant.key(token.kid)
        now_s = self._clock()
        if participant is None or key is None:
            # One answer for both: who is enrolled is not for strangers to find out.
            raise Problem("token_untrusted", "no such key of such a participant")
        public = PublicKey.from_cose_key(key.cose_key)
        ends_s, audience = verify_token(token, public, audiences=self._audiences, now_s=now_s)
        refusal = key_refusal(key, int(now_s * 1000))
        if refusal is not None:
            raise Problem("token_untrusted", refusal.fact.replace("_", " "))
        principal = principal_of(participant, token.kid)
        self.unbound_taken += audience != self._audiences[0]
        self._principals.put(text, principal, until=float(ends_s))
        return principal

    async def still(self, principal: Principal) -> Principal:
        """The same caller as the ledger knows it now, for streams that outlive a token; raises once its key is out."""
        participant = await self._participant(principal.id)
        key = None if participant is None else participant.key(principal.kid)
        if participant is None or key_refusal(key, int(self._clock() * 1000)) is not None:
            raise Problem("token_untrusted", "the key that opened this stream no longer counts")
        return principal_of(participant, principal.kid)

    async def _participant(self, participant_id: str) -> Participant | None:
        if not is_participant_id(participant_id):
            return None
        key = f"registry/{participant_id}"
        raw = (await self._records([key])).get(key)
        participant: Participant | None = None if raw is None else read_record("registry", raw)[1]
        return participant

    # ---- what they may see

    async def may_see_statement(self, principal: Principal, kind: str, issuer: str, subject: str) -> bool:
        """Whether `principal` may see a statement of this kind, issuer and subject."""
        if principal.sees_all or issuer == principal.id or kind in OPEN_KINDS:
            return True
        contract = kind_parts(kind)[0]
        return contract_of(contract) is not None and await self.may_see_record(principal, contract, subject)

    async def may_see_record(self, principal: Principal, contract: str, subject: str) -> bool:
        """Whether `principal` may see the record of a subject of a contract that there is."""
        if principal.sees_all:
            return True
        if contract == "registry":  # no look-up: a participant is visible to itself alone
            return subject == principal.id
        return (await self._viewers_of(contract, subject)).include(principal)

    async def may_see_declaration(self, principal: Principal, ucr: str) -> bool:
        return principal.sees_all or (await self._viewers_of("declaration", ucr)).include(principal)

    async def may_see_movement(self, principal: Principal, mrn: str) -> bool:
        return principal.sees_all or (await self._viewers_of("escort", mrn)).include(principal)

    async def _viewers_of(self, contract: str, subject: str) -> Viewers:
        """Those whose own it is."""
        key = f"{contract}/{subject}"
        viewers = self._viewers.get(key)
        if viewers is None:
            raw = (await self._records([key])).get(key)
            if raw is None:
                viewers = Viewers()
            elif contract == "escort":  # the declarants of what it carries stand in other records
                viewers = await self.movement_viewers(read_record(contract, raw)[1])
            else:
                record_type, record = read_record(contract, raw)
                viewers = Viewers(record_type.visible_to(record))
            self._viewers.put(key, viewers)
        return viewers

    async def movement_viewers(self, movement: Movement) -> Viewers:
        """The parties of a movement, the declarants of what it carries, and the terminals that it waits for."""
        return (await self.movements_viewers([movement]))[0]

    async def movements_viewers(self, movements: Sequence[Movement]) -> list[Viewers]:
        """The same for many, in few questions."""
        keys = sorted({f"declaration/{ucr}" for movement in movements for ucr, _ in movement.plan.declarations})
        declarants: dict[str, str] = {}
        for start in range(0, len(keys), RECORDS_AT_ONCE):
            found = await self._records(keys[start : start + RECORDS_AT_ONCE])
            declarants |= {key: read_record("declaration", raw)[1].declarant for key, raw in found.items()}
        viewers = []
        for movement in movements:
            own = (declarants.get(f"declaration/{ucr}") for ucr, _ in movement.plan.declarations)
            ids = movement_parties(movement) | frozenset(filter(None, own))
            viewers.append(Viewers(ids, terminals_at_work(movement)))
        return viewers


def declaration_viewers(raw: bytes) -> Viewers:
    """Declarant and carrier."""
    declaration = read_record("declaration", raw)[1]
    return Viewers(frozenset(filter(None, (declaration.declarant, declaration.carrier))))


def principal_of(participant: Participant, kid: bytes) -> Principal:
    """What the ledger says of a participant, as far as seeing goes."""
    roles = frozenset(participant.roles)
    sees_all = bool(roles & SEES_ALL_ROLES) or any(role.startswith(SEES_ALL_PREFIX) for role in roles)
    return Principal(participant.id, participant.authority, roles, sees_all, kid)
