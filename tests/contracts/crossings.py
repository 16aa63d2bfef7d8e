"""A ledger on which real statements are executed and put into real blocks: what certificates are made from.

Always the same bytes: keys follow from names, times and identifiers are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from contracts.certificate import belongs, make_certificate
from contracts.execute import BlockExecution, genesis_state
from contracts.outcome import Outcome
from ledger.algorithms import PublicKey
from ledger.archive import export_archive
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.entry import BlockRecord, parse_entry
from ledger.note import ED25519, Note, NoteSigner, format_note, format_vkey
from ledger.statement import Statement, sign_statement
from ledger.status_proof import StatusProof
from ledger.store import MemoryStore
from tests.api import tales
from tests.contracts import corridor as c
from tests.ledger import corridor
from tests.ledger.test_formats_document import genesis

COSIGNERS = ("kz-kgd-1", "cn-gacc-2")
POLICY = corridor.policy_text("kz")
START_MS = corridor.TIME_S * 1000
BLOCK_MS = 61_000
Step = tuple[str, str, str, Mapping[str, Any]]  # kind, issuer, subject, payload


def check_signature(statement: Statement, key: PublicKey) -> None:
    key.verify(statement.to_be_signed(), statement.signature)


DECLARED: tuple[Step, ...] = tuple(
    (f"declaration.{event}", iss, c.UCR, payload) for event, iss, payload in c.DECLARATION_STEPS
)
CROSSED: tuple[Step, ...] = tuple((f"escort.{event}", iss, c.MRN, payload) for _, event, iss, payload in c.ESCORT_STEPS)


def registrar_of(name: str) -> str:
    return f"{'kz-kgd' if name.startswith('kz') else 'cn-gacc'}/registrar"


class RealLedger:
    """Chain, contracts and signatures as they are in service, in memory."""

    def __init__(self) -> None:
        self.chain = Chain.open(MemoryStore())
        self.genesis = replace(genesis(), parameters={})
        self.chain.initialise(self.genesis, genesis_state(self.genesis))
        self.time_ms = START_MS
        self._count = 0
        enrolments = [
            self.sign("registry.enrol", registrar_of(name), name, {"key": c.KEYS[name].cose_key, "roles": list(roles)})
            for name, (_, roles) in c.CAST.items()
        ]
        self.block(enrolments)

    def sign(self, kind: str, iss: str, sub: str, payload: Mapping[str, Any]) -> Statement:
        self._count += 1
        key = corridor_registrar(iss) if iss.endswith("/registrar") else tales.key_of(iss)
        cti = sha256(b"%d" % self._count).digest()[:16]
        members: dict[str | int, Any] = dict(payload.items())
        return sign_statement(
            key, kind=kind, iss=iss, sub=sub, iat_s=self.time_ms // 1000 + 1, cti=cti, payload=members
        )

    def block(self, statements: Iterable[Statement], *, step_ms: int = BLOCK_MS) -> None:
        self.time_ms += step_ms
        execution = BlockExecution(self.chain.state, self.time_ms, self.chain.height + 1)
        execution.begin()
        accepted = []
        for statement in statements:
            outcome = execution.execute(statement, check_signature)
            if outcome is not Outcome.ACCEPTED:
                raise AssertionError((statement.kind, outcome.fact, execution.detail))
            accepted.append(statement)
        self.chain.append_block(self.chain.applied + 1, self.time_ms, "kz-kgd-1", accepted, execution.changes)

    def send(self, *steps: Step) -> RealLedger:
        """Each step in a block of its own."""
        for kind, iss, sub, payload in steps:
            self.block([self.sign(kind, iss, sub, payload)])
        return self

    @property
    def size(self) -> int:
        return self.chain.size

    def note(self, *cosigners: str) -> bytes:
        return corridor.cosigned(
            Checkpoint(corridor.ORIGIN, self.chain.size, self.chain.root), *(cosigners or COSIGNERS)
        )

    def read_tile(self, level: int, index: int, width: int) -> bytes:
        from ledger.tiles import tile_path

        return self.chain.tile(tile_path(level, index, width))

    def entries(self, mrn: str = c.MRN, ucrs: tuple[str, ...] = (c.UCR,), record: bool = False) -> dict[int, bytes]:
        """What a certificate has, looked for without haste: every entry is asked for the record of its block."""
        chosen = {0: self.chain.entry(0)}
        for index in range(1, self.size):
            entry = parse_entry(self.chain.entry(index))
            if isinstance(entry, Statement) and belongs(entry, mrn, ucrs):
                closing = self.chain.block_of(index)
                chosen[index] = entry.raw
                chosen[closing.first + closing.count] = self.chain.entry(closing.first + closing.count)
        if record:
            chosen[self.size - 1] = self.chain.entry(self.size - 1)
        return chosen

    def record(self, mrn: str = c.MRN) -> tuple[bytes, bytes]:
        value = self.chain.state.get(f"escort/{mrn}")
        if value is None:
            raise AssertionError(f"no movement {mrn}")
        return value, self.chain.state.prove(f"escort/{mrn}").encode()

    def status_proof(self, key: str) -> bytes:
        """As validators give it, of the newest checkpoint."""
        index = self.size - 1
        path = tuple(self.chain.inclusion_proof(index, self.size))
        block = BlockRecord.decode(self.chain.entry(index))
        return StatusProof(
            key, self.chain.state.get(key), self.chain.state.prove(key), block, path, self.note()
        ).encode()

    def certificate(
        self,
        mrn: str = c.MRN,
        ucrs: tuple[str, ...] = (c.UCR,),
        *,
        record: bool = True,
        cosigners: tuple[str, ...] = (),
    ) -> bytes:
        entries = self.entries(mrn, ucrs, record)
        proven = self.record(mrn) if record else None
        return make_certificate(mrn, self.note(*cosigners), self.size, entries, self.read_tile, proven)

    def export(self, directory: Any) -> None:
        export_archive(self.chain, directory, POLICY, self.note())


def left_out(book: RealLedger, kind: str, *, record: bool = True, last: bool = False) -> bytes:
    """A certificate with hashes that fit, without the only statement of this kind, or the `last` one."""
    entries = book.entries(record=record)
    indexes = [at for at, raw in entries.items() if f"comity.{kind}.v1".encode() in raw]
    index = indexes[-1 if last else 0]
    closing = book.chain.block_of(index)
    gone = {index, closing.first + closing.count} - ({book.size - 1} if record else set())
    kept = {at: raw for at, raw in entries.items() if at not in gone}
    return make_certificate(c.MRN, book.note(), book.size, kept, book.read_tile, book.record() if record else None)


def with_new_log_key(book: RealLedger) -> tuple[bytes, bytes]:
    """The policy file after the log key was replaced, and a certificate whose checkpoint the new key signed."""
    key = NoteSigner(corridor.seed("kz log, the next"))
    checkpoint = Checkpoint(corridor.ORIGIN, book.size, book.chain.root)
    lines = [log_signature(key, checkpoint)]
    lines += [cosign(corridor.COSIGNERS[name], name, checkpoint, corridor.TIME_S) for name in COSIGNERS]
    note = format_note(Note(checkpoint_body(checkpoint), tuple(lines)))
    old = format_vkey(corridor.LOG_KEYS["kz"].verifier(corridor.ORIGIN, ED25519))
    policy = POLICY.replace(old.encode(), format_vkey(key.verifier(corridor.ORIGIN, ED25519)).encode())
    return policy, make_certificate(c.MRN, note, book.size, book.entries(record=True), book.read_tile, book.record())


def corridor_registrar(iss: str) -> Any:
    from ledger.algorithms import EDDSA, PrivateKey
    from ledger.algorithms.eddsa import Signer

    return PrivateKey(EDDSA, Signer(corridor.seed(iss)))


def crossed(last: str = "unload") -> RealLedger:
    """The happy path up to an event, and other people's traffic around it."""
    ledger = RealLedger()
    other = c.make_ucr(2)
    ledger.send(("declaration.lodge", "kz/declarant/other", other, lodging(other)))
    ledger.send(*DECLARED)
    ledger.send(("declaration.register", "kz-kgd/system", other, {}))
    events = [kind for kind, _, _, _ in CROSSED]
    count = len(events) - events[::-1].index(f"escort.{last}")
    ledger.send(*CROSSED[:count])
    return ledger.send(("declaration.reject", "kz-kgd/officer", other, {"reasons": ["illegible"]}))


def lodging(ucr: str, change: Callable[[dict[str, Any]], None] = lambda content: None) -> dict[str, Any]:
    content = c.content(containers=[])
    change(content)
    return {"home": "kz-kgd", "partner": "cn-gacc", "content": content}
