"""What this validator signs beside its cosignatures when it is asked: receipts, and crossing passes.

A gateway asks its own authority's validator. That one signs, and asks as many others, of each authority, as the policy
of the present members demands, over the streams between validators; who answers with anything but a good signature of
exactly that is passed over, and the next is asked (docs/adr/0035, 0036).

Promises: a root is signed only if the tree is the beginning of one that is final here, and is ours; a pass, only if our
own newest final state says the same to the byte, now, and nothing objects in it or in what was executed since. Nothing
is signed that a restart could contradict: both follow from what is final and on record. What a peer asks is bounded:
`PEER_MAX_PER_S`, and one answer to each.

Does not: decide who may see what. Gateways do.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import structlog

from contracts.crossing_pass import (
    MAX_PASS_BYTES,
    CrossingPass,
    PassFacts,
    objections,
    parse_facts,
    pass_message,
    sign_pass,
)
from contracts.pass_facts import pass_facts
from ledger.attestation import kid_of
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord, parse_entry
from ledger.errors import Malformed, Untrue
from ledger.membership import Member
from ledger.note import COSIGNATURE_V1, NoteSigner, VerifierKey
from ledger.policy import Policy
from ledger.receipt import Receipt, receipt_message, sign_receipt
from nodes.clock import Clock
from nodes.final_state import FinalState, NotFinal
from nodes.proto import peer_pb2

# How far the clocks of two validators may be apart for one to sign what the other says is now.
MAX_APART_S = 5
ANSWER_TIMEOUT_S = 2.0
ROUNDS_MAX = 3
PEER_MAX_PER_S = 300
MAX_ANSWERING = 256
MAX_REMEMBERED_SIGNATURES = 16_384
MAX_DETAIL_CHARS = 500
# One that says this may know what we and the next do not yet: nobody else is asked whether it is so.
DECISIVE = ("other_facts", "may_not_pass")


class Refused(Exception):
    """Nothing is signed, and asking again at once is no use; `code` says which way, the message why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class NotEnough(Exception):
    """Others who have to sign as well could not be reached; `missing` are the authorities. Ask again."""

    def __init__(self, missing: Sequence[str], why: str) -> None:
        super().__init__(why)
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is around: who votes, whose policy holds, who can be asked."""

    voters: Callable[[], dict[str, Member]]
    policy: Callable[[], Policy]
    reachable: Callable[[str], bool]
    # Whether a peer knows what it would be asked.
    speaks: Callable[[str], bool]
    send: Callable[[str, peer_pb2.Envelope], bool]
    # Why nothing may be signed now, None if it may.
    objection: Callable[[], str | None]


class Attesting:
    """See the module. Belongs to the event loop."""

    def __init__(
        self,
        name: str,
        origin: str,
        key: NoteSigner | None,
        chain: Chain,
        final_state: FinalState,
        clock: Clock,
        around: Surroundings,
    ) -> None:
        self._name = name
        self._origin = origin
        self._key = key
        self._chain = chain
        self._final_state = final_state
        self._clock = clock
        self._around = around
        self._numbers = count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[peer_pb2.AttestationAnswer]]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._asked: dict[str, tuple[int, int]] = {}
        # (validator, root) -> its signature: the same for every statement of a tree, and for good.
        self._signatures: collections.OrderedDict[tuple[str, bytes], bytes] = collections.OrderedDict()
        self._log = structlog.get_logger().bind(part="attesting")
        self.made = 0

    # --- receipts ----------------------------------------------------------------------------------------------------

    def _sign_root(self, size: int, root: bytes) -> bytes:
        """Our signature of a root that the tree had at a size. Raises Refused."""
        known = self._signatures.get((self._name, root))
        if known is not None:
            return known
        key = self._may_sign()
        final = self._chain.latest_final
        if final is None or size > final[0]:
            raise Refused("not_final", f"size {size} is not final here yet")
        if size < 1 or self._chain.root_at(size) != root:
            raise Refused("other_root", f"our tree of {size} entries has another root")
        if not isinstance(parse_entry(self._chain.entry(size - 1)), BlockRecord):
            raise Refused("no_block", f"no block ends at {size}")
        self.made += 1
        return self._remember(self._name, root, sign_receipt(key, self._name, self._origin, root))

    def _may_sign(self) -> NoteSigner:
        why = self._around.objection()
        if why is not None or self._key is None or self._name not in self._around.voters():
            raise Refused("signs_nothing", why or f"{self._name} is no validator whose signature counts")
        return self._key

    def _remember(self, name: str, root: bytes, signature: bytes) -> bytes:
        self._signatures[name, root] = signature
        while len(self._signatures) > MAX_REMEMBERED_SIGNATURES:
            self._signatures.popitem(last=False)
        return signature

    async def receipts(self, index: int, final: Checkpoint, party: str = "") -> list[Receipt]:
        """Receipts of the entry at an index, in the tree of a final checkpoint: as many as the policy demands, or
        (`party`) one of that authority. Raises Refused, NotEnough.
        """
        if party and party not in {member.party for member in self._around.voters().values()}:
            raise Refused("unknown_authority", f"no authority here is called {party[:MAX_DETAIL_CHARS]}")
        size, root = final.size, final.root
        query = peer_pb2.AttestationQuery(receipt=peer_pb2.ReceiptQuery(size=size, root=root))

        def check(member: Member, signature: bytes) -> None:
            key = VerifierKey(member.name, COSIGNATURE_V1, member.cosigner_key)
            key.verify(receipt_message(member.name, self._origin, kid_of(member.cosigner_key), root), signature)
            self._remember(member.name, root, signature)

        known = {
            name: self._signatures[name, root] for name in self._around.voters() if (name, root) in self._signatures
        }
        voters = self._around.voters()
        signed = await self._gather(query, partial(self._sign_root, size, root), check, known, party)
        path = tuple(self._chain.inclusion_proof(index, size))
        return [
            Receipt(name, self._origin, kid_of(voters[name].cosigner_key), size, index, path, signature)
            for name, signature in signed.items()
        ]

    # --- passes ------------------------------------------------------------------------------------------------------

    async def crossing_pass(self, mrn: str) -> CrossingPass:
        """A pass of a movement that enough validators have signed. Raises Refused, NotEnough, NotFinal."""
        for round_ in range(ROUNDS_MAX):
            facts = await self._facts(mrn)
            query = peer_pb2.AttestationQuery(pass_facts=facts.encode())
            voters = self._around.voters()
            try:
                signed = await self._gather(
                    query, partial(self._sign_pass, facts), partial(_check_pass, facts.encode()), {}
                )
            except Refused as error:
                # The others' state has moved on, or ours: what holds now is asked anew.
                if error.code not in ("other_facts", "not_final") or round_ == ROUNDS_MAX - 1:
                    raise
                continue
            self.made += 1
            return CrossingPass(
                facts, tuple((kid_of(voters[name].cosigner_key), signature) for name, signature in signed.items())
            )
        raise Refused("other_facts", "the movement changes faster than a pass can be signed")

    async def _facts(self, mrn: str) -> PassFacts:
        final = await self._final_state.latest()
        facts = pass_facts(
            final.state.get,
            mrn,
            origin=self._origin,
            size=final.size,
            root=final.root,
            as_of_s=self._clock.now_ms() // 1000,
        )
        if facts is None:
            raise Refused("not_found", f"there is no movement {mrn}")
        refused = objections(facts)
        if refused:
            raise Refused("may_not_pass", "; ".join(refused))
        if len(facts.encode()) > MAX_PASS_BYTES // 2:
            raise Refused("too_large", f"a pass of movement {mrn} would be too large")
        return facts

    def _sign_pass(self, facts: PassFacts) -> bytes:
        """Our signature of facts that are final here, unless what was executed since objects. Raises Refused.

        Else a side that withholds its cosignatures could keep passes coming for goods suspended since.
        """
        now = pass_facts(
            self._chain.state.get,
            facts.mrn,
            origin=facts.origin,
            size=facts.size,
            root=facts.root,
            as_of_s=facts.as_of_s,
        )
        refused = ["the movement is gone"] if now is None else objections(now)
        if refused:
            raise Refused("may_not_pass", f"as executed here, not final yet: {'; '.join(refused)}")
        return sign_pass(self._may_sign(), facts)[1]

    async def _agree(self, payload: bytes) -> bytes:
        """Our signature of what a peer says of a movement, if we say exactly the same. Raises Refused, NotFinal."""
        facts = parse_facts(payload)
        apart_s = abs(self._clock.now_ms() // 1000 - facts.as_of_s)
        if apart_s > MAX_APART_S:
            raise Refused(
                "clocks_apart", f"the time of the pass is {apart_s} s from our clock: at most {MAX_APART_S} s"
            )
        self._may_sign()
        final = await self._final_state.latest(facts.size)
        if facts.origin != self._origin or self._chain.root_at(facts.size) != facts.root:
            raise Refused("other_root", f"our tree of {facts.size} entries has another root")
        ours = pass_facts(
            final.state.get, facts.mrn, origin=facts.origin, size=facts.size, root=facts.root, as_of_s=facts.as_of_s
        )
        if ours != facts:
            raise Refused("other_facts", f"as of size {final.size}, movement {facts.mrn} is not as the pass says")
        refused = objections(facts)
        if refused:
            raise Refused("may_not_pass", "; ".join(refused))
        return self._sign_pass(facts)

    # --- asking the others -------------------------------------------------------------------------------------------

    async def _gather(
        self,
        query: peer_pb2.AttestationQuery,
        own: Callable[[], bytes],
        check: Callable[[Member, bytes], None],
        known: dict[str, bytes],
        party: str = "",
    ) -> dict[str, bytes]:
        """Signatures by name: ours first if it counts, then others' until there are enough."""
        voters = self._around.voters()
        wanted = {name: member for name, member in voters.items() if party in ("", member.party)}
        signed = {name: signature for name, signature in known.items() if name in wanted}
        if self._name in wanted and self._name not in signed and not self._enough(signed, party):
            signed = {self._name: own(), **signed}
        failed: dict[str, str] = {}
        refusal: Refused | None = None
        while not self._enough(signed, party):
            ask = self._whom(wanted, signed, failed, party)
            if not ask:
                break
            answers = await asyncio.gather(*(self._ask(name, query) for name in ask), return_exceptions=True)
            for name, answer in zip(ask, answers, strict=True):
                try:
                    if isinstance(answer, BaseException):
                        raise answer
                    check(wanted[name], answer)
                    signed[name] = answer
                except Refused as error:
                    if error.code in DECISIVE:
                        raise
                    refusal = error
                    failed[name] = str(error)
                except (TimeoutError, Untrue) as error:
                    failed[name] = str(error) or "no answer in time"
        if self._enough(signed, party):
            return self._fewest(signed, party)
        if refusal is not None:
            raise refusal
        missing = sorted({m.party for m in wanted.values()} - {voters[name].party for name in signed})
        said = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise NotEnough(missing, said or f"no validator of {', '.join(missing) or 'an authority'} can be asked")

    def _enough(self, names: Iterable[str], party: str) -> bool:
        names = list(names)
        return bool(names) and (bool(party) or self._around.policy().quorum_met_by(names))

    def _fewest(self, signed: dict[str, bytes], party: str) -> dict[str, bytes]:
        """Those signatures, without what is not needed: the latest ones go first."""
        kept = dict(signed)
        for name in reversed(list(signed)):
            without = {other: each for other, each in kept.items() if other != name}
            if self._enough(without, party):
                kept = without
        return kept

    def _whom(self, wanted: dict[str, Member], signed: Iterable[str], failed: Iterable[str], party: str) -> list[str]:
        """The fewest that would be enough with those that have signed; all that are left where none would be."""
        having = list(signed)
        left = [
            name
            for name in wanted
            if name not in having
            and name not in failed
            and name != self._name
            and self._around.reachable(name)
            and self._around.speaks(name)
        ]
        if not self._enough([*having, *left], party):
            return left
        for name in reversed(list(left)):
            without = [other for other in left if other != name]
            if self._enough([*having, *without], party):
                left = without
        return left

    async def _ask(self, name: str, query: peer_pb2.AttestationQuery) -> bytes:
        number = next(self._numbers)
        asked = peer_pb2.AttestationQuery()
        asked.CopyFrom(query)
        asked.number = number
        future: asyncio.Future[peer_pb2.AttestationAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = name, future
        try:
            if not self._around.send(name, peer_pb2.Envelope(attestation_query=asked)):
                raise TimeoutError(f"{name} cannot be sent anything now")
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await future
        finally:
            del self._waiting[number]
        if answer.refused:
            raise Refused(answer.refused, f"{name}: {answer.detail[:MAX_DETAIL_CHARS]}")
        return answer.signature

    # --- being asked -------------------------------------------------------------------------------------------------

    def take(self, peer: str, envelope: peer_pb2.Envelope) -> None:
        """A question of a peer, or an answer to ours."""
        if envelope.WhichOneof("body") == "attestation_answer":
            answer = envelope.attestation_answer
            expected = self._waiting.get(answer.number)
            if expected is not None and expected[0] == peer and not expected[1].done():
                expected[1].set_result(answer)
            return
        query = envelope.attestation_query
        if len(self._answering) >= MAX_ANSWERING or self._too_many(peer):
            self._answer(peer, query.number, refused="busy", detail="asked too often: ask again later")
            return
        task = asyncio.create_task(self._be_asked(peer, query), name=f"attesting for {peer}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _too_many(self, peer: str) -> bool:
        second = int(self._clock.monotonic_s())
        began, asked = self._asked.get(peer, (second, 0))
        asked = asked + 1 if began == second else 1
        self._asked[peer] = second, asked
        return asked > PEER_MAX_PER_S

    async def _be_asked(self, peer: str, query: peer_pb2.AttestationQuery) -> None:
        try:
            what = query.WhichOneof("what")
            if what == "receipt":
                signature = self._sign_root(query.receipt.size, query.receipt.root)
            elif what == "pass_facts":
                signature = await self._agree(query.pass_facts)
            else:
                raise Refused("unknown", "asked for what this release does not know")
            self._answer(peer, query.number, signature=signature)
        except (Refused, NotFinal, Malformed) as error:
            code = "not_final" if isinstance(error, NotFinal) else error.code
            self._answer(peer, query.number, refused=code, detail=str(error)[:MAX_DETAIL_CHARS])
        except Exception:
            # Whatever it was, it is a fault here; the peer asks another.
            self._log.error("attesting_failed", peer=peer, exc_info=True)
            self._answer(peer, query.number, refused="failed", detail="this validator could not answer")

    def _answer(self, peer: str, number: int, *, signature: bytes = b"", refused: str = "", detail: str = "") -> None:
        answer = peer_pb2.AttestationAnswer(number=number, signature=signature, refused=refused, detail=detail)
        self._around.send(peer, peer_pb2.Envelope(attestation_answer=answer))

    def close(self) -> None:
        """Answer nobody any more."""
        for task in self._answering:
            task.cancel()


def _check_pass(payload: bytes, member: Member, signature: bytes) -> None:
    """Raise Untrue unless a member has signed the facts of a pass."""
    key = VerifierKey(member.name, COSIGNATURE_V1, member.cosigner_key)
    key.verify(pass_message(payload, kid_of(member.cosigner_key)), signature)
