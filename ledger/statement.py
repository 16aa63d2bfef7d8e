"""What a participant signs: a tagged COSE_Sign1 (RFC 9052 section 4.2) as a SCITT signed statement (RFC 9943).

    18([ h'{1: alg, 3: content type, 4: kid, 15: {1: iss, 2: sub, 6: iat, 7: cti}}', {}, h'payload', h'signature' ])

Promises: a statement has one spelling; anything else is refused with a code that says why, before any signature is
checked. Its id is the RFC 6962 leaf hash of exactly these bytes. CWT claims stand in the protected header (RFC 9597),
`kid` is the key's thumbprint (RFC 9679), `iat` whole seconds (RFC 8392), `cti` 16 bytes that its issuer never reuses.

Does not: know which keys are enrolled or what a payload means; `contracts` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from ledger import algorithms, cbor
from ledger.algorithms import KID_BYTES, PrivateKey, PublicKey
from ledger.errors import Malformed, Misuse, Untrue
from ledger.merkle import leaf_hash

MAX_STATEMENT_BYTES = 32 * 1024
MAX_PROTECTED_BYTES = 1024
MAX_PAYLOAD_ITEMS = 4096  # of CBOR, as `ledger.cbor` counts them
MAX_PARTICIPANT_ID_CHARS = 64
MAX_SUBJECT_CHARS = 128
MAX_KIND_CHARS = 64
MAX_IAT_S = 253_402_300_799  # the last second of the year 9999
CTI_BYTES = 16

# Header parameters (RFC 9052 section 3.1, RFC 9597) and claims (RFC 8392 section 4).
_ALG, _CONTENT_TYPE, _KID, _CWT_CLAIMS = 1, 3, 4, 15
_ISS, _SUB, _IAT, _CTI = 1, 2, 6, 7
_HEADER_LABELS = {_ALG, _CONTENT_TYPE, _KID, _CWT_CLAIMS}
_CLAIM_LABELS = {_ISS, _SUB, _IAT, _CTI}

_COSE_SIGN1_TAG = 0xD2  # tag 18
_ARRAY_OF_FOUR = 0x84
_EMPTY_MAP = 0xA0
_SIG_STRUCTURE = b"\x84\x6aSignature1"
_EMPTY_BYTES = b"\x40"

_match_participant_id = re.compile(r"[a-z0-9][a-z0-9./_-]{0,63}", re.ASCII).fullmatch
_match_subject = re.compile(r"[!-~]{1,128}", re.ASCII).fullmatch
_match_kind = re.compile(r"(?=.{3,64}\Z)[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", re.ASCII).fullmatch
_match_content_type = re.compile(
    r"application/comity\.(?=[^+]{6,67}\+)([a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)\.v1\+cbor", re.ASCII
).fullmatch

Payload: TypeAlias = dict[str | int, cbor.Value]
# alg, kind, kid, iss, sub, iat, cti.
Header: TypeAlias = tuple[int, str, bytes, str, str, int, bytes]

# The first bytes of a header by algorithm: map of four, 1, the algorithm, 3.
_USUAL_ALGORITHMS = {b"\xa4\x01" + cbor.encode(alg) + b"\x03": alg for alg in algorithms.supported() if -24 <= alg < 24}
# A header with texts of one character.
_SHORTEST_HEADER_BYTES = 100
# Of each sort: a movement has many statements, a truck more, and there are few kinds.
_MAX_REMEMBERED_TEXTS = 4096


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, parsed. Two statements are equal when their bytes are; everything else follows from them."""

    raw: bytes
    alg: int = field(compare=False)
    kid: bytes = field(compare=False)
    kind: str = field(compare=False)
    iss: str = field(compare=False)
    sub: str = field(compare=False)
    iat_s: int = field(compare=False)
    cti: bytes = field(compare=False)
    payload: Payload = field(compare=False)
    signature: bytes = field(compare=False)
    _protected_end: int = field(compare=False, repr=False)
    _id: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> bytes:
        """The RFC 6962 leaf hash of the statement, 32 bytes."""
        known = self._id
        if known is None:
            known = leaf_hash(self.raw)
            object.__setattr__(self, "_id", known)
        return known

    @property
    def id_hex(self) -> str:
        """The id as people and URLs write it: 64 lower-case hexadecimal digits."""
        return self.id.hex()

    def to_be_signed(self) -> bytes:
        """Return the Sig_structure (RFC 9052 section 4.4) without external data.

        It is the statement's own bytes with the empty map replaced by an empty string and the signature left off.
        """
        end = self._protected_end
        payload_end = len(self.raw) - len(cbor.head(2, len(self.signature))) - len(self.signature)
        return b"".join((_SIG_STRUCTURE, self.raw[2:end], _EMPTY_BYTES, self.raw[end + 1 : payload_end]))


