"""The formats whose damaged files are tried, each with a good file: a row in `FORMATS` is all that a new one needs.

`read` is everything that is done with such a file before it is believed; what it returns is what the file says. It may
raise nothing but `Malformed` and `Untrue`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from api.envelope import parse_envelope
from contracts.certificate import parse_certificate
from contracts.commitments import Opening
from contracts.crossing_pass import parse_pass, verify_pass
from contracts.disclosure import Disclosure, parse_disclosure
from contracts.telemetry import Fix, encode_telemetry, parse_telemetry
from ledger import cbor
from ledger.algorithms import EDDSA, PrivateKey, PublicKey
from ledger.algorithms.eddsa import Signer
from ledger.entry import BlockRecord, Genesis
from ledger.errors import Malformed
from ledger.evidence import decode_evidence
from ledger.membership import Register, newcomer, sign_change, verify_change
from ledger.note import COSIGNATURE_V1, NoteSigner, format_vkey, parse_note, parse_vkey
from ledger.policy import format_policy, parse_policy, verify_checkpoint
from ledger.proof import format_proof, parse_proof, verify_proof
from ledger.receipt import parse_transparent, verify_transparent
from ledger.snapshot import Descriptor
from ledger.statemap import StateMap
from ledger.statement import parse_statement, verify_statement
from ledger.stateproof import verify_state_proof
from ledger.status_proof import parse_status_proof, verify_status_proof
from ledger.store import MemoryStore
from ledger.tiles import decode_entry_bundle, encode_entry_bundle, parse_tile_path, tile_path
from nodes.blocks import decode_block, encode_block
from tests.corpus.mutations import Rule, as_bytes, as_cbor, as_text
from tests.ledger import corridor
from tests.ledger.test_formats_document import CROSSING, block_record, crossing, genesis, status, transparent, two_roots

BYTES = (as_bytes,)
TEXT = (as_bytes, as_text)
CBOR = (as_bytes, as_cbor)


@dataclass(frozen=True)
class Format:
    """One format, a good file of it, and how such files are read."""

    name: str
    good: bytes
    read: Callable[[bytes], object]
    rules: tuple[Rule, ...]
    # Writes what was read, for formats that no signature covers: a change may make another good file of those, which
    # must then be its one spelling. None: whatever is changed must be refused.
    write: Callable[[Any], bytes] | None = None
    # False: comments and spaces are allowed, so that what was read can be spelled otherwise.
    one_spelling: bool = True
    # Tells of changed bytes that they say the same, by the format's own rules.
    ignored: Callable[[bytes], bool] = lambda _: False


# A note whose every line the policy knows: lines of unknown keys are ignored, whatever they hold.
_POLICY = parse_policy(corridor.policy_text("kz"))
_NOTE = corridor.cosigned(corridor.CHECKPOINT, "kz-kgd-1", "cn-gacc-2", logs=("kz",))
_PROOF = format_proof(replace(corridor.PROOF, checkpoint_note=_NOTE, extra=b"seen at the gate"))


def _only_repeats_lines(data: bytes) -> bool:
    note, good = parse_note(data), parse_note(_NOTE)
    return note.text == good.text and set(note.signatures) == set(good.signatures)


def _differs_only_in_extra(data: bytes) -> bool:
    proof, good = parse_proof(data), parse_proof(_PROOF)
    return replace(proof, extra=None, checkpoint_note=b"") == replace(
        good, extra=None, checkpoint_note=b""
    ) and _only_repeats_lines(proof.checkpoint_note)


def _proof(data: bytes) -> object:
    proof = parse_proof(data)
    return verify_proof(proof, corridor.STATEMENT.id, _POLICY), proof.index


def _statement(data: bytes) -> object:
    statement = parse_statement(data)
    verify_statement(statement, corridor.TRUCK.public)
    return statement.payload


def _ascii(data: bytes) -> str:
    """As whoever reads a line of a file or of an address does it."""
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("not_ascii", "no text of ascii") from error


def _state() -> StateMap:
    store = MemoryStore()
    state = StateMap(store)
    update = state.update({f"movement/{number:04}": b"record %d" % number for number in range(300)})
    store.write(update.writes, sync=True)
    state.adopt(update)
    return state


_STATE = _state()


def _record(data: bytes) -> object:
    verify_state_proof(_STATE.root, "movement/0007", b"record 7", data)
    return True


def _absence(data: bytes) -> object:
    verify_state_proof(_STATE.root, "movement/none", None, data)
    return False


# --- the membership ---------------------------------------------------------------------------------------------------

_REGISTRARS = [PrivateKey(EDDSA, Signer(corridor.seed(f"{name}/registrar"))) for name in ("kz-kgd", "cn-gacc")]


def _transparent(data: bytes) -> object:
    return sorted(verify_transparent(parse_transparent(data), _POLICY))


def _only_moves_receipts(data: bytes) -> bool:
    """Receipts stand in any order, as the lines of a note do."""
    changed, good = parse_transparent(data), parse_transparent(transparent())
    return changed.statement == good.statement and set(changed.receipts) == set(good.receipts)


def _only_moves_signatures(data: bytes) -> bool:
    changed, good = parse_pass(data), crossing()
    return changed.facts == good.facts and set(changed.signatures) == set(good.signatures)


def _status_proof() -> bytes:
    """Without the line of the other authority's log key, which this policy does not know."""
    proof = status()
    note = corridor.cosigned(proof.checkpoint, "kz-kgd-1", "cn-gacc-2", logs=("kz",))
    return replace(proof, checkpoint_note=note).encode()


