"""A statement that is on the log, as SCITT has it: a transparent statement (RFC 9943) with COSE receipts (RFC 9942).

    transparent = 18([ protected, {394: [h'receipt', ...]}, payload, signature ])
    receipt     = 18([ h'{1: alg, 4: kid, 15: {1: validator, 2: origin}, 16: type, 395: 1}',
                       {396: {-1: [h'[size, index, [hash, ...]]']}}, null, h'signature' ])

A receipt is a validator's signature of the root of the log's tree (detached: who verifies has to compute it from the
statement and the path) under the Sig_structure of RFC 9052 section 4.4. The tree is RFC9162_SHA256, which is our own.

Promises: the statement in it is byte for byte what stands on the log, but for the header that nothing vouches for; with
that emptied, its hash is the leaf and the statement's id. One spelling, as everywhere. `verify_transparent` believes
the witnesses of a policy and nothing else: which receipts are enough is the policy's quorum, as for a checkpoint.

Does not: say when, as no time stands in a receipt; vouch for index and size, as the root alone is signed and another
pair may lead to it by the same hashes; carry receipts of other services; check the statement's own
signature, which both authorities did before they cosigned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import cbor
from ledger.algorithms import EDDSA, KID_BYTES
from ledger.attestation import ALG, KID, check_enough, check_kids, check_log, kid_of, members, witness_of
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import HASH_BYTES, MAX_TREE_SIZE, inclusion_root, leaf_hash
from ledger.note import NoteSigner, is_key_name
from ledger.policy import Policy
from ledger.statement import MAX_STATEMENT_BYTES, Statement, parse_statement

MAX_RECEIPTS = 16
MAX_RECEIPT_HASHES = 63
MAX_RECEIPT_BYTES = 4096
MAX_RECEIPT_PROTECTED_BYTES = 1024
MAX_TRANSPARENT_BYTES = MAX_STATEMENT_BYTES + MAX_RECEIPTS * (MAX_RECEIPT_BYTES + 3) + 16
SIGNATURE_BYTES = 64
RECEIPT_TYPE = "application/scitt-receipt+cose"

_CWT_CLAIMS, _TYP = 15, 16
_ISS, _SUB = 1, 2
_RECEIPTS, _VDS, _VDP = 394, 395, 396
_RFC9162_SHA256 = 1
_INCLUSION = -1
_TAG = b"\xd2"  # 18, COSE_Sign1


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a validator vouches for a tree of a log, and where in it an entry stands."""

    signer: str  # the key name of the validator
    origin: str  # of the log
    kid: bytes
    size: int
    index: int
    hashes: tuple[bytes, ...]  # the leaf's sibling first
    signature: bytes

    def encode(self) -> bytes:
        """Return the receipt as it is stored and sent. Misuse if it breaks a rule of the format."""
        path = cbor.encode([self.size, self.index, list(self.hashes)])
        proofs: dict[int, cbor.Encodable] = {_VDP: {_INCLUSION: [path]}}
        raw = _TAG + cbor.encode([_protected(self.signer, self.origin, self.kid), proofs, None, self.signature])
        try:
            parse_receipt(raw)
        except Malformed as error:
            raise Misuse(f"no such receipt can be: {error}") from error
        return raw


@dataclass(frozen=True, slots=True)
class Transparent:
    """A statement as it stands on the log, and its receipts."""

    statement: Statement
    receipts: tuple[Receipt, ...]


def _protected(signer: str, origin: str, kid: bytes) -> bytes:
    return cbor.encode(
        {
            ALG: EDDSA,
            KID: kid,
            _CWT_CLAIMS: {_ISS: signer, _SUB: origin},
            _TYP: RECEIPT_TYPE,
            _VDS: _RFC9162_SHA256,
        }
    )


def receipt_message(signer: str, origin: str, kid: bytes, root: bytes) -> bytes:
    """Return what a validator signs: the same for every statement of a tree."""
    return cbor.encode(["Signature1", _protected(signer, origin, kid), b"", root])


