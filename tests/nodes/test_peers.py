"""The streams between validators, over real sockets: who may speak, and under which name. Attacks first."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.proto import validator_pb2
from ledger.store import MemoryStore
from nodes import certificates
from nodes.config import load_validator_config
from nodes.network import Network, init_network
from nodes.peers import QUEUE_MAX_BYTES, PeerTransport
from nodes.proto import peer_pb2, peer_pb2_grpc
from nodes.versions import SPOKEN, UNANNOUNCED, VersionRange, Versions
from tests.nodes.network import AUTHORITIES, ORIGIN, Client, until

NETWORK_ID = bytes(32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return init_network(tmp_path_factory.mktemp("peers") / "net", origin=ORIGIN, authorities=AUTHORITIES)


class Ends:
    """Transports of some validators, and what each has been handed."""

    def __init__(self, network: Network, names: list[str], spoken: dict[str, VersionRange] | None = None) -> None:
        self.spoken = spoken or {}
        self.versions: dict[str, Versions] = {}
        self.heard: dict[str, list[tuple[str, peer_pb2.Envelope]]] = {name: [] for name in names}
        self.transports: dict[str, PeerTransport] = {}
        for name in names:
            config = load_validator_config(network.directory / "validators" / name / "validator.toml")

            def deliver(sender: str, envelope: peer_pb2.Envelope, name: str = name) -> None:
                self.heard[name].append((sender, envelope))

            versions = self.versions[name] = Versions(
                name, lambda: names, MemoryStore(), spoken=self.spoken.get(name, SPOKEN)
            )
            self.transports[name] = PeerTransport(
                config, NETWORK_ID, deliver, announcement=versions.own, on_announced=versions.hear
            )


@contextlib.asynccontextmanager
async def ends(network: Network, *names: str, spoken: dict[str, VersionRange] | None = None) -> AsyncIterator[Ends]:
    made = Ends(network, list(names), spoken)
    for transport in made.transports.values():
        await transport.start()
    try:
        yield made
    finally:
        for transport in made.transports.values():
            await transport.stop()


def query(number: int = 0) -> peer_pb2.Envelope:
    return peer_pb2.Envelope(cosignature_query=peer_pb2.CosignatureQuery(final_size=number))


@contextlib.asynccontextmanager
async def caller(network: Network, certificate: bytes, key: bytes, to: str) -> AsyncIterator[Any]:
    """Somebody who connects to a validator's peer port with a certificate of their choice."""
    target = next(each for each in network.validators if each.name == to)
    ca = (network.directory / "authorities" / target.authority / "ca.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    options = [("grpc.ssl_target_name_override", to), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(str(target.peer_address), credentials, options=options) as channel:
        yield peer_pb2_grpc.PeerStub(channel)


async def refusal(stub: Any, *batches: peer_pb2.Batch) -> Any:
    call = stub.Exchange()
    try:
        async with asyncio.timeout(5):
            for batch in batches:
                await call.write(batch)
            while await call.read() is not grpc.aio.EOF:
                pass
            return await call.code()
    except grpc.aio.AioRpcError as error:
        return error.code()
    except asyncio.InvalidStateError:
        return await call.code()


def node_files(network: Network, folder: str) -> tuple[bytes, bytes]:
    directory = network.directory / folder
    return (directory / "certificate.pem").read_bytes(), (directory / "certificate.key").read_bytes()


def ca_of(network: Network, authority: str) -> certificates.CertificateAuthority:
    directory = network.directory / "authorities" / authority
    key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return certificates.CertificateAuthority(x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes()), key)


async def test_what_one_sends_the_other_hears_in_order_and_under_the_right_name(network: Network) -> None:
    async with ends(network, "kz-kgd-1", "cn-gacc-1") as made:

        async def connected() -> bool:
            return made.transports["kz-kgd-1"].connected() == ["cn-gacc-1"]

        await until(connected)
        for number in range(500):
            assert made.transports["kz-kgd-1"].send("cn-gacc-1", query(number))

        async def heard() -> bool:
            return len(made.heard["cn-gacc-1"]) == 500

        await until(heard)
        assert [each.cosignature_query.final_size for _, each in made.heard["cn-gacc-1"]] == list(range(500))
        assert {sender for sender, _ in made.heard["cn-gacc-1"]} == {"kz-kgd-1"}


async def test_both_ends_of_a_stream_say_which_versions_they_speak(network: Network) -> None:
    spoken = {"kz-kgd-1": VersionRange(1, 3), "cn-gacc-1": VersionRange(2, 4)}
    async with ends(network, "kz-kgd-1", "cn-gacc-1", spoken=spoken) as made:

        async def announced() -> bool:
            return made.versions["kz-kgd-1"].effective == 3 == made.versions["cn-gacc-1"].effective

        await until(announced)
        assert made.transports["kz-kgd-1"].refused == 0


