"""The gateway as it runs: mutual TLS with its validators, loops, signals and stopping."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.config import GatewayConfig, RequestLimits, TlsPaths, ValidatorEndpoint
from api.serve import Listening, serve_gateway
from tests.api.fakes import ORIGIN, FakeLedger, FakeValidator, signed_statement

COSE = {"content-type": "application/cose"}


class Ca:
    """A certificate authority that lives for one test."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), None)

    def _sign(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, name: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
        builder = builder.not_valid_after(now + datetime.timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
        if name is not None:
            names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """Private key and certificate, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), name)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private, certificate.public_bytes(serialization.Encoding.PEM)


def write_tls(folder: Path, ca: Ca, trusted: Ca, name: str) -> TlsPaths:
    folder.mkdir()
    private, certificate = ca.issue(name)
    paths = TlsPaths(folder / "certificate.pem", folder / "key.pem", folder / "ca.pem")
    paths.certificate.write_bytes(certificate)
    paths.private_key.write_bytes(private)
    paths.authority_ca.write_bytes(trusted.pem())
    return paths


async def submit_through(config: GatewayConfig) -> int:
    """The status of one submission through a gateway that runs for it alone."""
    stop = asyncio.Event()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_gateway(config, stop=stop, on_listening=listening.set_result))
    where = await listening
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{where.http_port}", timeout=10) as http:
        response = await http.post("/v1/statements?wait=final", content=signed_statement().raw, headers=COSE)
    stop.set()
    await asyncio.wait_for(serving, 60)
    return response.status_code


async def with_validator(presented: str, issuer: Ca, tls: TlsPaths) -> int:
    """Submits to a validator that shows a certificate for `presented`, where `kz-kgd-1` is expected."""
    pair = issuer.issue(presented)
    credentials = grpc.ssl_server_credentials([pair], tls.authority_ca.read_bytes(), require_client_auth=True)
    validator = FakeValidator("kz-kgd-1", FakeLedger())
    endpoint = await validator.start(credentials)
    config = GatewayConfig("kz-kgd-gateway-1", "kz-kgd", ORIGIN, (endpoint,), tls=tls)
    try:
        return await submit_through(config)
    finally:
        await validator.stop()


async def test_mutual_tls_with_the_right_names_serves(tmp_path: Path) -> None:
    ca = Ca("kz-kgd")
    assert await with_validator("kz-kgd-1", ca, write_tls(tmp_path / "tls", ca, ca, "kz-kgd-gateway-1")) == 200


async def test_a_validator_of_another_name_is_not_spoken_to(tmp_path: Path) -> None:
    ca = Ca("kz-kgd")
    assert await with_validator("kz-kgd-2", ca, write_tls(tmp_path / "tls", ca, ca, "kz-kgd-gateway-1")) == 503


async def test_a_validator_of_another_authority_is_not_spoken_to(tmp_path: Path) -> None:
    ca = Ca("kz-kgd")
    tls = write_tls(tmp_path / "tls", ca, ca, "kz-kgd-gateway-1")
    assert await with_validator("kz-kgd-1", Ca("kz-kgd"), tls) == 503


def test_it_runs_on_uvloop() -> None:
    async def run() -> int:
        validator = FakeValidator("kz-kgd-1", FakeLedger())
        endpoint = await validator.start()
        try:
            return await submit_through(GatewayConfig("g", "kz-kgd", ORIGIN, (endpoint,)))
        finally:
            await validator.stop()

    assert uvloop.run(run()) == 200


async def test_an_address_that_is_taken_is_an_error_and_nothing_is_left_behind() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = GatewayConfig("g", "kz-kgd", ORIGIN, (ValidatorEndpoint("kz-kgd-1", "127.0.0.1", 1),))
        with pytest.raises(OSError, match="in use"):
            await serve_gateway(replace(config, http_port=port))
        with pytest.raises(OSError, match="in use"):
            await serve_gateway(replace(config, metrics_port=port))
        with pytest.raises(OSError, match="cannot listen"):
            await serve_gateway(replace(config, grpc_port=port))


@pytest.mark.parametrize("limits", [RequestLimits(in_flight_max_bytes=100), RequestLimits(in_flight_max_statements=0)])
async def test_the_limits_of_the_configuration_are_those_of_the_gateway(limits: RequestLimits) -> None:
    validator = FakeValidator("kz-kgd-1", FakeLedger())
    endpoint = await validator.start()
    assert await submit_through(GatewayConfig("g", "kz-kgd", ORIGIN, (endpoint,), limits=limits)) == 429
    await validator.stop()


async def test_metrics_are_served_nowhere_unless_an_address_is_given() -> None:
    config = GatewayConfig("g", "kz-kgd", ORIGIN, (ValidatorEndpoint("kz-kgd-1", "127.0.0.1", 1),))
    stop = asyncio.Event()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_gateway(config, stop=stop, on_listening=listening.set_result))
    where = await listening
    assert where.metrics_port is None
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{where.http_port}", timeout=10) as http:
        assert (await http.get("/metrics")).status_code == 404
    stop.set()
    await asyncio.wait_for(serving, 60)


async def test_stopping_ends_open_streams_soon_and_answers_what_is_on_the_way() -> None:
    ledger = FakeLedger()
    validator = FakeValidator("kz-kgd-1", ledger)
    validator.silent = True
    endpoint = await validator.start()
    config = GatewayConfig("g", "kz-kgd", ORIGIN, (endpoint,))
    stop = asyncio.Event()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_gateway(config, stop=stop, on_listening=listening.set_result))
    where = await listening
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{where.http_port}", timeout=20) as http:
        request = http.post("/v1/statements", content=signed_statement().raw, headers=COSE)
        waiting = asyncio.create_task(request)
        await asyncio.sleep(0.3)
        stop.set()
        response = await asyncio.wait_for(waiting, 60)
    assert response.status_code == 503
    assert "retry-after" in response.headers
    await asyncio.wait_for(serving, 60)
    await validator.stop()
