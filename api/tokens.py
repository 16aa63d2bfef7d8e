"""Bearer tokens: short-lived JWTs that a participant signs with its enrolled key.

The header names the key by its thumbprint (`kid`, hex); the claims are `iss` (participant id), `aud`, `iat` and `exp`,
at most five minutes apart. Ed25519 keys sign as EdDSA, P-256 keys as ES256; nothing else is taken, and never an
algorithm that the token alone chose: it must be the one of the enrolled key.

The audience is the log's origin and the authority whose gateways are asked, `<origin>#<authority>`: what is shown to
one side's gateway opens nothing at the other's. Tokens of before name the origin alone; a gateway takes them as long as
its operator lets it (`unbound_tokens`).

Does not: know who is enrolled; the caller brings the key. Nor whose a gateway is: a client that has not been told takes
the gateway's word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.problems import Problem
from ledger.algorithms import EDDSA, ES256, PrivateKey, PublicKey

TOKEN_MAX_BYTES = 2_048
TOKEN_LIFETIME_MAX_S = 300
CLOCK_LEEWAY_S = 10
JOSE_NAMES = {EDDSA: "EdDSA", ES256: "ES256"}

_KID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_CLAIMS = ("iss", "aud", "iat", "exp")


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """Who a token says it is from. Nothing of it holds until `verify_token` has passed."""

    text: str
    kid: bytes
    issuer: str


def audience_of(origin: str, authority: str | None) -> str:
    """Whom a token is for: the gateways of one authority, or, as before there was that, those of all."""
    return origin if authority is None else f"{origin}#{authority}"


def sign_token(
    key: PrivateKey, *, issuer: str, origin: str, now_s: int, lifetime_s: int = 240, authority: str | None = None
) -> str:
    """A token for `issuer`, good from now for `lifetime_s`, at the gateways of `authority`."""
    claims = {"iss": issuer, "aud": audience_of(origin, authority), "iat": now_s, "exp": now_s + lifetime_s}
    headers = {"kid": key.public.kid.hex()}
    return jwt.encode(claims, key.to_pem(), algorithm=JOSE_NAMES[key.public.alg], headers=headers)


def parse_token(text: str) -> UnverifiedToken:
    """Reads who a token says it is from."""
    if len(text) > TOKEN_MAX_BYTES:
        raise Problem("token_malformed", f"token is too long: at most {TOKEN_MAX_BYTES} bytes, got {len(text)}")
    if not _COMPACT.fullmatch(text):
        raise Problem("token_malformed", "token is not a compact JWT")
    try:
        decoded = jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError) as error:
        raise Problem("token_malformed", "token is not a JWT") from error
    header, claims = decoded["header"], decoded["payload"]
    kid = header.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise Problem("token_malformed", "kid must be a key thumbprint of 64 hex digits")
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise Problem("token_malformed", "iss must be a participant id")
    return UnverifiedToken(text, bytes.fromhex(kid), issuer)


def verify_token(token: UnverifiedToken, key: PublicKey, *, audiences: Sequence[str], now_s: float) -> tuple[int, str]:
    """Checks signature, audience and times; returns when the token ends, in seconds since the epoch, and its audience,
    which is one of those given.
    """
    try:
        # Times are checked below: the clock is an argument, and a token without a limit of its own is not taken.
        claims: dict[str, Any] = jwt.decode(
            token.text,
            _jose_key(key),
            algorithms=[JOSE_NAMES[key.alg]],
            audience=audiences,
            options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.InvalidAudienceError as error:
        raise Problem("token_wrong_audience", f"aud: expected {audiences[0]!r}") from error
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as error:
        raise Problem("token_untrusted", "token is not signed by the key it names") from error
    except (jwt.PyJWTError, ValueError) as error:
        raise Problem("token_malformed", str(error)[:200]) from error
    if not isinstance(claims["aud"], str):
        raise Problem("token_malformed", "aud must be one origin")
    iat_s, exp_s = claims["iat"], claims["exp"]
    for value in (iat_s, exp_s, claims.get("nbf", iat_s)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise Problem("token_malformed", "iat, exp and nbf must be whole seconds")
    if exp_s - iat_s > TOKEN_LIFETIME_MAX_S:
        detail = f"expected at most {TOKEN_LIFETIME_MAX_S} s from iat to exp, got {exp_s - iat_s} s"
        raise Problem("token_too_long", detail)
    if max(iat_s, claims.get("nbf", iat_s)) > now_s + CLOCK_LEEWAY_S:
        raise Problem("token_expired", "token begins in the future: check the clock")
    if exp_s + CLOCK_LEEWAY_S <= now_s:
        raise Problem("token_expired", "token has expired: sign a new one")
    return int(exp_s), claims["aud"]


def _jose_key(key: PublicKey) -> Ed25519PublicKey | EllipticCurvePublicKey:
    if key.alg == EDDSA:
        return Ed25519PublicKey.from_public_bytes(key.material)
    x, y = key.material[:32], key.material[32:]
    return EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()).public_key()