def parse_statement(raw: bytes) -> Statement:
    """Return the statement that the bytes are; Malformed with a code of its own for each way in which they are none."""
    if len(raw) > MAX_STATEMENT_BYTES:
        raise Malformed("too_large", f"statement is too large: at most {MAX_STATEMENT_BYTES} bytes, got {len(raw)}")
    if raw[:2] != b"\xd2\x84":
        raise _wrong_start(raw)
    protected, protected_end = _read_bytes(raw, 2, "protected header")
    if raw[protected_end : protected_end + 1] != b"\xa0":
        raise _unprotected_not_empty(raw, protected_end)
    payload, payload_end = _read_bytes(raw, protected_end + 1, "payload")
    signature, end = _read_bytes(raw, payload_end, "signature")
    if end != len(raw):
        raise Malformed("malformed_cbor", f"bytes follow the statement: expected {end} bytes, got {len(raw)}")
    alg, kind, kid, iss, sub, iat_s, cti = _read_usual_header(protected) or _parse_header(protected)
    members = cbor.decode(payload, max_bytes=MAX_STATEMENT_BYTES, max_items=MAX_PAYLOAD_ITEMS)
    if type(members) is not dict:
        raise Malformed("bad_payload", f"payload must be a map: got {type(members).__name__}")
    algorithms.check_signature_spelling(alg, signature)
    return Statement(raw, alg, kid, kind, iss, sub, iat_s, cti, members, signature, protected_end)


def _wrong_start(raw: bytes) -> Malformed:
    if not raw:
        return Malformed("malformed_cbor", "statement is empty")
    if raw[0] != _COSE_SIGN1_TAG:
        return Malformed(
            "wrong_tag", f"statement must start with tag 18 (cose_sign1): expected 0xd2, got {raw[0]:#04x}"
        )
    if len(raw) < 2:
        return Malformed("malformed_cbor", "statement ends after its tag")
    return Malformed("malformed_cbor", f"cose_sign1 must be an array of four: expected 0x84, got {raw[1]:#04x}")


def _unprotected_not_empty(raw: bytes, start: int) -> Malformed:
    if start >= len(raw):
        return Malformed("malformed_cbor", "statement ends before its unprotected header")
    if raw[start] >> 5 != 5:
        return Malformed("malformed_cbor", f"unprotected header must be a map: got {raw[start]:#04x}")
    return Malformed("unprotected_not_empty", "unprotected header must be empty, as nothing vouches for it")


def _read_bytes(raw: bytes, start: int, what: str) -> tuple[bytes, int]:
    """Read a byte string of fewer than 65,536 bytes; return it and where it ends."""
    initial = raw[start] if start < len(raw) else -1
    if 0x40 <= initial <= 0x57:
        begin, length = start + 1, initial - 0x40
    elif initial in (0x58, 0x59):
        begin = start + initial - 0x56
        length = int.from_bytes(raw[start + 1 : begin], "big")
        if length < (24 if initial == 0x58 else 256) and begin <= len(raw):
            raise Malformed("non_canonical_cbor", f"length of the {what} is not in its shortest form")
    elif initial == 0x5F or initial in (0x5A, 0x5B):
        raise Malformed("non_canonical_cbor", f"{what} must have a definite length in its shortest form")
    else:
        got = "the end" if initial < 0 else f"{initial:#04x}"
        raise Malformed("malformed_cbor", f"{what} must be a byte string: got {got}")
    end = begin + length
    if end > len(raw):
        raise Malformed("malformed_cbor", f"{what} ends early: expected {length} bytes, got {max(0, len(raw) - begin)}")
    return raw[begin:end], end


def _read_usual_header(protected: bytes) -> Header | None:
    """Read a header that is spelled as it must be, by its positions; None for any other, faulty or only unusual.

    Every byte is either compared or taken for a value whose length is given, and each value is checked as
    `_parse_header` does. So what comes out here would come out there, only ten times later.
    """
    alg = _USUAL_ALGORITHMS.get(protected[:4])
    if alg is None or len(protected) < _SHORTEST_HEADER_BYTES:
        return None
    at = 6 + protected[5]
    kind = _usual_kind(protected[4:at])
    kid_at = at + 3
    iss_at = kid_at + KID_BYTES + 3
    if kind is None or protected[at:kid_at] != b"\x04\x58\x20" or protected[iss_at - 3 : iss_at] != b"\x0f\xa4\x01":
        return None
    # A text of 24 to 255 bytes has its length in a byte of its own.
    head = protected[iss_at : iss_at + 2]
    if len(head) < 2:
        return None
    at = iss_at + (2 + head[1] if head[:1] == b"\x78" else 1 + (head[0] & 0x1F))
    iss = _usual_participant_id(protected[iss_at:at])
    head = protected[at : at + 3]
    if iss is None or len(head) < 3 or head[0] != _SUB:
        return None
    sub_at = at + 1
    at = sub_at + (2 + head[2] if head[1] == 0x78 else 1 + (head[1] & 0x1F))
    sub = _usual_subject(protected[sub_at:at])
    tail = protected[at:]
    if sub is None or len(tail) != 24 or tail[:2] != b"\x06\x1a" or tail[6:8] != b"\x07\x50":
        return None
    iat_s = int.from_bytes(tail[2:6], "big")
    if iat_s < 1 << 16:  # has a shorter spelling
        return None
    return alg, kind, protected[kid_at : kid_at + KID_BYTES], iss, sub, iat_s, tail[8:]


