"""What a validator is, read from the files that its configuration names and checked against the genesis record.

Everything that could make a validator sign for another one, trust another CA than the authorities agreed on, or join
another network is found here, before anything is opened, and is a `ConfigError` that says which file to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from consensus import Configuration, Membership
from ledger.entry import Genesis
from ledger.errors import LedgerError
from ledger.note import NoteSigner
from ledger.policy import Policy, parse_policy
from nodes.certificates import certificate_sha256
from nodes.config import ConfigError, ValidatorConfig

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    genesis: Genesis
    genesis_raw: bytes
    network: bytes
    policy: Policy
    cosigner_key: NoteSigner
    log_key: NoteSigner
    membership: Membership
    # Validator name to authority name, of the whole network.
    authority_of: dict[str, str]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: too large: limit {MAX_FILE_BYTES} bytes")
    return data


def load_identity(config: ValidatorConfig) -> Identity:
    """Raises ConfigError."""
    raw = _read(config.genesis)
    try:
        genesis = Genesis.decode(raw)
    except LedgerError as error:
        raise ConfigError(f"{config.genesis}: is no genesis record: {error}") from error
    if genesis.origin != config.origin:
        raise ConfigError(f"{config.path}: origin: the genesis record says {genesis.origin!r}, got {config.origin!r}")
    authority_of = {
        validator.name: authority.name for authority in genesis.authorities for validator in authority.validators
    }
    _check_members(config, genesis, authority_of)
    cosigner_key, log_key = _key(config.cosigner_key), _key(config.log_key)
    for authority in genesis.authorities:
        for validator in authority.validators:
            if validator.name == config.name and validator.cosigner_key != cosigner_key.public_key:
                raise ConfigError(f"{config.cosigner_key}: is not the key of {config.name} in the genesis record")
        if authority.name == config.authority and authority.log_key != log_key.public_key:
            raise ConfigError(f"{config.log_key}: is not the log key of {config.authority} in the genesis record")
    try:
        policy = parse_policy(_read(config.policy))
    except LedgerError as error:
        raise ConfigError(f"{config.policy}: is no policy: {error}") from error
    known = {validator.cosigner_key for authority in genesis.authorities for validator in authority.validators}
    if not known.issuperset(witness.key.public_key for witness in policy.witnesses):
        raise ConfigError(f"{config.policy}: names a witness that is no validator of the genesis record")
    if policy.quorum == "none":
        raise ConfigError(f"{config.policy}: quorum: expected both authorities, got none")
    for authority in genesis.authorities:
        others = [name for name, owner in authority_of.items() if owner != authority.name]
        if policy.quorum_met_by(others):
            raise ConfigError(f"{config.policy}: quorum: is met without {authority.name}")
    membership = Membership(Configuration(authority_of))
    return Identity(genesis, raw, sha256(raw).digest(), policy, cosigner_key, log_key, membership, authority_of)


def _check_members(config: ValidatorConfig, genesis: Genesis, authority_of: dict[str, str]) -> None:
    configured = {config.name: config.authority} | {peer.name: peer.authority for peer in config.peers}
    if configured != authority_of:
        raise ConfigError(
            f"{config.path}: peers: expected the validators of the genesis record, {sorted(authority_of)}, "
            f"got {sorted(configured)}"
        )
    entries = {authority.name: authority for authority in config.authorities}
    if entries.keys() != {authority.name for authority in genesis.authorities}:
        raise ConfigError(f"{config.path}: authorities: are not those of the genesis record")
    for authority in genesis.authorities:
        path = entries[authority.name].ca_certificate
        try:
            found = certificate_sha256(_read(path))
        except ValueError as error:
            raise ConfigError(f"{path}: is no certificate: {error}") from error
        if found != authority.ca_sha256:
            raise ConfigError(f"{path}: is not the CA of {authority.name} that the genesis record names")


def _key(path: Path) -> NoteSigner:
    try:
        return NoteSigner.from_pem(_read(path))
    except LedgerError as error:
        raise ConfigError(f"{path}: is no Ed25519 private key: {error}") from error
