"""Who a TLS peer is: attacks first."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nodes import certificates
from nodes.certificates import NotThePeer, PeerDirectory

NOW = datetime.datetime.now(datetime.UTC)
KZ = certificates.create_authority("kz-kgd", "KZ", NOW)
CN = certificates.create_authority("cn-gacc", "CN", NOW)
MEMBERS = {"kz-kgd-1": "kz-kgd", "cn-gacc-1": "cn-gacc"}
DIRECTORY = PeerDirectory(MEMBERS, {"kz-kgd": KZ.certificate_pem, "cn-gacc": CN.certificate_pem})


def test_a_member_is_known_by_its_certificate() -> None:
    certificate, _ = certificates.issue(KZ, "kz-kgd-1", NOW)
    assert DIRECTORY.identify({"x509_pem_cert": [certificate]}) == "kz-kgd-1"


def test_a_ca_cannot_certify_a_machine_into_the_other_authority() -> None:
    forged, _ = certificates.issue(KZ, "cn-gacc-1", NOW)
    with pytest.raises(NotThePeer, match="not issued by the CA of cn-gacc"):
        DIRECTORY.identify_certificate(forged)


def test_a_ca_that_calls_itself_the_other_is_not_the_other() -> None:
    impostor = certificates.create_authority("cn-gacc", "CN", NOW)
    forged, _ = certificates.issue(impostor, "cn-gacc-1", NOW)
    with pytest.raises(NotThePeer, match="not issued by the CA of cn-gacc"):
        DIRECTORY.identify_certificate(forged)


def test_a_stranger_of_the_right_ca_is_refused() -> None:
    gateway, _ = certificates.issue(KZ, "kz-kgd-gateway-1", NOW)
    with pytest.raises(NotThePeer, match="not a member"):
        DIRECTORY.identify_certificate(gateway)


def test_a_node_cannot_issue_certificates() -> None:
    certificate, key = certificates.issue(KZ, "kz-kgd-1", NOW)
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    node = certificates.CertificateAuthority(x509.load_pem_x509_certificate(certificate), private)
    forged, _ = certificates.issue(node, "cn-gacc-1", NOW)
    with pytest.raises(NotThePeer, match="not issued by"):
        DIRECTORY.identify_certificate(forged)


def test_a_certificate_whose_names_differ_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kz-kgd-1")]))
        .issuer_name(KZ.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("cn-gacc-1")]), critical=False)
        .sign(KZ.key, hashes.SHA256())
    )
    with pytest.raises(NotThePeer, match="one and the same name"):
        DIRECTORY.identify_certificate(certificate.public_bytes(serialization.Encoding.PEM))


def test_two_common_names_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("kz-kgd-1", "cn-gacc-1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(KZ.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("kz-kgd-1")]), critical=False)
        .sign(KZ.key, hashes.SHA256())
    )
    with pytest.raises(NotThePeer, match="one and the same name"):
        DIRECTORY.identify_certificate(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize("pems", [[], [b"one", b"two"]])
def test_not_one_certificate_is_refused(pems: list[bytes]) -> None:
    with pytest.raises(NotThePeer, match="expected one certificate"):
        DIRECTORY.identify({"x509_pem_cert": pems})


@pytest.mark.parametrize("pem", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(NotThePeer, match="cannot be read"):
        DIRECTORY.identify_certificate(pem)


def test_an_oversized_certificate_is_not_parsed() -> None:
    with pytest.raises(NotThePeer, match="too large"):
        DIRECTORY.identify_certificate(b"x" * (certificates.MAX_CERTIFICATE_BYTES + 1))
