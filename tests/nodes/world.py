"""A genesis with all its private keys in memory, for tests that play validators against each other."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256

from contracts.execute import genesis_state
from ledger.algorithms import EDDSA, PrivateKey
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, log_signature
from ledger.cosignature import cosign
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator
from ledger.note import NoteSignature, NoteSigner
from ledger.policy import Policy, parse_policy
from ledger.statement import Statement, sign_statement
from ledger.store import MemoryStore, Store
from nodes.checking import SignatureChecks
from nodes.cosigning import INTENT_KEY, Cosigner, Finality, Intent
from nodes.execution import Execution
from nodes.log_index import LogIndex
from nodes.metrics import Metrics
from nodes.network import newest_contracts, policy_text
from nodes.records import RecordIndex

ORIGIN = "comity.example/test"
AUTHORITIES = (("kz-kgd", "KZ"), ("cn-gacc", "CN"))


class HandClock:
    """A wall clock that goes only when told, beside the real one that tells how long something took."""

    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return time.monotonic()


@dataclass
class World:
    time_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def __post_init__(self) -> None:
        self.log_keys = {name: NoteSigner.generate() for name, _ in AUTHORITIES}
        self.registrars = {name: PrivateKey.generate(EDDSA) for name, _ in AUTHORITIES}
        self.cosigners = {f"{name}-{number}": NoteSigner.generate() for name, _ in AUTHORITIES for number in (1, 2)}
        self.genesis = Genesis(
            origin=ORIGIN,
            time_ms=self.time_ms,
            authorities=tuple(
                GenesisAuthority(
                    name=name,
                    country=country,
                    log_key=self.log_keys[name].public_key,
                    ca_sha256=sha256(name.encode()).digest(),
                    registrar_id=f"{name}/registrar",
                    registrar_key=self.registrars[name].public.cose_key,
                    validators=tuple(
                        GenesisValidator(f"{name}-{number}", self.cosigners[f"{name}-{number}"].public_key)
                        for number in (1, 2)
                    ),
                )
                for name, country in AUTHORITIES
            ),
            parameters={},
            contracts=newest_contracts(),
        )

    def policy(self, authority: str = "kz-kgd") -> Policy:
        return parse_policy(policy_text(self.genesis, authority).encode())

    def finality(self, note: bytes | None = None) -> Finality:
        return Finality(self.genesis, self.policy(), note)

    def cosigner(self, name: str, last: Intent | None = None) -> Cosigner:
        return Cosigner(name, self.cosigners[name], [self.log_keys[name.rpartition("-")[0]]], last)

    def lines(self, name: str, checkpoint: Checkpoint, time_s: int = 1_800_000_000) -> tuple[NoteSignature, ...]:
        """What a validator signs; honest or not is up to the checkpoint."""
        log_key = self.log_keys[name.rpartition("-")[0]]
        return log_signature(log_key, checkpoint), cosign(self.cosigners[name], name, checkpoint, time_s)

    def enrol(self, authority: str = "kz-kgd", name: str | None = None, cti: bytes | None = None) -> Statement:
        """A statement that the contracts accept once."""
        country = dict(AUTHORITIES)[authority].lower()
        return sign_statement(
            self.registrars[authority],
            kind="registry.enrol",
            iss=f"{authority}/registrar",
            sub=f"{country}/truck/{name or secrets.token_hex(6)}",
            iat_s=self.time_ms // 1000,
            cti=cti or secrets.token_bytes(16),
            payload={"key": PrivateKey.generate(EDDSA).public.cose_key, "roles": ["truck"]},
        )

    def node(self, name: str = "kz-kgd-1", store: Store | None = None, clock: HandClock | None = None) -> Node:
        return Node(self, name, store if store is not None else MemoryStore(), clock or HandClock(self.time_ms + 1000))


class Node:
    """The part of a validator that executes and signs, over a store that a test can take away and give back."""

    def __init__(self, world: World, name: str, store: Store, clock: HandClock) -> None:
        self.world = world
        self.store = store
        self.clock = clock
        self.chain = Chain.open(store)
        self.records = RecordIndex(store)
        self.log_index = LogIndex(store, self.chain)
        if not self.chain.initialised:
            state = genesis_state(world.genesis)
            store.write({**self.records.additions(state), **self.log_index.beginning()})
            self.chain.initialise(world.genesis, state)
            self.log_index.begun()
        self.metrics = Metrics(name)
        self.checks = SignatureChecks(lambda issuer, kid: None, self.metrics, ThreadPoolExecutor(1))
        stored = store.get(INTENT_KEY)
        self.cosigner = world.cosigner(name, Intent.decode(stored) if stored else None)
        validators = set(world.cosigners)
        self.execution = Execution(
            self.chain,
            store,
            self.checks,
            self.cosigner,
            self.records,
            self.log_index,
            clock=clock,
            metrics=self.metrics,
            is_validator=lambda name, index: name in validators,
        )

    def whole(self) -> dict[bytes, bytes]:
        """Every byte of the ledger."""
        return dict(self.store.iterate(b"", b"\xff" * 8))
