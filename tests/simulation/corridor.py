"""The networks that are simulated: genesis, files and keys, the same for ever, and statements signed in advance.

Every key is derived from its name, so a signature, and with it the trace of a seed, is the same in every process. One
network of each shape is made once in a process, in a temporary folder, and read by the code that reads real ones.
"""

from __future__ import annotations

import atexit
import datetime
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from ledger.algorithms import PrivateKey
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator, GenesisWitness
from ledger.membership import Step, ca_credential, newcomer
from ledger.note import COSIGNATURE_V1, ED25519, NoteSigner, VerifierKey, format_vkey
from ledger.policy import Policy, parse_policy
from ledger.statement import Statement, sign_statement
from nodes.certificates import certificate_der, certificate_sha256
from nodes.config import Address, AuthorityEntry, PeerEntry, Tuning, ValidatorConfig
from nodes.identity import Identity, load_identity
from nodes.network import newest_contracts, policy_text

ORIGIN = "comity.example/simulated"
START_MS = 1_795_000_000_000
COUNTRIES = {"kz-kgd": "KZ", "cn-gacc": "CN", "ru-fts": "RU"}
# A party that is no authority: its validator is a witness, at genesis or later.
NEUTRAL = "arbiter"
# So many newcomers of each party stand ready, and join by a change or never.
SPARES = 3


def _seed(name: str) -> bytes:
    return sha256(f"comity simulation key {name}".encode()).digest()


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _participant_key(name: str) -> PrivateKey:
    return PrivateKey.from_pem(_pem(Ed25519PrivateKey.from_private_bytes(_seed(name))))


def _certificate(name: str, authority: str, issuer: str, key: Ed25519PrivateKey, signer: Ed25519PrivateKey) -> bytes:
    """A certificate with nothing in it but what is looked at, and without chance, as ECDSA would bring it in."""

    def subject(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, authority),
                x509.NameAttribute(NameOID.COMMON_NAME, common),
            ]
        )

    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(subject(issuer))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(_seed(f"serial {name}")[:8], "big"))
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=20 * 365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signer, None)
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass
class Corridor:
    """One network: `validators` maps each of the genesis record to its party, `parties` those that may join as well."""

    shape: str
    validators: dict[str, str]
    parties: dict[str, str]
    # The step that lets each newcomer in.
    newcomers: dict[str, Step]
    genesis: Genesis
    configs: dict[str, ValidatorConfig]
    identities: dict[str, Identity]
    registrars: dict[str, PrivateKey]
    gateway_pems: dict[str, bytes]
    cosigners: dict[str, NoteSigner]
    log_keys: dict[str, NoteSigner]
    statements: dict[tuple[str, int, int], Statement] = field(default_factory=dict)
    _policies: dict[tuple[str, frozenset[str]], Policy] = field(default_factory=dict)

    @property
    def authorities(self) -> list[str]:
        return [authority.name for authority in self.genesis.authorities]

    def policy(self, authority: str, voters: frozenset[str]) -> Policy:
        """What an independent party of this authority verifies with while these are the voters."""
        place = (authority, voters)
        if place not in self._policies:
            log_key = self.log_keys[authority].public_key
            lines = [f"log {format_vkey(VerifierKey(ORIGIN, ED25519, log_key))}"]
            for name in sorted(voters):
                key = format_vkey(VerifierKey(name, COSIGNATURE_V1, self.cosigners[name].public_key))
                lines.append(f"witness {name} {key}")
            for owner in self.authorities:
                names = [name for name in sorted(voters) if self.parties[name] == owner]
                lines.append(f"group {owner} any {' '.join(names)}")
            lines += [f"group all-of-them all {' '.join(self.authorities)}", "quorum all-of-them"]
            self._policies[place] = parse_policy("\n".join([*lines, ""]).encode())
        return self._policies[place]

    def enrolment(self, authority: str, number: int, *, cti: int | None = None) -> Statement:
        """A statement that the contracts accept once. Two with one `cti` cannot both be accepted."""
        place = (authority, number, number if cti is None else cti)
        statement = self.statements.get(place)
        if statement is None:
            statement = self.statements[place] = self._enrolment(*place)
        return statement

    def _enrolment(self, authority: str, number: int, cti: int) -> Statement:
        return sign_statement(
            self.registrars[authority],
            kind="registry.enrol",
            iss=f"{authority}/registrar",
            sub=f"{COUNTRIES[authority].lower()}/truck/{number}",
            iat_s=START_MS // 1000,
            cti=sha256(f"{authority} {cti}".encode()).digest()[:16],
            payload={"key": _participant_key(f"truck {authority} {number}").public.cose_key, "roles": ["truck"]},
        )

    def forgery(self, authority: str, number: int) -> bytes:
        """Well-formed, and signed by nobody who may."""
        raw = bytearray(self.enrolment(authority, number).raw)
        raw[-1] ^= 1
        return bytes(raw)


