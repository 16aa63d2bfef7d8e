"""A ledger of a few entries over the contract tests' corridor, and what its validators hand out about it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256

from contracts.crossing_pass import CrossingPass, PassFacts, sign_pass
from contracts.movement import movement_key
from contracts.pass_facts import pass_facts
from ledger import merkle
from ledger.attestation import kid_of
from ledger.checkpoint import Checkpoint
from ledger.entry import BlockRecord
from ledger.policy import Policy, parse_policy
from ledger.receipt import Receipt, sign_receipt
from ledger.statemap import StateMap
from ledger.stateproof import StateProof, digit, state_path
from ledger.status_proof import StatusProof
from ledger.store import MemoryStore
from tests.contracts import corridor as c
from tests.ledger import corridor

POLICY = corridor.policy_text("kz")
PARSED: Policy = parse_policy(POLICY)
SIGNERS = ("kz-kgd-1", "cn-gacc-2")
# Entries before the block record that every proof here is about.
BEFORE = 10
AT_S = c.OPEN_MS // 1000 + 3_600


class Proven:
    """One state, the block record of it as the last of a few entries, and a checkpoint over them."""

    def __init__(self, records: Mapping[str, bytes], signers: tuple[str, ...] = SIGNERS) -> None:
        store = MemoryStore()
        self.state = StateMap(store)
        update = self.state.update(dict(records))
        store.write(update.writes)
        self.state.adopt(update)
        self.block = BlockRecord(7, AT_S * 1000, BEFORE - 2, 2, bytes(32), self.state.root, "kz-kgd-1")
        self.leaves = [merkle.leaf_hash(b"entry %d" % number) for number in range(BEFORE)]
        self.leaves[BEFORE - 1] = corridor.STATEMENT.id
        self.leaves.append(merkle.leaf_hash(self.block.encode()))
        self.checkpoint = Checkpoint(corridor.ORIGIN, len(self.leaves), self._root(len(self.leaves)))
        self.note = corridor.cosigned(self.checkpoint, *signers)

    def _root(self, size: int) -> bytes:
        return merkle.root_from_tiles(size, lambda level, index, width: b"".join(self.leaves))

    def path(self, index: int) -> tuple[bytes, ...]:
        return tuple(merkle.inclusion_proof(index, len(self.leaves), lambda *_: b"".join(self.leaves)))

    def status(self, key: str) -> StatusProof:
        return StatusProof(key, self.state.get(key), self.state.prove(key), self.block, self.path(BEFORE), self.note)

    def receipt(self, name: str) -> Receipt:
        """Of `corridor.STATEMENT`, which stands before the block record."""
        key = corridor.COSIGNERS[name]
        signature = sign_receipt(key, name, corridor.ORIGIN, self.checkpoint.root)
        path = self.path(BEFORE - 1)
        return Receipt(name, corridor.ORIGIN, kid_of(key.public_key), len(self.leaves), BEFORE - 1, path, signature)

    def facts(self, mrn: str = c.MRN, at_s: int = AT_S) -> PassFacts:
        found = pass_facts(
            self.state.get,
            mrn,
            origin=corridor.ORIGIN,
            size=self.checkpoint.size,
            root=self.checkpoint.root,
            as_of_s=at_s,
        )
        if found is None:
            raise AssertionError(f"there is no movement {mrn}")
        return found


@cache
def started() -> Proven:
    """A corridor whose movement is on its way."""
    return Proven(c.at("started").state.records)


def beside(own: StatusProof, start: str, signs: str) -> StatusProof:
    """That there is no record under a text that begins so, made of nothing but the proof of another record."""
    own_path, depth = state_path(own.key), len(own.state_proof.siblings)
    for length in range(1, 64):
        for added in itertools.islice(itertools.product(signs, repeat=length), 4096):
            key = start + "".join(added)
            path = state_path(key)
            if path != own_path and all(digit(path, at) == digit(own_path, at) for at in range(depth)):
                other = own_path, sha256(own.value or b"").digest()
                return replace(own, key=key, value=None, state_proof=StateProof(own.state_proof.siblings, other))
    raise AssertionError(f"no text found that begins with {start}")


def signed(facts: PassFacts, signers: tuple[str, ...] = SIGNERS) -> CrossingPass:
    return CrossingPass(facts, tuple(sign_pass(corridor.COSIGNERS[name], facts) for name in signers))


def forged(facts: PassFacts, signers: tuple[str, ...] = SIGNERS) -> CrossingPass:
    """Signed whatever it says, as only validators that lie would."""
    from contracts.crossing_pass import pass_message

    payload = facts.encode()
    signatures = []
    for name in signers:
        key = corridor.COSIGNERS[name]
        kid = kid_of(key.public_key)
        signatures.append((kid, key.sign(pass_message(payload, kid))))
    return CrossingPass(facts, tuple(signatures))


MOVEMENT = movement_key(c.MRN)