def _status(data: bytes) -> object:
    return verify_status_proof(parse_status_proof(data), _POLICY)


def _pass(data: bytes) -> object:
    return sorted(verify_pass(parse_pass(data), _POLICY, corridor.TIME_S))


def _change() -> bytes:
    key = format_vkey(NoteSigner(corridor.seed("kz-kgd-3")).verifier("kz-kgd-3", COSIGNATURE_V1))
    step = newcomer("kz-kgd-3", "kz-kgd", "10.0.0.3:7001", key)
    data = Register.of_genesis(genesis()).change([step]).text().encode()
    for registrar in _REGISTRARS:
        data = sign_change(data, registrar, genesis())
    return data


def _write(value: Any) -> bytes:
    """Of what has a method for it."""
    return bytes(value.encode())


# --- what belongs to statements and is known by a hash in them --------------------------------------------------------

_FIXES = [
    Fix(corridor.TIME_S * 1000 + 1000 * n, 46_000_000 + n, 82_000_000 - n, None if n % 2 else n) for n in range(4)
]
_OPENINGS = (Opening("consignee", bytes(range(16)), "Mill"), Opening("value", bytes(range(1, 17)), 12))
_ENVELOPE = cbor.encode(
    (1, "19GBCKKCQSXV2FGVA8", (("cn-gacc", bytes(32), bytes(100)), ("kz-kgd", bytes(32), bytes(100))))
)
_ENTRIES = [b"a", b"", b"bc", corridor.STATEMENT.raw, bytes(300)]
_DESCRIPTOR = Descriptor(11, 4, 20, bytes(32), _NOTE, (bytes(32),) * 3, bytes(32) * 11)

FORMATS: tuple[Format, ...] = (
    Format("checkpoint", _NOTE, lambda data: verify_checkpoint(data, _POLICY), TEXT, ignored=_only_repeats_lines),
    Format("tlog-proof", _PROOF, _proof, TEXT, ignored=_differs_only_in_extra),
    Format("policy", corridor.policy_text("kz"), parse_policy, TEXT, format_policy, one_spelling=False),
    Format("vkey", format_vkey(_POLICY.witnesses[0].key).encode(), lambda data: parse_vkey(_ascii(data)), TEXT),
    Format("statement", corridor.STATEMENT.raw, _statement, CBOR),
    Format("state-proof", _STATE.prove("movement/0007").encode(), _record, CBOR),
    Format("state-proof-of-absence", _STATE.prove("movement/none").encode(), _absence, CBOR),
    Format("transparent-statement", transparent(), _transparent, CBOR, ignored=_only_moves_receipts),
    Format("status-proof", _status_proof(), _status, CBOR),
    Format("pass", crossing().encode(), _pass, CBOR, ignored=_only_moves_signatures),
    Format("evidence", two_roots().encode(), decode_evidence, CBOR, _write),
    Format("crossing-certificate", CROSSING.read_bytes(), parse_certificate, BYTES, _write),
    Format("membership-change", _change(), lambda data: verify_change(genesis(), data), TEXT),
    Format("cose-key", corridor.TRUCK.public.cose_key, PublicKey.from_cose_key, CBOR, lambda key: key.cose_key),
    Format("genesis", genesis().encode(), Genesis.decode, CBOR, _write),
    Format("block-record", block_record().encode(), BlockRecord.decode, CBOR, _write),
    Format("snapshot-descriptor", _DESCRIPTOR.encode(), Descriptor.decode, CBOR, _write),
    Format(
        "entry-bundle",
        encode_entry_bundle(_ENTRIES),
        lambda data: decode_entry_bundle(data, len(_ENTRIES)),
        BYTES,
        encode_entry_bundle,
    ),
    Format(
        "tile-path",
        tile_path(1, 1234067, 17).encode(),
        lambda data: parse_tile_path(_ascii(data)),
        TEXT,
        lambda parts: tile_path(*parts).encode(),
    ),
    Format(
        "block",
        encode_block("kz-kgd-1", corridor.TIME_S * 1000, [corridor.STATEMENT.raw]),
        decode_block,
        CBOR,
        lambda block: encode_block(block.proposer, block.time_ms, block.statements),
    ),
    Format("telemetry", encode_telemetry(_FIXES), parse_telemetry, CBOR, encode_telemetry),
    Format("envelope", _ENVELOPE, parse_envelope, CBOR, _write),
    Format(
        "disclosure", Disclosure(corridor.STATEMENT.raw, _PROOF, _OPENINGS).encode(), parse_disclosure, CBOR, _write
    ),
)
