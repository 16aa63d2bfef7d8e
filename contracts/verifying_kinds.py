"""The checks of a transparent statement, a status proof and a crossing pass, in order and in plain words.

Promises: every check that can be made is made; one that cannot, because an earlier one failed, says what it needs;
nothing raises for bytes from outside. The rules themselves are those of `ledger.receipt`, `ledger.status_proof` and
`contracts.crossing_pass`; here they are only told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from contracts import crossing_pass
from contracts.crossing_pass import CrossingPass, check_seen, check_time, objections, parse_pass, verify_signatures
from contracts.identifiers import IdentifierError, parse_mrn, parse_participant_id, parse_ucr
from contracts.verifying import Checks, Context, Verification
from ledger import calendar
from ledger.errors import Malformed, Untrue
from ledger.merkle import leaf_hash
from ledger.note import parse_note
from ledger.policy import Policy, QuorumResult, parse_policy
from ledger.proof_check import NOT_CHECKED as OF_A_STATEMENT
from ledger.receipt import Transparent, parse_transparent, verify_receipt
from ledger.stateproof import verify_state_proof
from ledger.status_proof import StatusProof, parse_status_proof, verify_block_record

BAD = (Malformed, Untrue)
OF_RECEIPTS = (
    *OF_A_STATEMENT,
    "when it came onto the log: no time stands in a receipt; its tlog-proof has the times of both sides",
    "at which place and in a log of which size: a receipt signs the root alone; a tlog-proof has both under signatures",
)
OF_A_STATUS = (
    "whether there is anything newer: the record is as of the checkpoint; ask for another proof, and compare",
    "what is not on the ledger: private fields are commitments here, and what was never sent is nowhere",
)
OF_A_PASS = (
    "what happened since it was signed: a gate without a network learns of a suspension when the pass has expired",
    "whether it was shown before, here or at another gate: keep a list of the passes let through until they expire",
)
_VEHICLE_NOT_CHECKED = "that the vehicle before you is the one in the pass: read its plate, and say it with --vehicle"
_LOAD_NOT_CHECKED = (
    "that its containers and seals are those in the pass: read them, and say them with --container, --seal"
)
_KEY_NOT_CHECKED = "that the truck has its key: a challenge that it signs would show it"


def time_text(at_s: int) -> str:
    return calendar.time_text(at_s, "%Y-%m-%d %H:%M:%SZ")


def _policy(checks: Checks, data: bytes) -> Policy | None:
    try:
        policy = parse_policy(data)
    except Malformed as error:
        checks.fails("policy", error)
        return None
    checks.holds("policy", policy.told)
    return policy


# --- transparent statement -------------------------------------------------------------------------------------------


def check_transparent(data: bytes, context: Context) -> Verification:
    """Check a statement by its COSE receipts."""
    checks = Checks()
    policy = _policy(checks, context.policy)
    transparent = None
    try:
        transparent = parse_transparent(data)
        statement = transparent.statement
        detail = f"{statement.kind} about {statement.sub}, by {statement.iss}, dated {time_text(statement.iat_s)} by it"
        checks.holds("statement", detail)
    except Malformed as error:
        without = " (a statement by itself proves nothing: fetch its receipts or its proof)" if _is_bare(data) else ""
        checks.fails("statement", f"{error}{without}")
    _receipts(checks, transparent, policy)
    return Verification("transparent-statement", checks.made, OF_RECEIPTS, _transparent_facts(transparent))


def _is_bare(data: bytes) -> bool:
    from ledger.statement import parse_statement

    with suppress(Malformed):
        parse_statement(data)
        return True
    return False


def _receipts(checks: Checks, transparent: Transparent | None, policy: Policy | None) -> None:
    if transparent is None or policy is None:
        checks.not_reached("receipts", "a policy and a transparent statement")
        checks.not_reached("quorum", "receipts")
        return
    leaf = leaf_hash(transparent.statement.raw)
    signed: list[str] = []
    strangers = 0
    try:
        for receipt in transparent.receipts:
            name = verify_receipt(receipt, leaf, policy)
            signed += [] if name is None else [name]
            strangers += name is None
    except BAD as error:
        checks.fails("receipts", error)
        checks.not_reached("quorum", "receipts that all hold")
        return
    by = ", ".join(signed) or "nobody that the policy knows"
    unknown = f"; {strangers} of unknown keys" if strangers else ""
    checks.holds("receipts", f"by {by}: an entry of {transparent.receipts[0].origin}{unknown}")
    _enough(checks, policy, tuple(signed))


def _enough(checks: Checks, policy: Policy, signed: tuple[str, ...]) -> None:
    from ledger.attestation import check_enough

    try:
        check_enough(policy, signed)
        checks.holds("quorum", f"{policy.quorum}: signed by {', '.join(signed)}")
    except Untrue as error:
        checks.fails("quorum", error)


def _transparent_facts(transparent: Transparent | None) -> dict[str, Any]:
    if transparent is None:
        return {}
    statement = transparent.statement
    return {
        "statement": {
            "id": statement.id_hex,
            "kind": statement.kind,
            "issuer": statement.iss,
            "subject": statement.sub,
            "iat_s": statement.iat_s,
        },
        # Not index and size: nobody signed them.
        "receipts": [{"signer": each.signer, "origin": each.origin} for each in transparent.receipts],
    }


# --- status proof ----------------------------------------------------------------------------------------------------

# What people call the records of each prefix.
_SORTS = {"declaration": "declaration", "escort": "movement", "registry": "participant"}
# What their names are. Only of such a name is it proven that there is no record.
_NAMES: dict[str, Callable[[str], object]] = {
    "declaration": parse_ucr,
    "escort": parse_mrn,
    "registry": parse_participant_id,
}


def check_status_proof(data: bytes, context: Context) -> Verification:
    """Check what the state said of one record."""
    checks = Checks()
    policy = _policy(checks, context.policy)
    proof = None
    try:
        parsed = parse_status_proof(data)
        _check_key(parsed)
        proof = parsed
        said = "no record" if proof.value is None else f"a record of {len(proof.value)} bytes"
        checks.holds("format", f"{said} under {proof.key}")
    except Malformed as error:
        checks.fails("format", error)
    result = _weighed(checks, policy, proof)
    _block(checks, proof)
    _record_proven(checks, proof)
    facts: dict[str, Any] = {}
    if proof is not None:
        facts = {
            "key": proof.key,
            "present": proof.value is not None,
            "height": proof.block.height,
            "block_time_ms": proof.block.time_ms,
            "tree_size": proof.checkpoint.size,
            "cosigned_at_s": dict(result.timestamps) if result else {},
            "record": _view(checks, proof),
        }
    return Verification("status-proof", checks.made, OF_A_STATUS, facts, _status_summary(proof, facts))


def _check_key(proof: StatusProof) -> None:
    """Malformed for a key that only looks like one: any text has a place in the state map, and most places are empty.

    So who has the proof of one record finds a text that looks like the name of another, has a place beside it, and is
    nowhere on record: that there is none under such a key says nothing of the record that it looks like.
    """
    if not (proof.key.isascii() and proof.key.isprintable()):
        raise Malformed("bad_status_proof", f"key must be printable ASCII: got {ascii(proof.key)[:80]}")
    if proof.value is not None:
        return
    prefix, _, name = proof.key.partition("/")
    if prefix not in _NAMES:
        raise Malformed("bad_status_proof", f"key of no record must be of {', '.join(_NAMES)}: got {proof.key[:80]}")
    try:
        _NAMES[prefix](name)
    except IdentifierError as error:
        raise Malformed("bad_status_proof", f"key is of no record that there can be: {error}") from error


def _weighed(checks: Checks, policy: Policy | None, proof: StatusProof | None) -> QuorumResult | None:
    if policy is None or proof is None:
        checks.not_reached("checkpoint", "a policy and a status proof")
        return None
    try:
        result = policy.check(parse_note(proof.checkpoint_note))
        result.check()
    except BAD as error:
        checks.fails("checkpoint", error)
        return None
    signed = ", ".join(f"{name} at {time_text(at_s)}" for name, at_s in result.timestamps.items())
    origin = f"{result.checkpoint.origin}, {result.checkpoint.size} entries"
    checks.holds("checkpoint", f"{origin}; {result.quorum}: cosigned by {signed or 'nobody, as the policy allows'}")
    return result


def _block(checks: Checks, proof: StatusProof | None) -> None:
    if proof is None:
        checks.not_reached("block", "a status proof")
        return
    try:
        verify_block_record(proof, proof.checkpoint)
    except BAD as error:
        checks.fails("block", error)
        return
    when = time_text(proof.block.time_ms // 1000)
    checks.holds("block", f"block {proof.block.height} of {when} is the last entry of that tree")


def _record_proven(checks: Checks, proof: StatusProof | None) -> None:
    if proof is None:
        checks.not_reached("record", "a status proof")
        return
    try:
        verify_state_proof(proof.block.state_root, proof.key, proof.value, proof.state_proof)
    except BAD as error:
        checks.fails("record", error)
        return
    said = "has no record" if proof.value is None else "has exactly this record"
    checks.holds("record", f"the state after that block {said} under {proof.key}")


def _view(checks: Checks, proof: StatusProof) -> dict[str, Any] | None:
    prefix = proof.key.partition("/")[0]
    if proof.value is None or prefix not in _SORTS:
        return None
    from contracts.working import UnreadableRecord

    try:
        return _read(prefix, proof.value)
    except (UnreadableRecord, Malformed, ValueError, TypeError, IndexError, KeyError) as error:
        checks.fails("reading", f"the record is of no form that this program knows: {type(error).__name__}")
        return None


def _read(prefix: str, value: bytes) -> dict[str, Any]:
    from contracts.views import declaration_view, movement_view, participant_view

    if prefix == "declaration":
        from contracts.declaration_record import decode_declaration

        return declaration_view(decode_declaration(value))
    if prefix == "escort":
        from contracts.movement import decode_movement

        return movement_view(decode_movement(value))
    from contracts.registry import decode_participant

    return participant_view(decode_participant(value))


def _status_summary(proof: StatusProof | None, facts: dict[str, Any]) -> str:
    if proof is None:
        return ""
    sort, _, name = proof.key.partition("/")
    what = f"{_SORTS[sort]} {name}" if sort in _SORTS else proof.key
    as_of = f"as of {time_text(proof.block.time_ms // 1000)} (block {proof.block.height})"
    record = facts.get("record")
    if proof.value is None:
        return f"{as_of} there is no {what}"
    if record is None:
        return f"{as_of} there is a record of {what}"
    if sort == "declaration":
        return (
            f"{as_of} {what} is {record['status']} in version {record['version']}; "
            f"its recognition is {record['recognition']['state']}"
        )
    if sort == "escort":
        return f"{as_of} {what} is {record['state']}, in the custody of {record['custody']['authority']}"
    return f"{as_of} {what} of {record['authority']} has the roles {', '.join(record['roles'])}"


# --- crossing pass ---------------------------------------------------------------------------------------------------


def check_pass(data: bytes, context: Context) -> Verification:
    """Check whether a pass lets a truck through, here and now."""
    checks = Checks()
    policy = _policy(checks, context.policy)
    crossing = None
    try:
        crossing = parse_pass(data)
        facts = crossing.facts
        checks.holds("format", f"movement {facts.mrn} on {facts.vehicle}, {facts.exit_post} to {facts.entry_post}")
    except Malformed as error:
        checks.fails("format", error)
    _pass_signatures(checks, crossing, policy)
    if crossing is None:
        for name in ("time", "movement", "goods"):
            checks.not_reached(name, "a pass")
        return Verification("pass", checks.made, OF_A_PASS)
    not_checked = _pass_says(checks, crossing, context)
    return Verification("pass", checks.made, not_checked, pass_view(crossing), _pass_summary(crossing))


def _pass_signatures(checks: Checks, crossing: CrossingPass | None, policy: Policy | None) -> None:
    if crossing is None or policy is None:
        checks.not_reached("signatures", "a policy and a pass")
        return
    try:
        names = verify_signatures(crossing, policy)
    except BAD as error:
        checks.fails("signatures", error)
        return
    facts = crossing.facts
    checks.holds(
        "signatures", f"{policy.quorum}: signed by {', '.join(names)}, from entry {facts.size} of {facts.origin}"
    )


def _pass_says(checks: Checks, crossing: CrossingPass, context: Context) -> tuple[str, ...]:
    """What the pass says, held against what is asked and seen; returns what was not checked."""
    facts = crossing.facts
    try:
        check_time(facts, context.at_s)
        checks.holds("time", f"as of {time_text(facts.as_of_s)}, counts until {time_text(facts.until_s)}")
    except Untrue as error:
        checks.fails("time", f"{error}; it counts from {time_text(facts.as_of_s)} until {time_text(facts.until_s)}")
    refused = objections(facts)
    of_goods = [why for each in facts.declarations if (why := each.objection()) is not None]
    of_movement = [why for why in refused if why not in of_goods]
    if of_movement:
        checks.fails("movement", "; ".join(of_movement))
    else:
        checks.holds("movement", f"{facts.mrn} is {facts.state}, in the custody of {facts.custody}")
    if of_goods or not facts.declarations:
        checks.fails("goods", "; ".join(of_goods) or "the pass has no declaration")
    else:
        named = ", ".join(f"{each.ucr} (version {each.version})" for each in facts.declarations)
        checks.holds("goods", f"released, recognised in the version planned with, not suspended: {named}")
    not_checked = list(OF_A_PASS)
    if context.vehicle is None:
        not_checked.append(_VEHICLE_NOT_CHECKED)
    else:
        _seen(checks, "vehicle", (facts.vehicle,), (context.vehicle,))
    if context.containers is None or context.seals is None:
        not_checked.append(_LOAD_NOT_CHECKED)
    if context.containers is not None:
        _seen(checks, "containers", facts.containers, context.containers)
    if context.seals is not None:
        _seen(checks, "seals", facts.seals, context.seals)
    return (*not_checked, _KEY_NOT_CHECKED)


def _seen(checks: Checks, what: str, said: tuple[str, ...], seen: tuple[str, ...]) -> None:
    try:
        check_seen(what, said, seen)
        checks.holds(what, f"as seen: {', '.join(sorted(seen)) or 'none'}")
    except Untrue as error:
        checks.fails(what, error)


def pass_view(crossing: CrossingPass) -> dict[str, Any]:
    """A pass as plain data."""
    facts = crossing.facts
    return {
        "origin": facts.origin,
        "tree_size": facts.size,
        "root": facts.root.hex(),
        "as_of_s": facts.as_of_s,
        "until_s": facts.until_s,
        "mrn": facts.mrn,
        "state": facts.state,
        "custody": facts.custody,
        "exit_post": facts.exit_post,
        "entry_post": facts.entry_post,
        "truck": facts.truck,
        "truck_keys": [kid.hex() for kid in facts.truck_keys],
        "vehicle": facts.vehicle,
        "containers": list(facts.containers),
        "seals": list(facts.seals),
        "declarations": [
            {
                "ucr": each.ucr,
                "version": each.version,
                "planned_version": each.planned,
                "status": each.status,
                "recognition": each.recognition,
                "recognised_version": each.recognised,
            }
            for each in facts.declarations
        ],
        "signers": [kid.hex() for kid, _ in crossing.signatures],
        "may_pass": not crossing_pass.objections(facts),
    }


def _pass_summary(crossing: CrossingPass) -> str:
    facts = crossing.facts
    seals = ", ".join(facts.seals) or "none"
    containers = ", ".join(facts.containers) or "none"
    return f"compare: vehicle {facts.vehicle}; containers {containers}; seals {seals}"