async def test_two_that_have_no_version_in_common_exchange_nothing_and_both_know_why(network: Network) -> None:
    spoken = {"kz-kgd-1": VersionRange(1, 2), "cn-gacc-1": VersionRange(3, 4)}
    async with ends(network, "kz-kgd-1", "cn-gacc-1", spoken=spoken) as made:

        async def both_refused() -> bool:
            return all(versions.refusals for versions in made.versions.values())

        await until(both_refused)
        for name, other in (("kz-kgd-1", "cn-gacc-1"), ("cn-gacc-1", "kz-kgd-1")):
            assert "upgrade kz-kgd-1 first" in made.versions[name].refusals[other]
            assert made.transports[name].connected() == []
            assert not made.transports[name].send(other, query())
            assert made.heard[name] == []


async def test_a_peer_of_version_1_says_nothing_of_versions_and_is_welcome(network: Network) -> None:
    certificate, key = node_files(network, "validators/kz-kgd-2")
    async with ends(network, "kz-kgd-1") as made, caller(network, certificate, key, "kz-kgd-1") as stub:
        call = stub.Exchange()
        await call.write(peer_pb2.Batch(sender="kz-kgd-2", network=NETWORK_ID, envelopes=[query(7)]))
        welcome = await call.read()
        assert (welcome.name, welcome.network) == ("kz-kgd-1", NETWORK_ID)
        said = made.versions["kz-kgd-1"].said("kz-kgd-2")
        assert said is not None
        assert said.versions == UNANNOUNCED

        async def heard() -> bool:
            return [sender for sender, _ in made.heard["kz-kgd-1"]] == ["kz-kgd-2"]

        await until(heard)
        call.cancel()


async def test_a_range_that_is_none_ends_the_stream(network: Network) -> None:
    certificate, key = node_files(network, "validators/kz-kgd-2")
    async with ends(network, "kz-kgd-1") as made, caller(network, certificate, key, "kz-kgd-1") as stub:
        batch = peer_pb2.Batch(sender="kz-kgd-2", network=NETWORK_ID, protocol_lowest=3, protocol_highest=2)
        assert await refusal(stub, batch) is grpc.StatusCode.FAILED_PRECONDITION
        assert made.versions["kz-kgd-1"].said("kz-kgd-2") is None


@contextlib.asynccontextmanager
async def deaf(network: Network, name: str) -> AsyncIterator[None]:
    """A validator that welcomes whoever connects, and then reads nothing more."""

    class Deaf(peer_pb2_grpc.PeerServicer):
        async def Exchange(self, request_iterator: Any, context: Any) -> Any:
            await anext(aiter(request_iterator))
            yield peer_pb2.Welcome(name=name, network=NETWORK_ID)
            await asyncio.Event().wait()

    server = grpc.aio.server()
    peer_pb2_grpc.add_PeerServicer_to_server(Deaf(), server)
    certificate, key = node_files(network, f"validators/{name}")
    roots = b"".join((network.directory / "authorities" / each / "ca.pem").read_bytes() for each, _ in AUTHORITIES)
    address = next(each.peer_address for each in network.validators if each.name == name)
    server.add_secure_port(str(address), grpc.ssl_server_credentials([(key, certificate)], roots, True))
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def test_a_peer_that_reads_nothing_fills_its_own_queue_and_holds_up_nobody_else(network: Network) -> None:
    async with deaf(network, "cn-gacc-1"), ends(network, "kz-kgd-1", "cn-gacc-2") as made:
        sender = made.transports["kz-kgd-1"]

        async def both() -> bool:
            return set(sender.connected()) == {"cn-gacc-1", "cn-gacc-2"}

        await until(both)
        large = peer_pb2.Envelope(proposals=peer_pb2.Proposals(statements=[bytes(1024 * 1024)]))
        taken = 0
        while sender.send("cn-gacc-1", large):
            taken += 1
            await asyncio.sleep(0)
        # Beside what waits here, gRPC has what it has taken from us: a window of the stream.
        assert taken * large.ByteSize() <= 2 * QUEUE_MAX_BYTES
        assert sender.dropped

        async def heard() -> bool:
            sender.send("cn-gacc-2", query(1))
            return len(made.heard["cn-gacc-2"]) >= 20

        await until(heard)
        assert sender.queued() > 0


