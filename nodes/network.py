"""Make a new network: the keys, certificates, genesis record, policies and configuration files of all its nodes.

`init_network` makes everything in one place and is meant for one machine, a demonstration or a rehearsal. Two real
authorities never hold each other's private keys: each makes its own part at home and they exchange, in a signed
protocol of the ceremony, only what the genesis record names:

- name and country of the authority, the SHA-256 of its CA certificate, and the CA certificate itself;
- the public log key, the registrar's public key and id, and name and public cosigner key of every validator;
- host and port of its validators.

Both then build the genesis record from the same list, compare its hash by telephone, and each writes its own policy
file.

Layout (nothing outside a node's own folder is needed to run that node):

    network.toml                           what there is: names, addresses, where the files are
    genesis.cbor                           the same bytes for everybody
    policy/<authority>.policy              what that authority's people verify with
    authorities/<authority>/               ca.pem, ca.key, log.key, registrar.key, officer.key, system.key
    validators/<name>/                     validator.toml, genesis.cbor, network.policy, certificate.pem,
    certificate.key,
                                           cosigner.key, log.key, ca/<authority>.pem, later data/
    gateways/<name>/                       gateway.toml, certificate.pem, certificate.key, ca.pem, attachments/

Private keys are PKCS8 PEM, unencrypted, readable by their owner only.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import re
import socket
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.catalogue import CONTRACTS, newest_versions, usual_versions
from ledger.algorithms import EDDSA, PrivateKey
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator, GenesisWitness
from ledger.membership import Member, Register, Role
from ledger.note import COSIGNATURE_V1, ED25519, VerifierKey, format_vkey
from ledger.policy import Policy
from nodes import certificates
from nodes.config import Address, ConfigError, parse_address

PUBLIC_FILE_MODE = 0o644
PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700
# Below the range from which Linux takes local ports of outgoing connections: a restarted node must get its port back.
FREE_PORT_RANGE = (18_000, 32_000)
ROLES_WITH_KEYS = ("registrar", "officer", "system")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_COUNTRY = re.compile(r"[A-Z]{2}")
MAX_NODES_PER_AUTHORITY = 9
NEUTRAL_COUNTRY = "ZZ"  # user-assigned in ISO 3166: of no country


@dataclass(frozen=True, slots=True)
class NetworkAuthority:
    name: str
    country: str
    directory: Path
    policy: Path

    def key(self, role: str) -> Path:
        """The private key file of `registrar`, `officer` or `system`, whose participant id is `<name>/<role>`."""
        return self.directory / f"{role}.key"


@dataclass(frozen=True, slots=True)
class NetworkValidator:
    name: str
    authority: str
    config: Path
    peer_address: Address
    service_address: Address
    http_address: Address


@dataclass(frozen=True, slots=True)
class NetworkGateway:
    name: str
    authority: str
    config: Path
    http_address: Address
    grpc_address: Address


@dataclass(frozen=True, slots=True)
class Network:
    directory: Path
    origin: str
    genesis: Path
    authorities: tuple[NetworkAuthority, ...]
    validators: tuple[NetworkValidator, ...]
    gateways: tuple[NetworkGateway, ...]


def init_network(
    directory: str | Path,
    *,
    origin: str,
    authorities: Sequence[tuple[str, str]],
    validators_per_authority: int = 2,
    gateways_per_authority: int = 1,
    host: str = "127.0.0.1",
    listen_host: str | None = None,
    base_port: int | None = None,
    parameters: Mapping[str, int | str] | None = None,
    contracts: Mapping[str, int] | None = None,
    time_ms: int | None = None,
    witness: str | None = None,
    majority: bool = False,
) -> Network:
    """Make a network in an empty or absent directory. Raises ConfigError, and then has written nothing.

    `host` is what nodes call each other by; it may hold `{name}`, as for containers that are named after their node,
    and then they listen on `listen_host` (everywhere if not given). Ports go up from `base_port`, or are free ones.
    `witness`: a neutral party that gets one validator, which votes and cosigns nothing. `majority`: policies in which
    more than half of each authority's validators have to cosign.
    """
    root = Path(directory).resolve()
    _check(root, origin, authorities, validators_per_authority, gateways_per_authority)
    if witness is not None and (not _NAME.fullmatch(witness) or witness in dict(authorities)):
        raise ConfigError(f"witness: expected a neutral party's name, lower-case, and no authority's, got {witness!r}")
    listen = listen_host or ("0.0.0.0" if "{name}" in host else host)
    ports = free_ports(base_port, "127.0.0.1" if "{name}" in host else listen)
    now = datetime.datetime.now(datetime.UTC)
    made = [_make_authority(root, name, country, validators_per_authority, now) for name, country in authorities]
    neutral = None if witness is None else certificates.create_authority(witness, NEUTRAL_COUNTRY, now)
    witnesses = []
    if witness is not None and neutral is not None:
        der = certificates.certificate_der(neutral.certificate_pem)
        witnesses.append(GenesisWitness(f"{witness}-1", witness, der))
    genesis = Genesis(
        origin=origin,
        time_ms=time.time_ns() // 1_000_000 if time_ms is None else time_ms,
        authorities=tuple(authority.genesis for authority in made),
        parameters=dict(parameters or {}),
        contracts=dict(contracts if contracts is not None else newest_contracts()),
        witnesses=tuple(witnesses),
    ).encode()
    validators, gateways = [], []
    for authority in made:
        for number in range(1, validators_per_authority + 1):
            name = f"{authority.name}-{number}"
            addresses = [Address(host.format(name=name), next(ports)) for _ in range(3)]
            validators.append(
                NetworkValidator(name, authority.name, root / "validators" / name / "validator.toml", *addresses)
            )
        for number in range(1, gateways_per_authority + 1):
            name = f"{authority.name}-gateway-{number}"
            addresses = [Address(host.format(name=name), next(ports)) for _ in range(2)]
            gateways.append(NetworkGateway(name, authority.name, root / "gateways" / name / "gateway.toml", *addresses))
    for each in witnesses:
        addresses = [Address(host.format(name=each.name), next(ports)) for _ in range(3)]
        config = root / "validators" / each.name / "validator.toml"
        validators.append(NetworkValidator(each.name, each.party, config, *addresses))
    network = Network(
        root,
        origin,
        root / "genesis.cbor",
        tuple(authority.public for authority in made),
        tuple(validators),
        tuple(gateways),
    )
    _write_network(network, made, genesis, listen, now, majority=majority)
    if neutral is not None:
        _write_witness(network, made, neutral, genesis, listen, now, majority=majority)
    return network


def newest_contracts() -> dict[str, int]:
    """The contracts of a new network: the newest version of each that is no example."""
    return usual_versions()


def contracts_of(named: Sequence[str]) -> dict[str, int]:
    """The contracts of a new network, with `named` beside or instead: `phytosanitary:1`, or a name for its newest."""
    contracts = newest_contracts()
    for text in named:
        name, colon, version = text.partition(":")
        number = int(version) if version.isascii() and version.isdigit() else 0
        key = (name, number if colon else newest_versions().get(name, 0))
        if key not in CONTRACTS:
            known = ", ".join(f"{other}:{number}" for other, number in CONTRACTS)
            raise ConfigError(f"contract: expected one of {known}, got {text}")
        contracts[name] = key[1]
    return contracts


@dataclass(frozen=True, slots=True)
class _Made:
    """One authority with its secrets, before anything is on disk."""

    name: str
    ca: certificates.CertificateAuthority
    log_key: Ed25519PrivateKey
    role_keys: dict[str, PrivateKey]
    cosigner_keys: dict[str, Ed25519PrivateKey]
    genesis: GenesisAuthority
    public: NetworkAuthority


def _check(root: Path, origin: str, authorities: Sequence[tuple[str, str]], validators: int, gateways: int) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigError(f"{root}: is there already and is not empty; a network is never overwritten")
    if not origin or any(character.isspace() or character in "+\x7f" for character in origin):
        raise ConfigError(f"origin: expected a name without spaces or plus signs, got {origin!r}")
    if len(authorities) < 2:
        raise ConfigError(f"authorities: expected at least two, got {len(authorities)}")
    for position, what in ((0, "name"), (1, "country")):
        if len({authority[position] for authority in authorities}) != len(authorities):
            raise ConfigError(f"authorities: a {what} stands there twice")
    for name, country in authorities:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"authority name: expected lower-case letters, digits and hyphens, got {name!r}")
        if not _COUNTRY.fullmatch(country):
            raise ConfigError(f"country of {name}: expected two capital letters, got {country!r}")
    for count, low, what in ((validators, 1, "validators_per_authority"), (gateways, 0, "gateways_per_authority")):
        if not low <= count <= MAX_NODES_PER_AUTHORITY:
            raise ConfigError(f"{what}: expected {low} to {MAX_NODES_PER_AUTHORITY}, got {count}")


def free_ports(base_port: int | None, host: str) -> Iterator[int]:
    if base_port is not None:
        yield from range(base_port, 65_536)
        raise ConfigError(f"base_port {base_port}: not enough ports above it")
    low, high = FREE_PORT_RANGE
    given: set[int] = set()
    # Which ports, does not matter and is hashed nowhere.
    for port in random.SystemRandom().sample(range(low, high), high - low):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        given.add(port)
        yield port
    raise ConfigError(f"no free port between {low} and {high} on {host}")


def _make_authority(root: Path, name: str, country: str, validators: int, now: datetime.datetime) -> _Made:
    ca = certificates.create_authority(name, country, now)
    log_key = Ed25519PrivateKey.generate()
    role_keys = {role: PrivateKey.generate(EDDSA) for role in ROLES_WITH_KEYS}
    cosigner_keys = {f"{name}-{number}": Ed25519PrivateKey.generate() for number in range(1, validators + 1)}
    genesis = GenesisAuthority(
        name=name,
        country=country,
        log_key=log_key.public_key().public_bytes_raw(),
        ca_sha256=certificates.certificate_sha256(ca.certificate_pem),
        registrar_id=f"{name}/registrar",
        registrar_key=role_keys["registrar"].public.cose_key,
        validators=tuple(
            GenesisValidator(validator, key.public_key().public_bytes_raw()) for validator, key in cosigner_keys.items()
        ),
    )
    public = NetworkAuthority(name, country, root / "authorities" / name, root / "policy" / f"{name}.policy")
    return _Made(name, ca, log_key, role_keys, cosigner_keys, genesis, public)


def policy_text(genesis: Genesis, authority: str, *, majority: bool = False) -> str:
    """The policy, as of genesis, by which this authority's people verify."""
    return policy_of_members(genesis, authority, Register.of_genesis(genesis).of(Role.VOTER), majority=majority)


