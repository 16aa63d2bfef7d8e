"""Certificate authorities, node certificates, and who a TLS peer is.

Each authority runs its own CA (ECDSA P-256) and certifies its own machines only. A certificate names exactly one node:
common name and the only subject alternative name are the node's name. TLS itself accepts any of the CAs it is told of,
so `PeerDirectory.identify` does what TLS does not: the certificate must be issued by the CA **of the authority to which
the named node belongs**. A CA can therefore never certify a machine into the other authority.

Not here: revocation. A node is taken off the network by taking its name off the other nodes' lists.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = datetime.timedelta(days=20 * 365)
NODE_LIFETIME = datetime.timedelta(days=5 * 365)
# Clocks of two authorities differ; a certificate made a moment ago must hold everywhere at once.
BACKDATING = datetime.timedelta(days=1)
MAX_CERTIFICATE_BYTES = 16 * 1024
# Of one authority in one file: the one in force, and those of a change or two of it.
MAX_CAS = 4


class NotThePeer(Exception):
    """The certificate does not prove the identity that is needed; the message says why."""


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return private_key_pem(self.key)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_sha256(pem: bytes) -> bytes:
    """SHA-256 of the certificate's DER: what the genesis record holds of a CA."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())


def certificates_by_sha256(pem: bytes) -> dict[bytes, bytes]:
    """The certificates of a file that holds one or more, PEM, by the SHA-256 of their DER. Raises ValueError."""
    found = x509.load_pem_x509_certificates(pem)
    if len(found) > MAX_CAS:
        raise ValueError(f"too many certificates: expected at most {MAX_CAS}, got {len(found)}")
    return {each.fingerprint(hashes.SHA256()): each.public_bytes(serialization.Encoding.PEM) for each in found}


def load_authority(certificate_pem: bytes, key_pem: bytes) -> CertificateAuthority:
    """A CA from its two files. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise ValueError("the key is encrypted") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("the key is not that of the certificate")
    return CertificateAuthority(certificate, key)


def certificate_pem(der: bytes) -> bytes:
    """A certificate as TLS takes it. Raises ValueError if it is none."""
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def certificate_der(pem: bytes) -> bytes:
    """A certificate as a change of the membership holds it. Raises ValueError if it is none."""
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def create_authority(name: str, country: str, now: datetime.datetime) -> CertificateAuthority:
    """A self-signed CA that may sign end certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} certificate authority"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificateAuthority(certificate, key)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def issue(
    authority: CertificateAuthority, name: str, now: datetime.datetime, *, extra_names: Iterable[str] = ()
) -> tuple[bytes, bytes]:
    """A node's certificate and private key, both PEM. `extra_names` are further DNS names or addresses (a
    gateway's).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject
    organisation = issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    for extra in extra_names:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(extra)))
        except ValueError:
            names.append(x509.DNSName(extra))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*organisation, x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(now + NODE_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private_key_pem(key)


def certificate_end_ms(auth_context: Mapping[str, Iterable[bytes]]) -> int:
    """When the certificate at the other end of a TLS connection ends, which has been identified: Unix milliseconds."""
    certificate = x509.load_pem_x509_certificate(next(iter(auth_context["x509_pem_cert"])))
    return int(certificate.not_valid_after_utc.timestamp()) * 1000


class PeerDirectory:
    """The nodes that may connect, and the CA that must have certified each."""

    def __init__(self, members: Mapping[str, str], ca_certificates: Mapping[str, bytes]) -> None:
        """`members`: node name -> authority name; `ca_certificates`: authority name -> its CA certificate, PEM, or
        several, any of which may have issued; empty where there is none that counts.
        """
        self._members = dict(members)
        self._cas: dict[str, list[x509.Certificate]] = {}
        self.believe(ca_certificates)

    def believe(self, ca_certificates: Mapping[str, bytes]) -> None:
        """These are the CAs from now on."""
        self._cas = {name: x509.load_pem_x509_certificates(pem) if pem else [] for name, pem in ca_certificates.items()}

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> str:
        """The name of the node at the other end of a TLS connection. Raises NotThePeer."""
        pems = list(auth_context.get("x509_pem_cert", ()))
        if len(pems) != 1:
            raise NotThePeer(f"expected one certificate, got {len(pems)}")
        return self.identify_certificate(pems[0])

    def identify_certificate(self, pem: bytes) -> str:
        """The name that a certificate (already matched to its private key by TLS) proves. Raises NotThePeer."""
        if len(pem) > MAX_CERTIFICATE_BYTES:
            raise NotThePeer(f"certificate too large: limit {MAX_CERTIFICATE_BYTES} bytes, got {len(pem)}")
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            common = [item.value for item in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            alternative = extension.value.get_values_for_type(x509.DNSName)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise NotThePeer(f"certificate cannot be read: {error}") from error
        if len(common) != 1 or not isinstance(common[0], str) or common[0] not in alternative:
            raise NotThePeer(f"certificate names {common} and {alternative}: expected one and the same name")
        name = common[0]
        authority = self._members.get(name)
        if authority is None:
            raise NotThePeer(f"{name!r} is not a member here")
        for ca in self._cas[authority]:
            try:
                certificate.verify_directly_issued_by(ca)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return name
        raise NotThePeer(f"certificate of {name!r} is not issued by the CA of {authority}")
