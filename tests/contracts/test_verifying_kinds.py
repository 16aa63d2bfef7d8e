"""`comity verify` of transparent statements, status proofs and passes: what holds, and what was not checked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from contracts.verifying import Context, Verification, kind_of, verify_file
from ledger.errors import Untrue
from ledger.merkle import leaf_hash
from ledger.proof_check import Verdict
from ledger.receipt import format_transparent, verify_receipt
from ledger.status_proof import verify_status_proof
from tests.contracts import corridor as c
from tests.contracts.proving import AT_S, MOVEMENT, PARSED, POLICY, SIGNERS, beside, forged, signed, started
from tests.ledger import corridor
from tests.ledger.mutations import mutations

TRANSPARENT = format_transparent(corridor.STATEMENT.raw, [started().receipt(name) for name in SIGNERS])
STATUS = started().status(MOVEMENT).encode()
FACTS = started().facts()
PASS = signed(FACTS).encode()
CONTEXT = Context(POLICY, AT_S)
FILES = {"transparent-statement": TRANSPARENT, "status-proof": STATUS, "pass": PASS}


def verified(data: bytes, context: Context = CONTEXT) -> Verification:
    return verify_file(data, "", context)


def failing(found: Verification) -> dict[str, str]:
    return {check.name: check.detail for check in found.checks if check.verdict is Verdict.FAILS}


@pytest.mark.parametrize("kind", FILES)
def test_a_good_file_is_known_by_its_content_and_holds_and_says_what_was_not_checked(kind: str) -> None:
    found = verified(FILES[kind])
    assert found.kind == kind
    assert found.holds, failing(found)
    assert found.not_checked
    assert found.facts


@pytest.mark.parametrize("kind", FILES)
def test_no_altered_file_holds_and_none_raises(kind: str) -> None:
    step = {"transparent-statement": 3, "status-proof": 9, "pass": 3}[kind]
    ignored = started().note.split(b"\n")[5]  # of the other authority's log key, unknown to this policy
    for what, altered in mutations(FILES[kind], step=step):
        found = verify_file(altered, f"a.{kind}", CONTEXT)
        if found.holds:
            assert kind == "status-proof", what
            at = int(what.removeprefix("bit of byte "))
            start = STATUS.index(ignored)
            assert start <= at < start + len(ignored), what


@pytest.mark.parametrize("kind", FILES)
def test_under_a_policy_of_other_keys_nothing_holds(kind: str) -> None:
    other = corridor.policy_text("kz").replace(b"quorum both", b"quorum kz-kgd-2")
    assert "quorum_not_met" in " ".join(failing(verified(FILES[kind], Context(other, AT_S))).values())


@pytest.mark.parametrize("kind", FILES)
def test_without_a_policy_each_check_that_needs_one_says_so(kind: str) -> None:
    found = verified(FILES[kind], Context(b"nonsense", AT_S))
    assert "policy" in failing(found)
    assert any(check.verdict is Verdict.NOT_REACHED for check in found.checks)
    assert not found.holds


def test_a_statement_by_itself_is_told_to_fetch_its_proof() -> None:
    found = verify_file(corridor.STATEMENT.raw, "a.cose", CONTEXT)
    assert found.kind == "transparent-statement"
    assert "proves nothing" in failing(found)["statement"]


def test_the_receipts_of_one_side_are_named_and_are_not_enough() -> None:
    one = format_transparent(corridor.STATEMENT.raw, [started().receipt("kz-kgd-1")])
    assert "missing kz-kgd-2, cn-gacc-1, cn-gacc-2" in failing(verified(one))["quorum"]


def test_index_and_size_of_a_receipt_are_not_told_for_nobody_signed_them() -> None:
    """Another index in a tree of another size leads to the same root by the same hashes."""
    leaf = leaf_hash(corridor.STATEMENT.raw)
    own = started().receipt(SIGNERS[0])

    def leads_there(index: int, size: int) -> bool:
        with suppress(Untrue):
            return verify_receipt(replace(own, index=index, size=size), leaf, PARSED) is not None
        return False

    others = {(index, size) for size in range(1, 40) for index in range(size) if leads_there(index, size)}
    index, size = min(others - {(own.index, own.size)})
    moved = [replace(started().receipt(name), index=index, size=size) for name in SIGNERS]
    found = verified(format_transparent(corridor.STATEMENT.raw, moved))
    honest = verified(TRANSPARENT)
    assert found.holds
    assert (found.checks, found.facts) == (honest.checks, honest.facts)
    assert any("a receipt signs the root alone" in line for line in found.not_checked)


# --- status ----------------------------------------------------------------------------------------------------------


def test_a_status_is_said_in_a_sentence() -> None:
    sentences = {
        MOVEMENT: f"movement {c.MRN} is started, in the custody of kz-kgd",
        f"declaration/{c.UCR}": f"declaration {c.UCR} is released in version 1; its recognition is recognised",
        "registry/kz/truck/t-001": "participant kz/truck/t-001 of kz-kgd has the roles truck",
        "declaration/NOSUCH": "there is no declaration NOSUCH",
        "parameter/posts": "there is a record of parameter/posts",
    }
    for key, sentence in sentences.items():
        found = verified(started().status(key).encode())
        assert found.holds
        assert found.summary.endswith(sentence), found.summary
        assert "as of 2026-" in found.summary


def test_a_record_that_no_program_can_read_does_not_hold_though_it_is_proven() -> None:
    from tests.contracts.proving import Proven

    odd = Proven({**c.at("started").state.records, "escort/odd": b"\x80"}).status("escort/odd")
    assert list(failing(verified(odd.encode()))) == ["reading"]


@pytest.mark.parametrize(
    ("start", "signs"),
    [
        (f"declaration/{c.UCR}", "\u200b\u200c\u200d\u2060"),
        (f"escort/{c.MRN}", "\u200b\u200c\u200d\u2060"),
        ("registry/kz/truck/t-001", " \u00a0"),
        (f"declaration/{c.UCR}", " ~"),
        (f"escort/{c.MRN}", "0123456789"),
        ("Declaration/", "0123456789"),
    ],
)
def test_that_there_is_no_record_under_what_only_looks_like_a_key_is_refused(start: str, signs: str) -> None:
    """The proof holds to the last hash: the text was chosen for its place, beside the one record that its maker has."""
    fake = beside(started().status(MOVEMENT), start, signs)
    verify_status_proof(fake, PARSED)
    found = verified(fake.encode())
    assert list(failing(found)) == ["format"]
    assert (found.holds, found.summary, found.facts) == (False, "", {})


def test_a_key_that_a_terminal_would_obey_is_not_shown() -> None:
    odd = replace(started().status(MOVEMENT), key="declaration/X\x1b[2J\x1b[Hholds")
    found = verified(odd.encode())
    assert not found.holds
    assert all("\x1b" not in check.detail for check in found.checks)


# --- pass ------------------------------------------------------------------------------------------------------------

SEEN = Context(POLICY, AT_S, vehicle=FACTS.vehicle, containers=FACTS.containers, seals=FACTS.seals)


def test_what_the_gate_sees_is_compared_and_what_it_does_not_say_it_saw_is_named_as_not_checked() -> None:
    found = verified(PASS, SEEN)
    assert found.holds
    assert not any("--vehicle" in line or "--seal" in line for line in found.not_checked)
    unseen = verified(PASS)
    assert any("--vehicle" in line for line in unseen.not_checked)
    assert any("--seal" in line for line in unseen.not_checked)


@pytest.mark.parametrize(
    ("context", "name", "says"),
    [
        (replace(SEEN, vehicle="KZ/999XXX02"), "vehicle", f"expected {FACTS.vehicle}, got KZ/999XXX02"),
        (replace(SEEN, seals=()), "seals", "got none"),
        (replace(SEEN, containers=(c.make_container(77),)), "containers", "other containers"),
        (replace(SEEN, at_s=FACTS.until_s + 60), "time", "pass expired 60 s ago"),
        (replace(SEEN, at_s=FACTS.as_of_s - 3_600), "time", "not valid for another 3600 s"),
    ],
)
def test_another_vehicle_other_seals_or_another_time_is_a_clear_answer(context: Context, name: str, says: str) -> None:
    assert says in failing(verified(PASS, context))[name]


def test_a_pass_for_what_may_not_pass_says_why_though_both_sides_signed_it() -> None:
    declaration = FACTS.declarations[0]
    for changed, name, says in (
        (replace(FACTS, state="held"), "movement", "is held"),
        (replace(FACTS, truck_keys=()), "movement", "no key in force"),
        (replace(FACTS, declarations=(replace(declaration, recognition="suspended"),)), "goods", "is suspended"),
        (replace(FACTS, declarations=(replace(declaration, recognised=2),)), "goods", "recognised is 2"),
        (replace(FACTS, declarations=()), "goods", "no declaration"),
    ):
        found = verified(forged(changed).encode(), SEEN)
        assert says in failing(found)[name]
        assert not found.holds


def test_a_tlog_proof_called_a_pass_is_still_a_tlog_proof() -> None:
    kind = kind_of(b"c2sp.org/tlog-proof@v1\n", "a.pass")
    assert kind is not None
    assert kind.name == "tlog-proof"