@cache
def corridor(shape: str) -> Corridor:
    """`kz-kgd:2 cn-gacc:2`, say."""
    root = Path(tempfile.mkdtemp(prefix="comity-simulation-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    counts = {name: int(count) for name, _, count in (part.partition(":") for part in shape.split())}
    validators = {f"{name}-{number}": name for name, count in counts.items() for number in range(1, count + 1)}
    witnesses = {name: party for name, party in validators.items() if party not in COUNTRIES}
    counts.setdefault(NEUTRAL, 0)
    spares = {
        f"{name}-{number}": name
        for name, count in counts.items()
        for number in range(count + 1, count + 1 + (SPARES if name in COUNTRIES else 1))
    }
    parties = validators | spares
    cas = {name: Ed25519PrivateKey.from_private_bytes(_seed(f"ca {name}")) for name in counts}
    ca_pems = {name: _certificate(f"{name} ca", name, f"{name} ca", key, key) for name, key in cas.items()}
    authorities = [name for name in counts if name in COUNTRIES]
    registrars = {name: _participant_key(f"registrar {name}") for name in authorities}
    cosigners = {name: NoteSigner(_seed(f"cosigner {name}")) for name, party in parties.items() if party in COUNTRIES}
    log_keys = {name: NoteSigner(_seed(f"log {name}")) for name in authorities}
    genesis = Genesis(
        origin=ORIGIN,
        time_ms=START_MS,
        authorities=tuple(
            GenesisAuthority(
                name=name,
                country=COUNTRIES[name],
                log_key=log_keys[name].public_key,
                ca_sha256=certificate_sha256(ca_pems[name]),
                registrar_id=f"{name}/registrar",
                registrar_key=registrars[name].public.cose_key,
                validators=tuple(
                    GenesisValidator(each, cosigners[each].public_key)
                    for each, authority in validators.items()
                    if authority == name
                ),
            )
            for name in authorities
        ),
        parameters={},
        contracts=newest_contracts(),
        witnesses=tuple(
            GenesisWitness(name, party, certificate_der(ca_pems[party])) for name, party in witnesses.items()
        ),
    )
    (root / "genesis.cbor").write_bytes(genesis.encode())
    for name, pem in ca_pems.items():
        (root / f"{name}.pem").write_bytes(pem)
    for name, key in log_keys.items():
        (root / f"{name}.policy").write_text(policy_text(genesis, name))
        (root / f"{name}.log").write_bytes(key.to_pem())
    for name, key in cosigners.items():
        (root / f"{name}.cosigner").write_bytes(key.to_pem())
    configs = {name: _config(root, name, parties, validators, authorities) for name in parties}
    gateways = {
        name: _certificate(
            f"{name}-gateway", name, f"{name} ca", Ed25519PrivateKey.from_private_bytes(_seed(f"gateway {name}")), key
        )
        for name, key in cas.items()
    }
    return Corridor(
        shape,
        validators,
        parties,
        {
            name: newcomer(
                name,
                party,
                f"127.0.0.1:{1000 + number}",
                format_vkey(VerifierKey(name, COSIGNATURE_V1, cosigners[name].public_key))
                if party in COUNTRIES
                else ca_credential(certificate_der(ca_pems[party])),
            )
            for number, (name, party) in enumerate(spares.items())
        },
        genesis,
        configs,
        {name: load_identity(config) for name, config in configs.items()},
        registrars,
        gateways,
        cosigners,
        log_keys,
    )


def _config(
    root: Path, name: str, parties: dict[str, str], validators: dict[str, str], authorities: list[str]
) -> ValidatorConfig:
    """Of a member since genesis, or of a newcomer that knows those."""
    party = parties[name]
    neutral = party not in COUNTRIES
    nowhere = Address("127.0.0.1", 1)
    known = [*authorities, party] if neutral else authorities
    return ValidatorConfig(
        path=root / f"{name}.toml",
        name=name,
        authority=party,
        origin=ORIGIN,
        genesis=root / "genesis.cbor",
        policy=root / f"{authorities[0] if neutral else party}.policy",
        data=Path("/simulated") / name / "data",
        peer_address=nowhere,
        service_address=nowhere,
        http_address=None,
        certificate=root / f"{party}.pem",
        certificate_key=root / f"{authorities[0]}.log",
        cosigner_key=None if neutral else root / f"{name}.cosigner",
        log_key=None if neutral else root / f"{party}.log",
        authorities=tuple(AuthorityEntry(each, COUNTRIES.get(each, "ZZ"), root / f"{each}.pem") for each in known),
        peers=tuple(PeerEntry(other, owner, nowhere) for other, owner in validators.items() if other != name),
        gateways=(f"{party}-gateway",),
        tuning=Tuning(signature_threads=2),
    )
