"""Make the folder of a validator that joins a running network: keys, certificate, configuration, and who it will be.

What it needs to know of the network it takes from the folder of another validator: the genesis record, the CAs, who is
there and at which address, and the changes of the membership so far. What makes it a machine of its own authority is
that authority's CA, whose private key signs the new certificate. The folder holds `member`, one line that names the
newcomer, its party, its address and its public key: the step by which a change lets it in (`ledger.membership`).

A neutral party has a CA of its own, made here if there is none yet.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.entry import Genesis
from ledger.errors import LedgerError
from ledger.membership import Register, Step, ca_credential, newcomer, split_chain, verify_chain
from ledger.note import COSIGNATURE_V1, VerifierKey, format_vkey
from nodes import certificates
from nodes.config import Address, AuthorityEntry, ConfigError, ValidatorConfig
from nodes.network import (
    NEUTRAL_COUNTRY,
    PRIVATE_FILE_MODE,
    check_node_name,
    ed25519_pem,
    first_start_note,
    toml_text,
    write_new,
)

MEMBERSHIP = "membership.notes"
EVERYWHERE = ("0.0.0.0", "::")
MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What was made."""

    name: str
    party: str
    config: Path
    peer_address: Address
    service_address: Address
    http_address: Address
    step: Step


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a validator can be reached, and where it listens if that differs."""

    host: str
    peer_port: int
    service_port: int
    http_port: int
    listen_host: str

    def at(self, port: int) -> Address:
        return Address(self.host, port)

    def listening(self, port: int) -> Address:
        return Address(self.listen_host, port)


def make_newcomer(
    directory: Path,
    *,
    name: str,
    like: ValidatorConfig,
    authority_directory: Path,
    addresses: Addresses,
    notes: Sequence[bytes] = (),
    party: str | None = None,
    observer: bool = False,
    gateways: Sequence[str] | None = None,
    like_address: Address | None = None,
) -> Newcomer:
    """Make the folder. Raises ConfigError, and then has written nothing but perhaps a neutral party's new CA.

    `like`: the configuration of a validator of the network. `party`: a neutral one, else the authority of `like`.
    `like_address`: where it is reached, which its configuration does not say if it listens everywhere.
    `observer`: without the authority's log key, so that it can never be a voter on this machine as it is.
    """
    _check_place(directory, name, like, like_address)
    genesis, genesis_raw = _genesis(like)
    authorities = {authority.name: authority for authority in genesis.authorities}
    neutral = party is not None and party not in authorities
    owner = party if neutral and party is not None else like.authority
    if party is not None and not neutral and party != like.authority:
        raise ConfigError(f"{party}: expected the folder of a validator of its own, got one of {like.authority}")
    ca = _authority(authority_directory, owner, new=neutral)
    believed = {entry.name: _certificates(entry) for entry in like.authorities if entry.name in authorities}
    if not neutral and certificates.certificate_sha256(ca.certificate_pem) not in believed[owner]:
        raise ConfigError(
            f"{authority_directory}: is not the CA of {owner} that the genesis record or {like.name} names"
        )
    register = _register(genesis, notes, name)
    key = Ed25519PrivateKey.generate()
    address = str(addresses.at(addresses.peer_port))
    if neutral:
        credential = ca_credential(certificates.certificate_der(ca.certificate_pem))
    else:
        credential = format_vkey(VerifierKey(name, COSIGNATURE_V1, key.public_key().public_bytes_raw()))
    try:
        step = newcomer(name, owner, address, credential)
    except LedgerError as error:
        raise ConfigError(str(error)) from error
    certificate, key_pem = certificates.issue(ca, name, datetime.datetime.now(datetime.UTC))
    public: dict[str, bytes | str] = {
        "certificate.pem": certificate,
        "genesis.cbor": genesis_raw,
        "network.policy": like.policy.read_bytes(),
        MEMBERSHIP: b"".join(notes),
        MEMBER: step.line(),
        "data/first-start": first_start_note(),
    }
    private = {"certificate.key": key_pem}
    cas = {name: b"".join(found.values()) for name, found in believed.items()}
    # A ledger that is still empty knows the genesis record's alone; the newest of the others has to be named.
    newer = {
        name: [digest for digest in found if digest != authorities[name].ca_sha256][-1:]
        for name, found in believed.items()
    }
    if neutral:
        cas[owner] = ca.certificate_pem
    else:
        private["cosigner.key"] = ed25519_pem(key)
        if not observer:
            private["log.key"] = (authority_directory / "log.key").read_bytes()
    public |= {f"ca/{each}.pem": pem for each, pem in cas.items()}
    config = _configuration(
        name,
        owner,
        like,
        genesis,
        register,
        addresses,
        {name: newer.get(name, []) for name in cas},
        observer=observer,
        gateways=gateways,
        like_address=like_address,
    )
    for path, secret in private.items():
        write_new(directory / path, secret, PRIVATE_FILE_MODE)
    for path, data in public.items():
        write_new(directory / path, data)
    write_new(directory / "validator.toml", config)
    return Newcomer(
        name,
        owner,
        directory / "validator.toml",
        addresses.at(addresses.peer_port),
        addresses.at(addresses.service_port),
        addresses.at(addresses.http_port),
        step,
    )


def _check_place(directory: Path, name: str, like: ValidatorConfig, like_address: Address | None) -> None:
    """That the folder can be made there under that name, and that others will reach the one it is made like."""
    check_node_name(name)
    if like_address is None and like.peer_address.host in EVERYWHERE:
        raise ConfigError(
            f"{like.name} listens on {like.peer_address}: expected the address at which others reach it too"
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory}: is there already and is not empty; a validator is never overwritten")


def _register(genesis: Genesis, notes: Sequence[bytes], name: str) -> Register:
    """Who is there before the newcomer, whose name nobody has had."""
    try:
        register = verify_chain(genesis, notes)[-1]
    except LedgerError as error:
        raise ConfigError(f"changes of the membership do not hold: {error}") from error
    if name in register.members or name in register.retired:
        raise ConfigError(f"{name}: the name is or was a member's; a newcomer needs a new one")
    return register


def _configuration(
    name: str,
    owner: str,
    like: ValidatorConfig,
    genesis: Genesis,
    register: Register,
    addresses: Addresses,
    cas: Mapping[str, Sequence[bytes]],
    *,
    observer: bool,
    gateways: Sequence[str] | None,
    like_address: Address | None,
) -> str:
    """The text of `validator.toml`. `cas`: each party, and the CA that its file has beside the genesis record's."""
    neutral = owner not in {authority.name for authority in genesis.authorities}
    countries = {authority.name: authority.country for authority in genesis.authorities} | (
        {owner: NEUTRAL_COUNTRY} if neutral else {}
    )
    chosen = () if neutral else like.gateways if gateways is None else gateways
    keys = {"certificate": "certificate.pem", "certificate_key": "certificate.key"}
    keys |= {} if neutral else {"cosigner": "cosigner.key"} | ({} if observer else {"log": "log.key"})
    # Who has left since the other folder was made is not called any more.
    peers = {peer.name: (peer.authority, str(peer.address)) for peer in like.peers}
    peers[like.name] = (like.authority, str(like_address or like.peer_address))
    for member in register.members.values():
        if member.address:
            peers.setdefault(member.name, (member.party, member.address))
    peers = {peer: at for peer, at in peers.items() if peer in register.members}
    parts = [
        f"# Validator {name} of {owner}. Paths are relative to this file.\n",
        toml_text(
            {
                "name": name,
                "authority": owner,
                "origin": genesis.origin,
                "genesis": "genesis.cbor",
                "policy": "network.policy",
                "membership": MEMBERSHIP,
                "data": "data",
                "gateways": list(chosen),
            }
        ),
        "\n[listen]\n",
        toml_text(
            {
                "peers": str(addresses.listening(addresses.peer_port)),
                "gateways": str(addresses.listening(addresses.service_port)),
                "http": str(addresses.listening(addresses.http_port)),
            }
        ),
        "\n[keys]\n",
        toml_text(keys),
    ]
    for each, newer in cas.items():
        values: dict[str, str | list[str]] = {
            "name": each,
            "country": countries[each],
            "ca_certificate": f"ca/{each}.pem",
        }
        if newer:
            values["ca_sha256"] = newer[-1].hex()
        parts += ["\n[[authorities]]\n", toml_text(values)]
    for peer, (whose, at) in sorted(peers.items()):
        parts += ["\n[[peers]]\n", toml_text({"name": peer, "authority": whose, "address": at})]
    return "".join(parts)