async def test_a_peer_that_is_cut_off_is_let_in_again_when_it_may_be(network: Network) -> None:
    async with ends(network, "kz-kgd-1", "cn-gacc-1") as made:
        sender, receiver = made.transports["kz-kgd-1"], made.transports["cn-gacc-1"]

        async def heard() -> bool:
            sender.send("cn-gacc-1", query(1))
            return bool(made.heard["cn-gacc-1"])

        await until(heard)
        receiver.cut_off = lambda name: f"{name} is cut off for a while"

        async def ended() -> bool:
            sender.send("cn-gacc-1", query(2))
            return sender.connected() == []

        await until(ended)
        made.heard["cn-gacc-1"].clear()
        await asyncio.sleep(0.3)
        assert made.heard["cn-gacc-1"] == []
        assert sender.connected() == []
        receiver.cut_off = lambda name: None
        await until(heard)


async def test_a_certificate_from_the_other_authoritys_ca_is_refused(network: Network) -> None:
    forged, key = certificates.issue(ca_of(network, "kz-kgd"), "cn-gacc-2", datetime.datetime.now(datetime.UTC))
    async with ends(network, "cn-gacc-1") as made, caller(network, forged, key, "cn-gacc-1") as stub:
        batch = peer_pb2.Batch(sender="cn-gacc-2", network=NETWORK_ID, envelopes=[query()])
        assert await refusal(stub, batch) is grpc.StatusCode.UNAUTHENTICATED
        assert made.heard["cn-gacc-1"] == []
        assert made.transports["cn-gacc-1"].refused == 1


async def test_a_stranger_with_a_ca_of_their_own_does_not_get_through_tls(network: Network) -> None:
    own = certificates.create_authority("kz-kgd", "KZ", datetime.datetime.now(datetime.UTC))
    forged, key = certificates.issue(own, "kz-kgd-1", datetime.datetime.now(datetime.UTC))
    async with ends(network, "cn-gacc-1") as made, caller(network, forged, key, "cn-gacc-1") as stub:
        batch = peer_pb2.Batch(sender="kz-kgd-1", network=NETWORK_ID, envelopes=[query()])
        assert await refusal(stub, batch) is grpc.StatusCode.UNAVAILABLE
        assert made.heard["cn-gacc-1"] == []


async def test_a_gateway_is_no_validator(network: Network) -> None:
    certificate, key = node_files(network, "gateways/kz-kgd-gateway-1")
    async with ends(network, "kz-kgd-1") as made, caller(network, certificate, key, "kz-kgd-1") as stub:
        batch = peer_pb2.Batch(sender="kz-kgd-gateway-1", network=NETWORK_ID)
        assert await refusal(stub, batch) is grpc.StatusCode.UNAUTHENTICATED
        assert made.heard["kz-kgd-1"] == []


@pytest.mark.parametrize(
    ("sender", "network_id"), [("cn-gacc-2", NETWORK_ID), ("", NETWORK_ID), ("kz-kgd-2", b"x" * 32), ("kz-kgd-2", b"")]
)
async def test_a_batch_of_another_name_or_network_ends_the_stream(
    network: Network, sender: str, network_id: bytes
) -> None:
    certificate, key = node_files(network, "validators/kz-kgd-2")
    async with ends(network, "kz-kgd-1") as made, caller(network, certificate, key, "kz-kgd-1") as stub:
        batch = peer_pb2.Batch(sender=sender, network=network_id, envelopes=[query()])
        assert await refusal(stub, batch) is grpc.StatusCode.PERMISSION_DENIED
        assert made.heard["kz-kgd-1"] == []


async def test_a_later_batch_cannot_change_its_name(network: Network) -> None:
    certificate, key = node_files(network, "validators/kz-kgd-2")
    async with ends(network, "kz-kgd-1") as made, caller(network, certificate, key, "kz-kgd-1") as stub:
        good = peer_pb2.Batch(sender="kz-kgd-2", network=NETWORK_ID, envelopes=[query(1)])
        bad = peer_pb2.Batch(sender="cn-gacc-1", envelopes=[query(2)])
        assert await refusal(stub, good, bad) is grpc.StatusCode.PERMISSION_DENIED
        assert [sender for sender, _ in made.heard["kz-kgd-1"]] == ["kz-kgd-2"]