@lru_cache(_MAX_REMEMBERED_TEXTS)
def _usual_kind(spelled: bytes) -> str | None:
    """The kind in an encoded content type; None if it is none, or is spelled in another way."""
    match = _match_content_type(text) if (text := _usual_text(spelled)) is not None else None
    return None if match is None else match[1]


@lru_cache(_MAX_REMEMBERED_TEXTS)
def _usual_participant_id(spelled: bytes) -> str | None:
    text = _usual_text(spelled)
    return text if text is not None and _match_participant_id(text) else None


@lru_cache(_MAX_REMEMBERED_TEXTS)
def _usual_subject(spelled: bytes) -> str | None:
    text = _usual_text(spelled)
    return text if text is not None and _match_subject(text) else None


def _usual_text(spelled: bytes) -> str | None:
    """The text whose one encoding these bytes are, where it is ASCII and shorter than 256 bytes."""
    content = spelled[2:] if spelled[:1] == b"\x78" else spelled[1:]
    if len(content) < 256 and content.isascii() and spelled == cbor.head(3, len(content)) + content:
        return content.decode("ascii")
    return None


def _parse_header(protected: bytes) -> Header:
    """Read a header whatever it holds, and say what is wrong with it."""
    alg, kind, kid, claims = _parse_labels(protected)
    iss, sub, iat_s, cti = _parse_claims(claims)
    if _format_header(alg, kind, kid, iss, sub, iat_s, cti) != protected:
        cbor.decode(protected)
        raise Malformed("non_canonical_cbor", "protected header is not in its deterministic encoding")
    return alg, kind, kid, iss, sub, iat_s, cti


def _parse_labels(protected: bytes) -> tuple[int, str, bytes, cbor.Value]:
    header = cbor.decode_unmeasured(protected, max_bytes=MAX_PROTECTED_BYTES)
    if type(header) is not dict:
        raise Malformed("bad_header", f"protected header must be a map: got {type(header).__name__}")
    if header.keys() != _HEADER_LABELS:
        raise Malformed(
            "bad_header", f"protected header must have exactly the labels 1, 3, 4, 15: got {_labels(header)}"
        )
    alg = header[_ALG]
    if type(alg) is not int or alg not in algorithms.supported():
        expected = ", ".join(map(str, algorithms.supported()))
        raise Malformed(
            "unknown_algorithm", f"algorithm is not registered: expected one of {expected}, got {alg!r:.80}"
        )
    content_type = header[_CONTENT_TYPE]
    match = _match_content_type(content_type) if type(content_type) is str else None
    if match is None:
        raise Malformed(
            "bad_content_type",
            f"content type is wrong: expected application/comity.<kind>.v1+cbor, got {content_type!r:.120}",
        )
    kid = header[_KID]
    if type(kid) is not bytes or len(kid) != KID_BYTES:
        raise Malformed("bad_kid", f"kid must be a thumbprint of {KID_BYTES} bytes: got {kid!r:.120}")
    return alg, match[1], kid, header[_CWT_CLAIMS]


def _parse_claims(claims: cbor.Value) -> tuple[str, str, int, bytes]:
    if type(claims) is not dict:
        raise Malformed("bad_claims", f"cwt claims must be a map: got {type(claims).__name__}")
    if claims.keys() != _CLAIM_LABELS:
        raise Malformed("bad_claims", f"cwt claims must have exactly the labels 1, 2, 6, 7: got {_labels(claims)}")
    iss, sub, iat_s, cti = claims[_ISS], claims[_SUB], claims[_IAT], claims[_CTI]
    if type(iss) is not str or not _match_participant_id(iss):
        raise Malformed("bad_claims", f"iss must be a participant id, 1 to 64 of a-z0-9./_-: got {iss!r:.120}")
    if type(sub) is not str or not _match_subject(sub):
        raise Malformed("bad_claims", f"sub must be 1 to 128 visible ASCII characters: got {sub!r:.160}")
    if type(iat_s) is not int or not 0 <= iat_s <= MAX_IAT_S:
        raise Malformed("bad_claims", f"iat must be whole seconds, 0 to {MAX_IAT_S}: got {iat_s!r:.80}")
    if type(cti) is not bytes or len(cti) != CTI_BYTES:
        raise Malformed("bad_claims", f"cti must be {CTI_BYTES} bytes: got {cti!r:.120}")
    return iss, sub, iat_s, cti


