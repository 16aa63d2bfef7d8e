"""A ledger on which the Kazakh side's log key and CA are replaced, by real contracts, signed by real keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contracts.governance_record import load_proposal
from contracts.replay import ContractReplay
from contracts.working import Working
from ledger import cbor
from ledger.algorithms import PrivateKey
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, log_verifier
from ledger.cosignature import cosign
from ledger.note import Note, NoteSigner, format_note
from ledger.policy import Log, format_policy, parse_policy
from ledger.store import MemoryStore
from tests.ledger.toy import ORIGIN, World

KZ, CN = "kz-kgd", "cn-gacc"
LEAD = 2
# Seconds that a key which was replaced still counts.
OVERLAP_S = 60


class RotatedWorld(World):
    """Everything as in the toy world, but for the contracts."""

    def __init__(self) -> None:
        super().__init__(seed="rotated")
        self.replay: ContractReplay = ContractReplay()  # type: ignore[assignment]
        self.genesis = replace(
            self.genesis,
            parameters={"effect_lead_blocks": LEAD},
            contracts={"registry": 1, "declaration": 1, "escort": 1, "governance": 1},
        )
        self.store = MemoryStore()
        self.chain = Chain.open(self.store)
        self.chain.initialise(self.genesis, dict(self.replay.genesis_state(self.genesis)))
        self.old = self.log_signers[KZ]
        self.new = NoteSigner(self._bytes("log kz-kgd, the second"))
        self._idle = 0

    def idle(self, blocks: int = 1) -> None:
        """Blocks in which nothing happens that matters here."""
        for _ in range(blocks):
            self._idle += 1
            key: dict[str, cbor.Encodable] = {
                "key": self._key_of(f"{KZ}/truck-{self._idle}"),
                "roles": ["customs.officer"],
            }
            self.append(self.sign(f"{KZ}/registrar", "registry.enrol", f"{KZ}/truck-{self._idle}", key))

    def _key_of(self, participant: str) -> bytes:
        key = self.keys[participant] = PrivateKey.generate(-8)
        return key.public.cose_key

    def propose(self, name: str, change: dict[str, cbor.Encodable]) -> bytes:
        """The id of the statement."""
        proposed = self.sign(f"{KZ}/registrar", "governance.propose", name, {"title": "a key", "changes": [change]})
        self.append(proposed)
        return proposed.id

    def agree(self, name: str, change: dict[str, cbor.Encodable]) -> int:
        """The height at which it takes effect."""
        proposal = self.propose(name, change)
        self.append(self.sign(f"{CN}/registrar", "governance.approve", name, {"proposal": proposal}))
        record = load_proposal(Working(self.chain.state), name)
        if record is None:
            raise AssertionError(name)
        return record.effect_height

    def rotation(self) -> dict[str, cbor.Encodable]:
        fields: dict[str, cbor.Encodable] = {
            "authority": KZ,
            "from": self.old.public_key,
            "to": self.new.public_key,
            "overlap_s": OVERLAP_S,
        }
        return {"log_key": fields}

    def rotate(self) -> int:
        height = self.agree(f"{KZ}/1", self.rotation())
        self.idle(height - self.chain.height)
        return height

    def signed_by(self, *signers: NoteSigner) -> bytes:
        """The last checkpoint with the lines of these log keys, and of all validators."""
        checkpoint = Checkpoint(ORIGIN, self.chain.size, self.chain.root)
        lines = [log_signature(signer, checkpoint) for signer in signers]
        lines += [cosign(key, name, checkpoint, self.time_ms // 1000) for name, key in self.cosigners.items()]
        return format_note(Note(checkpoint_body(checkpoint), tuple(lines)))

    def policy_of(self, signers: Sequence[NoteSigner]) -> bytes:
        logs = tuple(Log(log_verifier(ORIGIN, signer.public_key)) for signer in signers)
        return format_policy(replace(parse_policy(self.policy()), logs=logs))
