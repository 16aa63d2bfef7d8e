"""What a gateway must be told before it starts. Plain values: reading them from a file is the work of `nodes`.

Every limit is checked before the bytes it limits are parsed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class ValidatorEndpoint(NamedTuple):
    """One validator of the gateway's own authority; its certificate must carry `name`."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """PEM files for mutual TLS with the validators."""

    certificate: Path
    private_key: Path
    authority_ca: Path


@dataclass(frozen=True, slots=True)
class PublicTlsPaths:
    """PEM files for the gateway's own front, where nothing before it ends TLS."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds on what one caller, or all of them together, may ask for."""

    sequence_max_bytes: int = 1024 * 1024
    sequence_max_statements: int = 512
    in_flight_max_statements: int = 16_384
    in_flight_max_bytes: int = 64 * 1024 * 1024
    stream_unanswered_max_statements: int = 8_192
    page_items: int = 50
    page_max_items: int = 200
    event_streams_max: int = 512
    submit_timeout_ms: int = 10_000
    final_timeout_ms: int = 30_000
    request_timeout_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class AttachmentLimits:
    """Where attachments are kept, how many bytes of them, and for how long."""

    directory: Path
    quota_bytes: int = 8 * 1024**3
    participant_quota_bytes: int = 512 * 1024**2
    telemetry_days: int = 400
    envelope_days: int = 5 * 366


@dataclass(frozen=True, slots=True)
class ReferenceFiles:
    """The operator's tables of places and goods, and whether what is not in them is refused or only reported."""

    unlocode: tuple[Path, ...] = ()
    hs: Path | None = None
    refuse: bool = True


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One gateway. A port of 0 lets the system choose; `serve_gateway` reports which it chose.

    `/metrics` is served at `metrics_port` alone, to whoever reaches it; without one, nowhere: how much a border post
    does, and how its validators are, is not for the public.

    `tls` is None only where validators and gateway share a process, as in tests: a validator of the network answers
    nobody without a certificate.

    Without `attachments` the gateway keeps none, and takes no statement that refers to an envelope.
    """

    name: str
    authority: str
    origin: str
    validators: tuple[ValidatorEndpoint, ...]
    http_host: str = "127.0.0.1"
    http_port: int = 0
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 0
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    tls: TlsPaths | None = None
    public_tls: PublicTlsPaths | None = None
    limits: RequestLimits = field(default_factory=RequestLimits)
    attachments: AttachmentLimits | None = None
    reference: ReferenceFiles | None = None
    # Whether tokens are taken that name the log alone, and not the authority: those of clients of before.
    unbound_tokens: bool = True
    log_level: str = "info"