def policy_of_members(
    genesis: Genesis,
    authority: str,
    voters: Iterable[Member],
    log_key: bytes | None = None,
    *,
    majority: bool = False,
) -> str:
    """The policy by which an authority's people verify: its own log key, and a cosignature of every authority's.

    `log_key`: the one in force, if it is no longer that of the genesis record. `majority`: of the validators of each
    authority more than half have to cosign, not any one (docs/adr/0031).
    """
    lines = [
        f"log {format_vkey(VerifierKey(genesis.origin, ED25519, log_key or member.log_key))}"
        for member in genesis.authorities
        if member.name == authority
    ]
    if not lines:
        raise ConfigError(f"{authority!r} is no authority of the genesis record")
    of = list(voters)
    validators = [member for party in genesis.authorities for member in of if member.party == party.name]
    for validator in validators:
        key = format_vkey(VerifierKey(validator.name, COSIGNATURE_V1, validator.cosigner_key))
        lines.append(f"witness {validator.name} {key}")
    groups = [member.country.lower() for member in genesis.authorities]
    for group, member in zip(groups, genesis.authorities, strict=True):
        names = [validator.name for validator in validators if validator.party == member.name]
        lines.append(f"group {group} {len(names) // 2 + 1 if majority else 'any'} {' '.join(names)}")
    lines.append(f"group both all {' '.join(groups)}")
    lines.append("quorum both")
    return "\n".join(lines) + "\n"


