"""What a validator is, read from the files that its configuration names and checked against the genesis record.

A validator that is in no register yet is a newcomer: it follows, and takes part once a change has let it in.

Everything that could make a validator sign for another one, trust another CA than the authorities agreed on, or join
another network is found here, before anything is opened, and is a `ConfigError` that says which file to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from consensus import Membership
from ledger.cosignature import MlDsaCosigner
from ledger.entry import Genesis
from ledger.errors import LedgerError
from ledger.membership import Member, Register, Role, split_chain, verify_chain
from ledger.note import NoteSigner
from ledger.policy import Policy, parse_policy
from nodes.certificates import certificates_by_sha256
from nodes.config import ConfigError, ValidatorConfig
from nodes.further import further_witnesses
from nodes.membership import configuration_of

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    genesis: Genesis
    genesis_raw: bytes
    network: bytes
    policy: Policy
    # None for a witness; the log key also for an observer that has none.
    cosigner_key: NoteSigner | None
    log_key: NoteSigner | None
    # The one that is to take its place, if there is one.
    log_key_next: NoteSigner | None
    # The certificates of each party's file, PEM, by their SHA-256. Whether they count is for the ledger to say.
    cas: Mapping[str, Mapping[bytes, bytes]]
    # As of genesis: where the order begins.
    membership: Membership
    # The signed changes of the membership that the folder came with, verified.
    notes: tuple[bytes, ...]
    # Whose further cosignatures are collected, and the own key for them; None without.
    further_policy: Policy | None = None
    ml_dsa_key: MlDsaCosigner | None = None

    @property
    def log_keys(self) -> tuple[NoteSigner, ...]:
        """Those that we have, the present one first."""
        return tuple(key for key in (self.log_key, self.log_key_next) if key is not None)


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
    notes, registers = _known_changes(config, genesis)
    members = {name: member for register in registers for name, member in register.members.items()}
    _check_members(config, genesis, members)
    cas = _cas(config, genesis)
    cosigner_key = None if config.cosigner_key is None else _key(config.cosigner_key)
    log_key = None if config.log_key is None else _key(config.log_key)
    log_key_next = None if config.log_key_next is None else _key(config.log_key_next)
    policy = _policy(config, genesis, members)
    _check_keys(config, genesis, members.get(config.name), policy, cosigner_key, log_key)
    _check_next(config, genesis, log_key, log_key_next)
    further_policy, ml_dsa_key = _further(config, genesis)
    return Identity(
        genesis=genesis,
        genesis_raw=raw,
        network=sha256(raw).digest(),
        policy=policy,
        cosigner_key=cosigner_key,
        log_key=log_key,
        log_key_next=log_key_next,
        cas=cas,
        membership=Membership(configuration_of(registers[0])),
        notes=notes,
        further_policy=further_policy,
        ml_dsa_key=ml_dsa_key,
    )


def _known_changes(config: ValidatorConfig, genesis: Genesis) -> tuple[tuple[bytes, ...], list[Register]]:
    if config.membership is None:
        return (), [Register.of_genesis(genesis)]
    try:
        notes = split_chain(_read(config.membership))
        return tuple(notes), verify_chain(genesis, notes)
    except LedgerError as error:
        raise ConfigError(f"{config.membership}: changes of the membership do not hold: {error}") from error


def _policy(config: ValidatorConfig, genesis: Genesis, members: Mapping[str, Member]) -> Policy:
    try:
        policy = parse_policy(_read(config.policy))
    except LedgerError as error:
        raise ConfigError(f"{config.policy}: is no policy: {error}") from error
    known = {member.cosigner_key for member in members.values()}
    if not known.issuperset(witness.key.public_key for witness in policy.witnesses):
        raise ConfigError(f"{config.policy}: names a witness that is no validator of this network")
    if policy.quorum == "none":
        raise ConfigError(f"{config.policy}: quorum: expected both authorities, got none")
    for authority in genesis.authorities:
        others = [member.name for member in members.values() if member.party != authority.name]
        if policy.quorum_met_by(others):
            raise ConfigError(f"{config.policy}: quorum: is met without {authority.name}")
    return policy


def _further(config: ValidatorConfig, genesis: Genesis) -> tuple[Policy | None, MlDsaCosigner | None]:
    """Whose further cosignatures are collected, and our own key for them."""
    if config.further is None:
        if config.ml_dsa_key is not None:
            raise ConfigError(f"{config.path}: keys.ml_dsa: expected further.policy with it, which names its vkey")
        return None, None
    path = config.further.policy
    try:
        policy = parse_policy(_read(path))
    except LedgerError as error:
        raise ConfigError(f"{path}: is no policy: {error}") from error
    if not any(log.key.name == genesis.origin for log in policy.logs):
        raise ConfigError(f"{path}: expected a log line of {genesis.origin}")
    if not further_witnesses(policy):
        raise ConfigError(f"{path}: expected a witness with an ML-DSA-44 vkey or with a url: nobody could be asked")
    for witness in policy.witnesses:
        if witness.url is not None and not witness.url.startswith(("https://", "http://")):
            raise ConfigError(f"{path}: witness {witness.name}: expected a url of https or http, got {witness.url!r}")
    if config.ml_dsa_key is None:
        return policy, None
    try:
        key = MlDsaCosigner.from_pem(_read(config.ml_dsa_key))
    except LedgerError as error:
        raise ConfigError(f"{config.ml_dsa_key}: is no ML-DSA-44 private key: {error}") from error
    if all(witness.key != key.verifier(config.name) for witness in policy.witnesses):
        raise ConfigError(f"{path}: expected a witness line with the vkey of {config.ml_dsa_key} for {config.name}")
    return policy, key


def _check_members(config: ValidatorConfig, genesis: Genesis, members: Mapping[str, Member]) -> None:
    """What the configuration says of others, against what the registers say: a wrong name would never be reached."""
    configured = {peer.name: peer.authority for peer in config.peers}
    # Who is in no register is to join by a change that is not made yet.
    if config.name in members:
        configured[config.name] = config.authority
    known = {name: member.party for name, member in members.items()}
    if configured.items() - known.items():
        raise ConfigError(
            f"{config.path}: peers: expected validators of the genesis record or of {config.membership or 'a change'}, "
            f"{sorted(known)}, each with its authority, got {sorted(configured)}"
        )
    if config.membership is None and config.name in known and configured != known:
        raise ConfigError(
            f"{config.path}: peers: expected the validators of the genesis record, {sorted(known)}, "
            f"got {sorted(configured)}"
        )
    entries = {authority.name: authority for authority in config.authorities}
    names = {authority.name for authority in genesis.authorities}
    # A member of a neutral party also has that party's CA in its configuration.
    if entries.keys() - {config.authority} != names - {config.authority}:
        raise ConfigError(f"{config.path}: authorities: are not those of the genesis record")


def _cas(config: ValidatorConfig, genesis: Genesis) -> dict[str, dict[bytes, bytes]]:
    """The certificates of every file, each party's by their hash."""
    of_genesis = {authority.name: authority.ca_sha256 for authority in genesis.authorities}
    cas: dict[str, dict[bytes, bytes]] = {}
    for entry in config.authorities:
        path = entry.ca_certificate
        try:
            found = certificates_by_sha256(_read(path))
        except ValueError as error:
            raise ConfigError(f"{path}: is no certificate: {error}") from error
        expected = of_genesis.get(entry.name)
        if expected is not None and expected not in found and entry.ca_sha256 not in found:
            raise ConfigError(
                f"{path}: is not the CA of {entry.name} that the genesis record names. Where another has taken its "
                "place since, say its SHA-256 as ca_sha256 of that authority, as the other operators read it to you"
            )
        cas[entry.name] = found
    return cas