def sign_receipt(key: NoteSigner, signer: str, origin: str, root: bytes) -> bytes:
    """Return a validator's signature of a root, 64 bytes. The caller has the root cosigned by both authorities."""
    if not is_key_name(signer) or not is_key_name(origin) or len(root) != HASH_BYTES:
        raise Misuse(f"no such receipt can be: signer {signer!r}, origin {origin!r}, root of {len(root)} bytes")
    return key.sign(receipt_message(signer, origin, kid_of(key.public_key), root))


def parse_receipt(data: bytes) -> Receipt:
    """Return the receipt that the bytes are; Malformed unless they are its one spelling. Nothing is verified."""
    protected, unprotected, payload, signature = _sign1(data, "bad_receipt", "receipt", MAX_RECEIPT_BYTES)
    header = members(
        "bad_receipt", "receipt header", protected, {ALG, KID, _CWT_CLAIMS, _TYP, _VDS}, MAX_RECEIPT_PROTECTED_BYTES
    )
    kid, claims = header[KID], header[_CWT_CLAIMS]
    if (header[ALG], header[_TYP], header[_VDS]) != (EDDSA, RECEIPT_TYPE, _RFC9162_SHA256):
        raise Malformed(
            "bad_receipt", f"receipt must be of {EDDSA}, {RECEIPT_TYPE} and tree {_RFC9162_SHA256}: got others"
        )
    if type(kid) is not bytes or len(kid) != KID_BYTES:
        raise Malformed("bad_receipt", f"kid of a receipt must be {KID_BYTES} bytes")
    if type(claims) is not dict or claims.keys() != {_ISS, _SUB}:
        raise Malformed("bad_receipt", "claims of a receipt must be exactly iss and sub")
    signer, origin = claims[_ISS], claims[_SUB]
    if type(signer) is not str or type(origin) is not str or not is_key_name(signer) or not is_key_name(origin):
        raise Malformed("bad_receipt", "iss and sub of a receipt must be key names")
    if payload is not None:
        raise Malformed("bad_receipt", "payload of a receipt must be detached: who verifies computes the root")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise Malformed("bad_receipt", f"signature of a receipt must be {SIGNATURE_BYTES} bytes")
    size, index, hashes = _inclusion(unprotected)
    return Receipt(signer, origin, kid, size, index, hashes, signature)


def _sign1(data: bytes, code: str, what: str, max_bytes: int) -> tuple[bytes, cbor.Value, cbor.Value, cbor.Value]:
    if len(data) > max_bytes:
        raise Malformed("too_large", f"{what} is too large: expected at most {max_bytes} bytes, got {len(data)}")
    if data[:1] != _TAG:
        raise Malformed("wrong_tag", f"{what} must start with tag 18 (cose_sign1): got {data[:1].hex() or 'nothing'}")
    items = cbor.decode(data[1:], max_bytes=max_bytes)
    if type(items) is not list or len(items) != 4 or type(items[0]) is not bytes:
        raise Malformed(code, f"{what} must be an array of four that begins with a byte string")
    return items[0], items[1], items[2], items[3]


def _inclusion(unprotected: cbor.Value) -> tuple[int, int, tuple[bytes, ...]]:
    proofs = unprotected.get(_VDP) if type(unprotected) is dict and unprotected.keys() == {_VDP} else None
    paths = proofs.get(_INCLUSION) if type(proofs) is dict and proofs.keys() == {_INCLUSION} else None
    if type(paths) is not list or len(paths) != 1 or type(paths[0]) is not bytes:
        raise Malformed("bad_receipt", "receipt must have one inclusion proof, and nothing else, in its open header")
    items = cbor.decode(paths[0], max_bytes=MAX_RECEIPT_BYTES)
    if type(items) is not list or len(items) != 3:
        raise Malformed("bad_receipt", "inclusion proof must be an array of size, index and hashes")
    size, index, hashes = items
    if type(size) is not int or type(index) is not int or not 0 <= index < size <= MAX_TREE_SIZE:
        raise Malformed("bad_receipt", f"inclusion proof must be of an index in its tree: got {index!r:.40}")
    if type(hashes) is not list or not 1 <= len(hashes) <= MAX_RECEIPT_HASHES:
        raise Malformed("bad_receipt", f"inclusion proof must have 1 to {MAX_RECEIPT_HASHES} hashes")
    path = []
    for each in hashes:
        if type(each) is not bytes or len(each) != HASH_BYTES:
            raise Malformed("bad_receipt", f"a hash of the inclusion proof is not {HASH_BYTES} bytes")
        path.append(each)
    return size, index, tuple(path)