async def test_a_validator_does_not_talk_to_an_impostor_at_its_peers_address(network: Network, tmp_path: Path) -> None:
    """The one who listens must prove the name as well: kz's CA cannot stand in for a validator of cn."""
    forged, key = certificates.issue(ca_of(network, "kz-kgd"), "cn-gacc-1", datetime.datetime.now(datetime.UTC))
    heard: list[peer_pb2.Batch] = []

    class Impostor(peer_pb2_grpc.PeerServicer):
        async def Exchange(self, request_iterator: Any, context: Any) -> Any:
            async for batch in request_iterator:
                heard.append(batch)
                yield peer_pb2.Welcome(name="cn-gacc-1", network=NETWORK_ID)

    server = grpc.aio.server()
    peer_pb2_grpc.add_PeerServicer_to_server(Impostor(), server)
    address = next(each.peer_address for each in network.validators if each.name == "cn-gacc-1")
    roots = b"".join((network.directory / "authorities" / name / "ca.pem").read_bytes() for name, _ in AUTHORITIES)
    server.add_secure_port(str(address), grpc.ssl_server_credentials([(key, forged)], roots, True))
    await server.start()
    try:
        async with ends(network, "kz-kgd-1") as made:
            await asyncio.sleep(0.6)
            assert heard == []
            assert made.transports["kz-kgd-1"].connected() == []
    finally:
        await server.stop(None)


async def test_a_peer_that_comes_back_is_connected_again(network: Network) -> None:
    async with ends(network, "kz-kgd-1") as made:
        for _ in range(2):
            async with ends(network, "cn-gacc-1"):

                async def connected() -> bool:
                    return bool(made.transports["kz-kgd-1"].connected())

                await until(connected)

            async def disconnected() -> bool:
                return not made.transports["kz-kgd-1"].connected()

            await until(disconnected)
        assert not made.transports["kz-kgd-1"].send("cn-gacc-1", query())


@pytest.mark.parametrize(
    "ending",
    [
        asyncio.InvalidStateError("RPC already finished."),  # a write that comes a moment before the end is read
        asyncio.CancelledError(),  # the other end has cancelled the call
        grpc.aio.UsageError("not now"),
        KeyError("what nobody has thought of"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_however_a_stream_ends_the_peer_is_connected_again(
    network: Network, ending: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    endings = [ending, ending]
    pump = PeerTransport._pump

    async def ends_twice(self: PeerTransport, *arguments: Any) -> None:
        if endings:
            raise endings.pop()
        await pump(self, *arguments)

    monkeypatch.setattr(PeerTransport, "_pump", ends_twice)
    async with ends(network, "kz-kgd-1", "cn-gacc-1") as made:

        async def through() -> bool:
            made.transports["kz-kgd-1"].send("cn-gacc-1", query(9))
            return bool(made.heard["cn-gacc-1"])

        await until(through)
        assert endings == []


async def test_a_transport_stops_when_it_is_told_to(network: Network) -> None:
    async with ends(network, "kz-kgd-1", "cn-gacc-1") as made:
        tasks = [
            outgoing.task
            for transport in made.transports.values()
            for outgoing in transport._outgoing.values()
            if outgoing.task
        ]
    assert tasks
    assert all(task.cancelled() for task in tasks)


async def test_a_gateway_of_the_other_authority_is_not_answered(network: Network) -> None:
    from nodes.identity import load_identity
    from nodes.validator import Validator

    config = load_validator_config(network.validators[0].config)
    validator = Validator(config, load_identity(config))
    await validator.start()
    try:
        async with Client(network, "kz-kgd-1") as own:
            assert (await own.status()).validator == "kz-kgd-1"
        async with Client(network, "kz-kgd-1", as_gateway="cn-gacc-gateway-1") as other:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await other.status()
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE  # TLS: another CA
            with pytest.raises(grpc.aio.AioRpcError):
                await other.stub.GetRecords(validator_pb2.RecordsQuery(keys=["registry/kz-kgd/registrar"]), timeout=2)
    finally:
        await validator.stop()


def test_grpc_is_told_of_other_cas_when_there_are_others_and_only_then(network: Network) -> None:
    """Told anew for every connection, it frees what handshakes on other threads still read: that ended processes."""
    transport = Ends(network, ["kz-kgd-1"]).transports["kz-kgd-1"]
    assert transport._certificates() is not None
    assert transport._certificates() is None
    callers = {"cn-gacc-1": "cn-gacc"}
    cas = dict(transport._cas)
    transport.set_peers([], callers, dict(reversed(cas.items())))
    assert transport._certificates() is None
    other = certificates.create_authority("ru-fts", "RU", datetime.datetime.now(datetime.UTC))
    pem = other.certificate.public_bytes(serialization.Encoding.PEM)
    transport.set_peers([], callers, cas | {"ru-fts": pem})
    assert transport._certificates() is not None
    assert transport._certificates() is None


async def test_two_processes_cannot_share_a_port(network: Network) -> None:
    async with ends(network, "kz-kgd-2"):
        second = Ends(network, ["kz-kgd-2"]).transports["kz-kgd-2"]
        with pytest.raises(OSError, match="cannot listen"):
            await second.start()
        await second.stop()