def _certificates(entry: AuthorityEntry) -> dict[bytes, bytes]:
    """The CA certificates that a validator has of an authority, by their hash."""
    try:
        return certificates.certificates_by_sha256(entry.ca_certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{entry.ca_certificate}: is no certificate: {error}") from error


def known_notes(like: ValidatorConfig) -> list[bytes]:
    """The changes that another validator's folder came with."""
    if like.membership is None:
        return []
    try:
        return split_chain(like.membership.read_bytes())
    except (OSError, LedgerError) as error:
        raise ConfigError(f"{like.membership}: {error}") from error


def _genesis(like: ValidatorConfig) -> tuple[Genesis, bytes]:
    try:
        raw = like.genesis.read_bytes()
        return Genesis.decode(raw), raw
    except (OSError, LedgerError) as error:
        raise ConfigError(f"{like.genesis}: {error}") from error


def _authority(directory: Path, name: str, *, new: bool) -> certificates.CertificateAuthority:
    if new and not (directory / "ca.key").exists():
        made = certificates.create_authority(name, NEUTRAL_COUNTRY, datetime.datetime.now(datetime.UTC))
        write_new(directory / "ca.pem", made.certificate_pem)
        write_new(directory / "ca.key", made.key_pem, PRIVATE_FILE_MODE)
        return made
    try:
        return certificates.load_authority((directory / "ca.pem").read_bytes(), (directory / "ca.key").read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{directory}: expected ca.pem and ca.key of {name}: {error}") from error