def format_transparent(statement: bytes, receipts: Sequence[Receipt]) -> bytes:
    """Return the statement with its receipts. Misuse if it breaks a rule of the format."""
    items = cbor.decode(parse_statement(statement).raw[1:])
    if type(items) is not list:
        raise Misuse("no such statement can be")
    open_header: dict[int, cbor.Encodable] = {_RECEIPTS: [receipt.encode() for receipt in receipts]}
    raw = _TAG + cbor.encode([items[0], open_header, *items[2:]])
    try:
        parse_transparent(raw)
    except Malformed as error:
        raise Misuse(f"no such transparent statement can be: {error}") from error
    return raw


def parse_transparent(data: bytes) -> Transparent:
    """Return statement and receipts; Malformed unless the bytes are their one spelling. Nothing is verified."""
    what = "transparent statement"
    protected, unprotected, payload, signature = _sign1(data, "bad_transparent", what, MAX_TRANSPARENT_BYTES)
    if type(unprotected) is not dict or unprotected.keys() != {_RECEIPTS}:
        raise Malformed("bad_transparent", f"{what} must have receipts, and nothing else, in its open header")
    found = unprotected[_RECEIPTS]
    if type(found) is not list or not 1 <= len(found) <= MAX_RECEIPTS:
        raise Malformed("bad_transparent", f"{what} must have 1 to {MAX_RECEIPTS} receipts")
    statement = parse_statement(_TAG + cbor.encode([protected, {}, payload, signature]))
    receipts = []
    for raw in found:
        if type(raw) is not bytes:
            raise Malformed("bad_transparent", "a receipt is not a byte string")
        receipts.append(parse_receipt(raw))
    check_kids("bad_transparent", [receipt.kid for receipt in receipts])
    return Transparent(statement, tuple(receipts))


def verify_receipt(receipt: Receipt, leaf: bytes, policy: Policy) -> str | None:
    """Return the witness of the policy that vouches for the leaf; None for a key that the policy does not know.

    Untrue if the receipt is of a known key and does not hold.
    """
    check_log(policy, receipt.origin)
    witness = witness_of(policy, receipt.kid)
    if witness is None:
        return None
    if witness.key.name != receipt.signer:
        raise Untrue("bad_receipt", f"receipt is in another name: expected {witness.key.name}, got {receipt.signer}")
    root = inclusion_root(receipt.index, receipt.size, leaf, receipt.hashes)
    try:
        witness.key.verify(receipt_message(receipt.signer, receipt.origin, receipt.kid, root), receipt.signature)
    except Untrue as error:
        raise Untrue(
            "bad_receipt", f"receipt of {receipt.signer}: it did not sign a tree with this statement at {receipt.index}"
        ) from error
    return witness.name


def verify_transparent(transparent: Transparent, policy: Policy) -> tuple[str, ...]:
    """Return the witnesses that vouch for the statement; Untrue unless they are as many as the policy demands."""
    leaf = leaf_hash(transparent.statement.raw)
    signed = [verify_receipt(receipt, leaf, policy) for receipt in transparent.receipts]
    names = tuple(name for name in signed if name is not None)
    check_enough(policy, names)
    return names