def wants_several(policy: Policy) -> bool:
    """Whether of some authority one validator that cosigns is not enough."""
    validators = {witness.name for witness in policy.witnesses}
    return any(group.threshold > 1 and validators.issuperset(group.members) for group in policy.groups)


def ed25519_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def first_start_note() -> str:
    """What stands in the file that lets a validator start without stores, once."""
    return (
        "This validator has never run. Without this file and without its stores it does not start: it could vote\n"
        "or sign a second time. It removes the file by itself.\n"
    )


def check_node_name(name: str) -> None:
    """Raises ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name: expected lower-case letters, digits and hyphens, got {name!r}")


def write_new(path: Path, data: bytes | str, mode: int = PUBLIC_FILE_MODE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def _write_network(
    network: Network, made: Sequence[_Made], genesis: bytes, listen: str, now: datetime.datetime, *, majority: bool
) -> None:
    network.directory.mkdir(parents=True, exist_ok=True)
    write_new(network.genesis, genesis)
    record = Genesis.decode(genesis)
    by_name = {authority.name: authority for authority in made}
    for authority in made:
        directory = authority.public.directory
        write_new(authority.public.policy, policy_text(record, authority.name, majority=majority))
        write_new(directory / "ca.pem", authority.ca.certificate_pem)
        write_new(directory / "ca.key", authority.ca.key_pem, PRIVATE_FILE_MODE)
        write_new(directory / "log.key", ed25519_pem(authority.log_key), PRIVATE_FILE_MODE)
        for role, key in authority.role_keys.items():
            write_new(authority.public.key(role), key.to_pem(), PRIVATE_FILE_MODE)
            write_new(authority.public.key(role).with_suffix(".key.pub"), key.public.cose_key)
    for validator in network.validators:
        if validator.authority not in by_name:
            continue
        authority = by_name[validator.authority]
        directory = validator.config.parent
        certificate, key_pem = certificates.issue(authority.ca, validator.name, now)
        write_new(directory / "certificate.pem", certificate)
        write_new(directory / "certificate.key", key_pem, PRIVATE_FILE_MODE)
        write_new(directory / "cosigner.key", ed25519_pem(authority.cosigner_keys[validator.name]), PRIVATE_FILE_MODE)
        write_new(directory / "log.key", ed25519_pem(authority.log_key), PRIVATE_FILE_MODE)
        write_new(directory / "genesis.cbor", genesis)
        write_new(directory / "network.policy", policy_text(record, authority.name, majority=majority))
        for other in made:
            write_new(directory / "ca" / f"{other.name}.pem", other.ca.certificate_pem)
        write_new(directory / "data" / "first-start", first_start_note())
        write_new(validator.config, _validator_toml(network, validator, listen))
    for gateway in network.gateways:
        authority = by_name[gateway.authority]
        directory = gateway.config.parent
        certificate, key_pem = certificates.issue(
            authority.ca, gateway.name, now, extra_names=[gateway.http_address.host]
        )
        write_new(directory / "certificate.pem", certificate)
        write_new(directory / "certificate.key", key_pem, PRIVATE_FILE_MODE)
        write_new(directory / "ca.pem", authority.ca.certificate_pem)
        # Made here, so that it belongs to whoever the rest belongs to where it is mounted.
        (directory / "attachments").mkdir(mode=PRIVATE_DIRECTORY_MODE)
        write_new(gateway.config, _gateway_toml(network, gateway, listen))
    write_new(network.directory / "network.toml", _network_toml(network))


def _write_witness(
    network: Network,
    made: Sequence[_Made],
    ca: certificates.CertificateAuthority,
    genesis: bytes,
    listen: str,
    now: datetime.datetime,
    *,
    majority: bool,
) -> None:
    """The CA of the neutral party, and the folder of its one validator: no key that signs anything but its TLS."""
    node = network.validators[-1]
    home, directory = network.directory / "authorities" / node.authority, node.config.parent
    write_new(home / "ca.pem", ca.certificate_pem)
    write_new(home / "ca.key", ca.key_pem, PRIVATE_FILE_MODE)
    certificate, key_pem = certificates.issue(ca, node.name, now)
    write_new(directory / "certificate.pem", certificate)
    write_new(directory / "certificate.key", key_pem, PRIVATE_FILE_MODE)
    write_new(directory / "genesis.cbor", genesis)
    write_new(directory / "network.policy", policy_text(Genesis.decode(genesis), made[0].name, majority=majority))
    for party, pem in [(each.name, each.ca.certificate_pem) for each in made] + [(node.authority, ca.certificate_pem)]:
        write_new(directory / "ca" / f"{party}.pem", pem)
    write_new(directory / "data" / "first-start", first_start_note())
    write_new(node.config, _validator_toml(network, node, listen))


def toml_text(values: Mapping[str, str | list[str]]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _validator_toml(network: Network, validator: NetworkValidator, listen: str) -> str:
    gateways = [gateway.name for gateway in network.gateways if gateway.authority == validator.authority]
    neutral = validator.authority not in {authority.name for authority in network.authorities}
    parts = [
        f"# Validator {validator.name} of {validator.authority}. Paths are relative to this file.\n",
        toml_text(
            {
                "name": validator.name,
                "authority": validator.authority,
                "origin": network.origin,
                "genesis": "genesis.cbor",
                "policy": "network.policy",
                "data": "data",
                "gateways": gateways,
            }
        ),
        "\n[listen]\n",
        toml_text(
            {
                "peers": str(Address(listen, validator.peer_address.port)),
                "gateways": str(Address(listen, validator.service_address.port)),
                "http": str(Address(listen, validator.http_address.port)),
            }
        ),
        "\n[keys]\n",
        toml_text(
            {"certificate": "certificate.pem", "certificate_key": "certificate.key"}
            | ({} if neutral else {"cosigner": "cosigner.key", "log": "log.key"})
        ),
    ]
    parties = [(authority.name, authority.country) for authority in network.authorities]
    if neutral:
        parties.append((validator.authority, NEUTRAL_COUNTRY))
    for name, country in parties:
        values = {"name": name, "country": country, "ca_certificate": f"ca/{name}.pem"}
        parts += ["\n[[authorities]]\n", toml_text(values)]
    for peer in network.validators:
        if peer.name != validator.name:
            values = {"name": peer.name, "authority": peer.authority, "address": str(peer.peer_address)}
            parts += ["\n[[peers]]\n", toml_text(values)]
    return "".join(parts)


def _gateway_toml(network: Network, gateway: NetworkGateway, listen: str) -> str:
    parts = [
        f"# Gateway {gateway.name} of {gateway.authority}. Paths are relative to this file.\n",
        toml_text({"name": gateway.name, "authority": gateway.authority, "origin": network.origin}),
        "\n[listen]\n",
        toml_text(
            {
                "http": str(Address(listen, gateway.http_address.port)),
                "grpc": str(Address(listen, gateway.grpc_address.port)),
            }
        ),
        "\n[keys]\n",
        toml_text({"certificate": "certificate.pem", "certificate_key": "certificate.key", "ca_certificate": "ca.pem"}),
        "\n# Telemetry and envelopes: what statements refer to by hash. The one thing of a gateway to be backed up.\n",
        "[attachments]\n",
        toml_text({"directory": "attachments"}),
    ]
    for validator in network.validators:
        if validator.authority == gateway.authority:
            parts += [
                "\n[[validators]]\n",
                toml_text({"name": validator.name, "address": str(validator.service_address)}),
            ]
    return "".join(parts)


def _network_toml(network: Network) -> str:
    parts = ["# Made by `comity network init`.\n", toml_text({"origin": network.origin})]
    for authority in network.authorities:
        parts += ["\n[[authorities]]\n", toml_text({"name": authority.name, "country": authority.country})]
    for validator in network.validators:
        values = {
            "name": validator.name,
            "authority": validator.authority,
            "peer_address": str(validator.peer_address),
            "service_address": str(validator.service_address),
            "http_address": str(validator.http_address),
        }
        parts += ["\n[[validators]]\n", toml_text(values)]
    for gateway in network.gateways:
        values = {
            "name": gateway.name,
            "authority": gateway.authority,
            "http_address": str(gateway.http_address),
            "grpc_address": str(gateway.grpc_address),
        }
        parts += ["\n[[gateways]]\n", toml_text(values)]
    return "".join(parts)


def load_network(directory: str | Path) -> Network:
    """Read `network.toml`. Raises ConfigError."""
    root = Path(directory).resolve()
    try:
        values: dict[str, Any] = tomllib.loads((root / "network.toml").read_text())
        authorities = [
            NetworkAuthority(
                item["name"],
                item["country"],
                root / "authorities" / item["name"],
                root / "policy" / f"{item['name']}.policy",
            )
            for item in values["authorities"]
        ]
        validators = [
            NetworkValidator(
                item["name"],
                item["authority"],
                root / "validators" / item["name"] / "validator.toml",
                parse_address(item["peer_address"]),
                parse_address(item["service_address"]),
                parse_address(item["http_address"]),
            )
            for item in values["validators"]
        ]
        gateways = [
            NetworkGateway(
                item["name"],
                item["authority"],
                root / "gateways" / item["name"] / "gateway.toml",
                parse_address(item["http_address"]),
                parse_address(item["grpc_address"]),
            )
            for item in values.get("gateways", [])
        ]
        return Network(
            root, values["origin"], root / "genesis.cbor", tuple(authorities), tuple(validators), tuple(gateways)
        )
    except OSError as error:
        raise ConfigError(f"{root}: is no network: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{root / 'network.toml'}: cannot be read: {error}") from error