def _labels(header: Payload) -> str:
    return ", ".join(repr(label)[:24] for label in list(header)[:12])


def _format_header(alg: int, kind: str, kid: bytes, iss: str, sub: str, iat_s: int, cti: bytes) -> bytes:
    """Return the protected header: the deterministic encoding of the map that the module's first lines show."""
    content_type = content_type_of(kind)
    return b"".join(
        (
            b"\xa4\x01",
            cbor.encode(alg),
            b"\x03",
            cbor.head(3, len(content_type)),
            content_type.encode(),
            b"\x04\x58\x20",
            kid,
            b"\x0f\xa4\x01",
            cbor.head(3, len(iss)),
            iss.encode(),
            b"\x02",
            cbor.head(3, len(sub)),
            sub.encode(),
            b"\x06",
            cbor.encode(iat_s),
            b"\x07\x50",
            cti,
        )
    )


def is_participant_id(text: str) -> bool:
    """Return whether the text may be the `iss` of a statement."""
    return _match_participant_id(text) is not None


def content_type_of(kind: str) -> str:
    """Return the content type of statements of a kind."""
    return f"application/comity.{kind}.v1+cbor"


def sign_statement(
    key: PrivateKey,
    *,
    kind: str,
    iss: str,
    sub: str,
    iat_s: int,
    cti: bytes,
    payload: cbor.Encodable,
) -> Statement:
    """Return the statement with its signature. Misuse for what `parse_statement` would refuse."""
    public = key.public
    if not _match_kind(kind):
        raise Misuse(f"kind must be <contract>.<event>, at most {MAX_KIND_CHARS} of a-z0-9_: got {kind[:80]!r}")
    if not _match_participant_id(iss) or not _match_subject(sub):
        raise Misuse(f"iss must be a participant id and sub visible ASCII: got {iss[:80]!r} and {sub[:160]!r}")
    protected_string = cbor.encode(_format_header(public.alg, kind, public.kid, iss, sub, iat_s, cti))
    payload_string = cbor.encode(cbor.encode(payload))
    signature = key.sign(b"".join((_SIG_STRUCTURE, protected_string, _EMPTY_BYTES, payload_string)))
    raw = b"".join(
        (bytes((_COSE_SIGN1_TAG, _ARRAY_OF_FOUR)), protected_string, bytes((_EMPTY_MAP,)), payload_string)
    ) + cbor.encode(signature)
    try:
        return parse_statement(raw)
    except Malformed as error:
        raise Misuse(f"no such statement can be: {error}") from error


def verify_statement(statement: Statement, key: PublicKey) -> None:
    """Raise Untrue unless the statement names this key and carries its signature."""
    if statement.kid != key.kid:
        raise Untrue(
            "bad_signature", f"statement names another key: expected {key.kid.hex()}, got {statement.kid.hex()}"
        )
    if statement.alg != key.alg:
        raise Untrue("bad_signature", f"statement names another algorithm: expected {key.alg}, got {statement.alg}")
    key.verify(statement.to_be_signed(), statement.signature)


def parse_statement_sequence(data: bytes, max_count: int) -> list[bytes]:
    """Split a CBOR sequence (RFC 8742) of statements, Malformed if it is none. The parts are not parsed further."""
    if len(data) > max_count * MAX_STATEMENT_BYTES:
        limit = max_count * MAX_STATEMENT_BYTES
        raise Malformed("too_large", f"sequence is too large: expected at most {limit} bytes, got {len(data)}")
    statements: list[bytes] = []
    start = 0
    while start < len(data):
        if len(statements) == max_count:
            raise Malformed("too_many", f"sequence is too long: expected at most {max_count} statements")
        if data[start : start + 2] != b"\xd2\x84":
            raise _wrong_start(data[start : start + 2])
        _, end = _read_bytes(data, start + 2, "protected header")
        if data[end : end + 1] != b"\xa0":
            raise _unprotected_not_empty(data, end)
        _, end = _read_bytes(data, end + 1, "payload")
        _, end = _read_bytes(data, end, "signature")
        statements.append(data[start:end])
        start = end
    return statements