def _check_keys(
    config: ValidatorConfig,
    genesis: Genesis,
    member: Member | None,
    policy: Policy,
    cosigner_key: NoteSigner | None,
    log_key: NoteSigner | None,
) -> None:
    authority = next((each for each in genesis.authorities if each.name == config.authority), None)
    if authority is None:
        if cosigner_key is not None or log_key is not None:
            raise ConfigError(
                f"{config.path}: keys: {config.authority} is neutral: expected no cosigner and no log key"
            )
        return
    if cosigner_key is None:
        raise ConfigError(f"{config.path}: keys.cosigner: is missing")
    if log_key is None and (member is None or member.role is Role.VOTER):
        raise ConfigError(f"{config.path}: keys.log: is missing: only an observer may do without")
    if member is not None and member.cosigner_key != cosigner_key.public_key:
        raise ConfigError(f"{config.cosigner_key}: is not the key of {config.name} in the genesis record or its change")
    named = {log.key.public_key for log in policy.logs if log.key.name == genesis.origin}
    others = {each.log_key for each in genesis.authorities if each.name != config.authority}
    if log_key is not None and log_key.public_key not in {authority.log_key, *(named - others)}:
        raise ConfigError(
            f"{config.log_key}: is not the log key of {config.authority} in the genesis record, nor one that "
            f"{config.policy} names. Once a log key has been replaced, the policy file has to be written anew: "
            "comity governance policy"
        )


def _check_next(
    config: ValidatorConfig, genesis: Genesis, log_key: NoteSigner | None, log_key_next: NoteSigner | None
) -> None:
    if log_key_next is None:
        return
    if log_key is None:
        raise ConfigError(f"{config.path}: keys.log_next: expected keys.log too, the key that is in force until then")
    if log_key_next.public_key == log_key.public_key:
        raise ConfigError(f"{config.log_key_next}: is the same key as {config.log_key}")
    if any(each.log_key == log_key_next.public_key for each in genesis.authorities if each.name != config.authority):
        raise ConfigError(f"{config.log_key_next}: is the log key of another authority")


def _key(path: Path) -> NoteSigner:
    try:
        return NoteSigner.from_pem(_read(path))
    except LedgerError as error:
        raise ConfigError(f"{path}: is no Ed25519 private key: {error}") from error
