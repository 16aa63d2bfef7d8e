"""A toy world for tests of the chain, the archive and the audit: two authorities, a registry, and a counter contract.

Its contract is small enough to see through: `registry.enrol` by a registrar adds a participant and its key;
`registry.revoke` takes the key away; `counter.add` by a participant adds to the record named by `sub`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from ledger import cbor
from ledger.algorithms import PrivateKey, PublicKey
from ledger.audit import StateReader
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, log_verifier
from ledger.cosignature import cosign, cosigner_verifier
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator
from ledger.errors import Untrue
from ledger.note import Note, NoteSigner, format_note
from ledger.policy import Group, Log, Policy, Witness, format_policy
from ledger.statement import Statement, sign_statement
from ledger.store import MemoryStore, Store
from ledger.tenure import Tenure

ORIGIN = "log.example/corridor"
START_MS = 1_795_000_000_000
SIDES = (("kz-kgd", "KZ"), ("cn-gacc", "CN"))


class Replay:
    """What the audit is given to execute with."""

    def genesis_state(self, genesis: Genesis) -> dict[str, bytes]:
        return {f"registry/{authority.registrar_id}": authority.registrar_key for authority in genesis.authorities}

    def begin_block(self, state: StateReader, time_ms: int, height: int) -> ToyBlock:
        return ToyBlock(state, time_ms)

    def log_keys(self, state: StateReader, authorities: Iterable[str]) -> dict[str, tuple[Tenure, ...]]:
        """Here nobody ever replaces one."""
        return {}

    def decided_changes(self, state: StateReader) -> list[str]:
        """Nor is anything decided."""
        return []


@dataclass
class ToyBlock:
    state: StateReader
    time_ms: int
    changes: dict[str, bytes | None] = field(default_factory=dict)

    def execute(self, statement: Statement, check_signature: Callable[[Statement, PublicKey], None]) -> tuple[int, str]:
        key = self._get(f"registry/{statement.iss}")
        if key is None:
            return 1, "issuer_unknown"
        public = PublicKey.from_cose_key(key)
        if public.kid != statement.kid:
            return 2, "key_unknown"
        try:
            check_signature(statement, public)
        except Untrue:
            return 3, "bad_signature"
        if statement.kind == "registry.enrol":
            self.changes[f"registry/{statement.sub}"] = bytes(statement.payload["key"])  # type: ignore[arg-type]
        elif statement.kind == "registry.revoke":
            self.changes[f"registry/{statement.sub}"] = None
        elif statement.kind == "counter.add":
            before = int.from_bytes(self._get(f"counter/{statement.sub}") or b"", "big")
            added = statement.payload["by"]
            if not isinstance(added, int) or added < 1:
                return 4, "nothing_added"
            self.changes[f"counter/{statement.sub}"] = (before + added).to_bytes(8, "big")
        else:
            return 5, "kind_unknown"
        return 0, "accepted"

    def _get(self, key: str) -> bytes | None:
        return self.changes[key] if key in self.changes else self.state.get(key)


class World:
    """Keys, a chain, and what grows it; everything follows from ``seed`` so that a failing test is the same again."""

    def __init__(self, store: Store | None = None, seed: str = "toy") -> None:
        self._seed = seed
        self._count = 0
        self.registrars = {name: PrivateKey.generate() for name, _ in SIDES}
        self.log_signers = {name: NoteSigner(self._bytes(f"log {name}")) for name, _ in SIDES}
        self.cosigners = {
            f"{name}-{number}": NoteSigner(self._bytes(f"cosigner {name} {number}"))
            for name, _ in SIDES
            for number in (1, 2)
        }
        self.genesis = Genesis(
            ORIGIN,
            START_MS,
            tuple(
                GenesisAuthority(
                    name=name,
                    country=country,
                    log_key=self.log_signers[name].public_key,
                    ca_sha256=self._bytes(f"ca {name}"),
                    registrar_id=f"{name}/registrar",
                    registrar_key=self.registrars[name].public.cose_key,
                    validators=tuple(
                        GenesisValidator(f"{name}-{number}", self.cosigners[f"{name}-{number}"].public_key)
                        for number in (1, 2)
                    ),
                )
                for name, country in SIDES
            ),
            {},
            {},
        )
        self.keys: dict[str, PrivateKey] = {f"{name}/registrar": self.registrars[name] for name, _ in SIDES}
        self.store = MemoryStore() if store is None else store
        self.replay = Replay()
        self.chain = Chain.open(self.store)
        if not self.chain.initialised:
            self.chain.initialise(self.genesis, self.replay.genesis_state(self.genesis))
        self.time_ms = START_MS

    def _bytes(self, what: str) -> bytes:
        return sha256(f"{self._seed} {what}".encode()).digest()

    def sign(self, iss: str, kind: str, sub: str, payload: Mapping[str, cbor.Encodable]) -> Statement:
        self._count += 1
        return sign_statement(
            self.keys[iss],
            kind=kind,
            iss=iss,
            sub=sub,
            iat_s=self.time_ms // 1000,
            cti=self._bytes(f"cti {self._count}")[:16],
            payload=payload,
        )

    def enrol(self, participant: str, alg: int = -8) -> Statement:
        key = self.keys[participant] = PrivateKey.generate(alg)
        return self.sign("kz-kgd/registrar", "registry.enrol", participant, {"key": key.public.cose_key})

    def revoke(self, participant: str) -> Statement:
        return self.sign("kz-kgd/registrar", "registry.revoke", participant, {})

    def add(self, iss: str, sub: str, by: int = 1) -> Statement:
        return self.sign(iss, "counter.add", sub, {"by": by})

    def execute(self, statements: Sequence[Statement]) -> dict[str, bytes | None]:
        """The changes of a block of ``statements``, all of which must be accepted."""
        block = self.replay.begin_block(self.chain.state, self.time_ms, self.chain.height + 1)
        for statement in statements:
            outcome = block.execute(statement, lambda statement, key: None)
            if outcome[0]:
                raise ValueError(outcome)
        return block.changes

    def append(self, *statements: Statement, proposer: str = "kz-kgd-1") -> Checkpoint:
        self.time_ms += 250
        changes = self.execute(statements)
        return self.chain.append_block(self.chain.applied + 1, self.time_ms, proposer, statements, changes)

    def grow(self, blocks: int, statements: int = 5, participants: int = 3) -> None:
        """Enrol participants, then blocks of additions."""
        names = [f"kz/truck/{number}" for number in range(participants)]
        if names[0] not in self.keys:
            self.append(*(self.enrol(name, -7 if number == 1 else -8) for number, name in enumerate(names)))
        for block in range(blocks):
            self.append(
                *(self.add(names[n % participants], f"c{(block * 7 + n) % 97}", 1 + n) for n in range(statements))
            )

    def note(self, checkpoint: Checkpoint | None = None, *, without: Sequence[str] = (), time_s: int = 0) -> bytes:
        """A checkpoint note with both log keys and all cosigners but ``without``."""
        checkpoint = checkpoint or Checkpoint(ORIGIN, self.chain.size, self.chain.root)
        time_s = time_s or self.time_ms // 1000
        lines = [log_signature(signer, checkpoint) for name, signer in self.log_signers.items() if name not in without]
        lines += [
            cosign(signer, name, checkpoint, time_s) for name, signer in self.cosigners.items() if name not in without
        ]
        return format_note(Note(checkpoint_body(checkpoint), tuple(lines)))

    def policy(self, authority: str = "kz-kgd") -> bytes:
        groups = tuple(
            Group(country.lower(), 1, tuple(f"{name}-{number}" for number in (1, 2))) for name, country in SIDES
        )
        return format_policy(
            Policy(
                (Log(log_verifier(ORIGIN, self.log_signers[authority].public_key)),),
                tuple(
                    Witness(name, cosigner_verifier(name, signer.public_key)) for name, signer in self.cosigners.items()
                ),
                (*groups, Group("both", 2, ("kz", "cn"))),
                "both",
            )
        )
