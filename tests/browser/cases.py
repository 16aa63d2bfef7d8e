"""Files good and tampered, of every kind that the verifying page knows, and what `comity verify` finds of each."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.crossing_story import told_in_a_certificate
from contracts.verifying import Context, Verification, verify_file
from ledger.proof import format_proof
from tests.api.epcis.test_document import TALES
from tests.contracts import corridor as c
from tests.contracts.crossings import DECLARED, RealLedger, crossed, left_out, with_new_log_key
from tests.contracts.proving import beside
from tests.ledger import corridor
from tests.ledger.test_formats_document import crossing as crossing_pass
from tests.ledger.test_formats_document import status

POLICY = corridor.policy_text("kz")
NOW_S = corridor.TIME_S + 60


@dataclass(frozen=True)
class Case:
    """One file as it is handed in."""

    name: str
    file: bytes
    statement: bytes | None = None
    policy: bytes = POLICY
    now_s: int = NOW_S

    def expected(self) -> Verification:
        return verify_file(self.file, self.name, Context(self.policy, self.now_s, self.statement))

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "policy": _text(self.policy),
            "file": _text(self.file),
            "statement": None if self.statement is None else _text(self.statement),
            "now": self.now_s,
        }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def good() -> tuple[Case, ...]:
    book = crossed()
    later, renewed = with_new_log_key(book)
    statement = corridor.STATEMENT.raw
    return (
        Case("a.tlog-proof", format_proof(corridor.PROOF), statement),
        Case("a.status-proof", status().encode()),
        Case("a.pass", crossing_pass().encode()),
        Case("a.crossing", book.certificate(record=False)),
        Case("recorded.crossing", book.certificate()),
        Case("alone.crossing", book.certificate(ucrs=())),
        Case("incident.crossing", _with_incident().certificate()),
        Case("renewed.crossing", renewed, policy=later),
        Case("way.crossing", crossed("offer").certificate(record=False)),
        Case("twice.crossing", _with_a_seal_read_twice().certificate()),
    )


@cache
def on_the_way() -> tuple[Case, ...]:
    """Every tale after each of its statements, with the movement's record; and the same without the last statement."""
    cases = []
    known = set()
    for name, steps in TALES.items():
        book = RealLedger().send(*DECLARED)
        for number, (kind, iss, payload) in enumerate(steps, 1):
            book.send((kind, iss, c.MRN, payload))
            way = repr(steps[:number])
            if told_in_a_certificate(kind) and way not in known:
                known.add(way)
                cases.append(Case(f"{name}, {kind}.crossing", book.certificate()))
                cases.append(Case(f"{name}, without {kind}.crossing", left_out(book, kind, last=True)))
    return tuple(cases)


@cache
def _with_incident() -> RealLedger:
    return crossed("start").send(("escort.incident", "kz/eseal/e-1", c.MRN, {"code": "05"}))


@cache
def _with_a_seal_read_twice() -> RealLedger:
    """Found broken, and then intact: it was not found intact, whatever was read last."""
    broken, intact = ({**c.readings()[0], "state": state} for state in ("broken", "intact"))
    reason = {"reason": "resealed at the border"}
    new = [{"id": "HS00000079", "class": "H"}]
    return crossed("offer").send(
        (
            "escort.accept_with_differences",
            "cn/terminal/baketu",
            c.MRN,
            {"seals": [broken, intact, *c.readings()[1:]], "mass_g": c.MASS},
        ),
        ("escort.resolve", "kz-kgd/officer", c.MRN, {"decision": "handed_over", "seals": new, **reason}),
        ("escort.resolve", "cn-gacc/officer", c.MRN, {"decision": "handed_over", **reason}),
    )


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


def _mutations(case: Case) -> Iterator[Case]:
    def but(change: Callable[[bytes], bytes]) -> Case:
        return Case(case.name, change(case.file), case.statement, case.policy, case.now_s)

    count = 4
    for n in range(count):
        at = (len(case.file) * (2 * n + 1)) // (2 * count)
        yield but(lambda data, at=at: flipped(data, at))  # type: ignore[misc]
        yield but(lambda data, at=at: data[:at])  # type: ignore[misc]
    yield but(lambda data: data + b"\x00")
    yield but(lambda data: data.replace(b"kz/truck/t-001", b"kz/truck/t-002"))
    yield but(lambda data: data.replace(b"kz-kgd-1", b"kz-kgd-2"))
    one_side = POLICY.replace(b"group cn any cn-gacc-1 cn-gacc-2", b"group cn all cn-gacc-1 cn-gacc-2")
    yield Case(case.name, case.file, case.statement, one_side)
    yield Case(case.name, case.file, case.statement, corridor.policy_text("cn"))
    yield Case(case.name, case.file, case.statement, POLICY[:-1])
    yield Case(case.name, case.file, case.statement, POLICY.replace(b"comity.example", b"comity.elsewhere"))


def spoilt() -> Case:
    """A certificate whose liable party is an escape sequence, an order to write backwards, and a verdict of its own."""
    evil = "\x1b[2J\u202e\n  9 holds".encode()
    file = crossed("start").certificate()
    if len(evil) != len(b"kz/carrier/steppe") or b"kz/carrier/steppe" not in file:
        raise AssertionError("the text that takes the place of another has to be as long")
    return Case("spoilt.crossing", file.replace(b"kz/carrier/steppe", evil))


@cache
def tampered() -> tuple[Case, ...]:
    cases = [mutated for case in good() for mutated in _mutations(case)]
    proof, a_status, a_pass, *_ = good()
    cases += [
        Case(proof.name, proof.file, flipped(proof.statement or b"", 200)),
        Case(proof.name, proof.file),
        Case(a_pass.name, a_pass.file, now_s=corridor.TIME_S + 1_801),
        Case(a_pass.name, a_pass.file, now_s=corridor.TIME_S - 61),
        Case(a_status.name, beside(status(), "declaration/KZ-2026-000123", "\u200b\u200c\u200d").encode()),
        Case(a_status.name, beside(status(), "Declaration/", "0123456789").encode()),
        Case(a_status.name, beside(status(), "escort/", "0123456789").encode()),
        Case("kept-back.crossing", left_out(_with_incident(), "escort.incident")),
        Case("holiday.jpg", b"\x89PNG"),
        Case("empty", b""),
    ]
    return tuple(cases)
