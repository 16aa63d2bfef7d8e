"""The gateway process: HTTP and gRPC in front, its authority's validators behind, metrics at an address of their own.

`serve_gateway` runs until it is told to stop (a signal, or the event that the caller sets) and then, in this order:
reports not ready, ends the event streams, lets requests finish, answers what is still on the way as unavailable.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import grpc
import grpc.aio
import structlog
import uvicorn
import uvloop

from api.config import GatewayConfig, PublicTlsPaths, RequestLimits, TlsPaths, ValidatorEndpoint
from api.core import Gateway
from api.device import MESSAGE_MAX_BYTES, DeviceService
from api.frequent import App
from api.http import create_app, create_metrics_app
from api.proto.gateway_pb2_grpc import add_GatewayServicer_to_server
from api.validators import ValidatorPool

__all__ = [
    "GatewayConfig",
    "Listening",
    "PublicTlsPaths",
    "RequestLimits",
    "TlsPaths",
    "ValidatorEndpoint",
    "run_gateway",
    "serve_gateway",
]

GRACE_S = 5.0
KEEP_ALIVE_S = 75
BACKLOG = 512
SWEEP_INTERVAL_S = 3600.0

log = structlog.get_logger("api.serve")


class Listening(NamedTuple):
    """Where a gateway listens, ports of 0 replaced by what the system chose."""

    http_host: str
    http_port: int
    grpc_host: str
    grpc_port: int
    metrics_host: str = ""
    metrics_port: int | None = None


class _HttpServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has more than one server to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Left to `serve_gateway`."""
        yield


async def serve_gateway(
    config: GatewayConfig,
    *,
    stop: asyncio.Event | None = None,
    on_listening: Callable[[Listening], None] | None = None,
    handle_signals: bool = True,
) -> None:
    """Runs one gateway until SIGINT, SIGTERM, or `stop`.

    Raises OSError if an address cannot be had, DirectoryTaken if another gateway has its attachments' folder.
    """
    stop = stop or asyncio.Event()
    limits = config.limits
    pool = ValidatorPool(
        config.validators,
        _validator_credentials(config.tls),
        in_flight_max=limits.in_flight_max_statements,
        in_flight_max_bytes=limits.in_flight_max_bytes,
        submit_timeout_s=limits.submit_timeout_ms / 1000,
        request_timeout_s=limits.request_timeout_ms / 1000,
    )
    gateway = Gateway(config, pool)
    fronts = _http_fronts(config, gateway)
    try:
        grpc_server, grpc_port = await _grpc_server(config, gateway)
    except BaseException:
        for front in fronts:
            front.sock.close()
        raise
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM) if handle_signals else ()
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        await pool.start()
        await grpc_server.start()
        listening = _listening(config, fronts, grpc_port)
        serving = [asyncio.create_task(_serve_http(front)) for front in fronts]
        for front, task in zip(fronts, serving, strict=True):
            await _started(front.server, task)
        sweeping = asyncio.create_task(_sweep_attachments(gateway))
        rereading = asyncio.create_task(gateway.listing.keep_fresh())
        log.info("gateway_listening", gateway=config.name, **listening._asdict())
        if on_listening is not None:
            on_listening(listening)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({*serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        log.info("gateway_stopping", gateway=config.name)
        gateway.stop_streams()
        sweeping.cancel()
        rereading.cancel()
        for front in fronts:
            front.server.should_exit = True
        # What is on the way gets half of the time to be answered; then its senders are told to come again.
        end_waits = loop.call_later(GRACE_S / 2, pool.end_waits)
        await asyncio.gather(grpc_server.stop(GRACE_S), *serving)
        end_waits.cancel()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        await grpc_server.stop(None)
        await gateway.close()
        for front in fronts:
            front.server.should_exit = True
            front.sock.close()
    log.info("gateway_stopped", gateway=config.name)


async def _sweep_attachments(gateway: Gateway) -> None:
    """Deletes what has been kept for long enough, for as long as the gateway runs."""
    store = gateway.attaching.kept
    while store is not None:
        await asyncio.sleep(SWEEP_INTERVAL_S)
        try:
            await asyncio.to_thread(store.sweep)
        except OSError as error:
            log.error("attachments_not_swept", error=str(error))


def run_gateway(config: GatewayConfig) -> None:
    """Runs one gateway in this process, on uvloop, until a signal ends it."""
    uvloop.run(serve_gateway(config))


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket, so that the port is known before anything is said of it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for an acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


class _Front(NamedTuple):
    """An HTTP server and the socket that it is to serve."""

    server: _HttpServer
    sock: socket.socket


def _http_fronts(config: GatewayConfig, gateway: Gateway) -> list[_Front]:
    """The public one, then the one for metrics if there is to be one. Raises OSError and leaves nothing bound."""
    public = _Front(_http_server(create_app(gateway), config.public_tls), _bind(config.http_host, config.http_port))
    if config.metrics_port is None:
        return [public]
    try:
        sock = _bind(config.metrics_host, config.metrics_port)
    except OSError:
        public.sock.close()
        raise
    return [public, _Front(_http_server(create_metrics_app(gateway), None), sock)]


def _listening(config: GatewayConfig, fronts: list[_Front], grpc_port: int) -> Listening:
    public, *metrics = (front.sock.getsockname()[1] for front in fronts)
    listening = Listening(config.http_host, public, config.grpc_host, grpc_port)
    return listening._replace(metrics_host=config.metrics_host, metrics_port=metrics[0]) if metrics else listening


def _http_server(app: App, public: PublicTlsPaths | None) -> _HttpServer:
    return _HttpServer(
        uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(GRACE_S),
            ssl_certfile=public.certificate if public else None,
            ssl_keyfile=public.private_key if public else None,
        )
    )


async def _serve_http(front: _Front) -> None:
    # uvicorn leaves by SystemExit when it cannot start.
    with suppress(SystemExit):
        await front.server.serve([front.sock])


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving
            raise OSError("the http server did not start")
        await asyncio.sleep(0.005)


def grpc_options(streams_max: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
        ("grpc.max_concurrent_streams", streams_max),
        ("grpc.so_reuseport", 0),
        # Devices on unreliable links ask whether the line is still there.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]


async def _grpc_server(config: GatewayConfig, gateway: Gateway) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=grpc_options(config.limits.event_streams_max))
    add_GatewayServicer_to_server(DeviceService(gateway), server)
    address = f"[{config.grpc_host}]:{config.grpc_port}" if ":" in config.grpc_host else None
    address = address or f"{config.grpc_host}:{config.grpc_port}"
    try:
        if config.public_tls is None:
            port = server.add_insecure_port(address)
        else:
            pair = (config.public_tls.private_key.read_bytes(), config.public_tls.certificate.read_bytes())
            port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        await server.stop(None)
        raise OSError(f"cannot listen on {address}: {error}") from error
    return server, port


def _validator_credentials(tls: TlsPaths | None) -> grpc.ChannelCredentials | None:
    if tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=tls.authority_ca.read_bytes(),
        private_key=tls.private_key.read_bytes(),
        certificate_chain=tls.certificate.read_bytes(),
    )
