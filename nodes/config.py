"""The configuration files of a validator and of a gateway: TOML, strict, every path relative to the file.

An unknown key, a missing key or a value of the wrong type is a `ConfigError` that names the file and the key: a typing
error must never silently become a default. Nothing here opens a socket or reads a key; `certificates` and `validator`
do that with the paths found here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.config import GatewayConfig

MAX_CONFIG_BYTES = 256 * 1024
MAX_PORT = 65535
LOG_LEVELS = ("debug", "info", "warning", "error")
MAX_GATEWAY_LIMIT = 1 << 30
MAX_ATTACHMENT_LIMIT = 1 << 50  # bytes; more days than anybody will count

_match_digest = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AuthorityEntry:
    """An authority as its partners know it: its name and the CA that alone may certify its machines."""

    name: str
    country: str
    # PEM; several while one CA takes the place of another.
    ca_certificate: Path
    # The CA in force, where the genesis record and the ledger as far as it is known here do not say so yet.
    ca_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class PeerEntry:
    name: str
    authority: str
    address: Address


@dataclass(frozen=True, slots=True)
class Tuning:
    """Limits and pacing. The defaults hold on a machine that stalls for half a second now and then.

    Threads of one process hand the interpreter to each other, at a cost that was measured: hence half as many threads
    that check signatures as there are cores, and no shorter turns than Python's own.
    """

    tick_ms: int = 50
    election_timeout_ticks: int = 20
    heartbeat_ticks: int = 2
    block_max_statements: int = 400
    block_max_bytes: int = 1024 * 1024
    block_interval_ms: int = 30
    block_interval_max_ms: int = 120
    blocks_in_flight: int = 4
    pending_max_statements: int = 20_000
    pending_max_bytes: int = 64 * 1024 * 1024
    order_timeout_ms: int = 3000
    signature_threads: int = field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))
    # In the place of those threads, processes of 30 MB each: for a machine that has cores to spare.
    signature_processes: int = 0
    inline_max_bytes: int = 16 * 1024
    # Everything stored is read again and held against itself: so fast, so long after the last time. 0: never.
    scrub_bytes_per_s: int = 2 * 1024 * 1024
    scrub_interval_s: int = 3600
    # Blocks of the order that are kept after they were executed, at most so many, and of these so many bytes:
    # a validator that was away for no longer gets those.
    order_tail_entries: int = 100_000
    order_tail_bytes: int = 512 * 1024 * 1024
    # Entries of the order after which an observer that was let in, and was never heard of, holds nothing back any more.
    unheard_observer_entries: int = 10_000
    switch_interval_us: int = 5000


@dataclass(frozen=True, slots=True)
class FurtherEntry:
    """Further cosignatures: the policy that names whose, and how often to ask for them."""

    policy: Path
    interval_s: int = 30


@dataclass(frozen=True, slots=True)
class ValidatorConfig:
    path: Path
    name: str
    authority: str
    origin: str
    genesis: Path
    policy: Path
    data: Path
    peer_address: Address
    service_address: Address
    http_address: Address | None
    certificate: Path
    certificate_key: Path
    # None where nothing is cosigned: a witness has neither, an observer may do without its authority's log key.
    cosigner_key: Path | None
    log_key: Path | None
    authorities: tuple[AuthorityEntry, ...]
    peers: tuple[PeerEntry, ...]
    gateways: tuple[str, ...]
    # An ML-DSA-44 key for further cosignatures, and whose of those are collected: both optional.
    ml_dsa_key: Path | None = None
    further: FurtherEntry | None = None
    # The signed changes of the membership that were in force when this folder was made, one after the other.
    membership: Path | None = None
    # The log key that is to take the place of the other, at the height that both authorities have agreed on.
    log_key_next: Path | None = None
    log_level: str = "info"
    tuning: Tuning = field(default_factory=Tuning)

    def authority_of(self, validator: str) -> AuthorityEntry:
        """The authority whose validator this is, the node itself included."""
        name = self.authority
        if validator != self.name:
            name = next((peer.authority for peer in self.peers if peer.name == validator), "")
        for authority in self.authorities:
            if authority.name == name:
                return authority
        raise ConfigError(f"{self.path}: {validator} is no validator of this network")


class _Table:
    """One TOML table being read: takes keys out, and complains about what is left."""

    def __init__(self, path: Path, where: str, values: Mapping[str, Any]) -> None:
        self._path = path
        self._where = where
        self._left = dict(values)

    def fault(self, key: str, what: str) -> ConfigError:
        name = f"{self._where}.{key}" if self._where else key
        return ConfigError(f"{self._path}: {name}: {what}")

    def _take(self, key: str, kind: type, expected: str) -> Any:
        if key not in self._left:
            raise self.fault(key, "is missing")
        value = self._left.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fault(key, f"expected {expected}, got {value!r}")
        return value

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def text(self, key: str) -> str:
        value: str = self._take(key, str, "text")
        if not value:
            raise self.fault(key, "is empty")
        return value

    def number(self, key: str, low: int, high: int) -> int:
        value: int = self._take(key, int, "a whole number")
        if not low <= value <= high:
            raise self.fault(key, f"expected {low} to {high}, got {value}")
        return value

    def truth(self, key: str) -> bool:
        value: bool = self._take(key, bool, "true or false")
        return value

    def digest(self, key: str) -> bytes:
        value = self.text(key)
        if not _match_digest(value):
            raise self.fault(key, f"expected a SHA-256, 64 digits of 0-9 and a-f, got {value!r}")
        return bytes.fromhex(value)

    def file(self, key: str) -> Path:
        return (self._path.parent / self.text(key)).resolve()

    def files(self, key: str) -> tuple[Path, ...]:
        return tuple((self._path.parent / each).resolve() for each in self.texts(key))

    def choice(self, key: str, values: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in values:
            raise self.fault(key, f"expected {' or '.join(values)}, got {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._take(key, list, "a list of texts")
        if not all(isinstance(value, str) and value for value in values):
            raise self.fault(key, f"expected a list of texts, got {values!r}")
        return tuple(values)

    def address(self, key: str) -> Address:
        return parse_address(self.text(key), lambda what: self.fault(key, what))

    def table(self, key: str) -> _Table:
        return _Table(self._path, key, self._take(key, dict, "a table"))

    def tables(self, key: str) -> list[_Table]:
        values = self._take(key, list, "a list of tables")
        if not all(isinstance(value, dict) for value in values):
            raise self.fault(key, "expected a list of tables")
        return [_Table(self._path, f"{key}[{number}]", value) for number, value in enumerate(values)]

    def end(self) -> None:
        for key in self._left:
            raise self.fault(key, "is not a known key")


def parse_address(text: str, fail: Any = ValueError) -> Address:
    """`host:port` or `[v6]:port`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        raise fail(f"expected host:port, got {text!r}")
    return Address(host, int(port))


def _read(path: Path) -> _Table:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: too large: limit {MAX_CONFIG_BYTES} bytes, got {len(data)}")
    try:
        return _Table(path, "", tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


_TUNING_LIMITS = {
    "tick_ms": (5, 1000),
    "election_timeout_ticks": (5, 1000),
    "heartbeat_ticks": (1, 100),
    "block_max_statements": (1, 10_000),
    "block_max_bytes": (64 * 1024, 8 * 1024 * 1024),
    "block_interval_ms": (1, 10_000),
    "block_interval_max_ms": (1, 10_000),
    "blocks_in_flight": (1, 64),
    "pending_max_statements": (1, 1_000_000),
    "pending_max_bytes": (64 * 1024, 1024 * 1024 * 1024),
    "order_timeout_ms": (100, 60_000),
    "signature_threads": (1, 64),
    "signature_processes": (0, 64),
    "inline_max_bytes": (0, 1024 * 1024),
    "scrub_bytes_per_s": (0, 1024 * 1024 * 1024),
    "scrub_interval_s": (1, 30 * 24 * 3600),
    "order_tail_entries": (16, 1_000_000_000),
    "unheard_observer_entries": (1, 1_000_000_000),
    "order_tail_bytes": (64 * 1024, 1024 * 1024 * 1024 * 1024),
    "switch_interval_us": (50, 100_000),
}


def _tuning(table: _Table) -> Tuning:
    values = {
        item.name: table.number(item.name, *_TUNING_LIMITS[item.name]) for item in fields(Tuning) if item.name in table
    }
    table.end()
    tuning = Tuning(**values)
    if tuning.election_timeout_ticks < 3 * tuning.heartbeat_ticks:
        raise table.fault("election_timeout_ticks", "expected at least three times tuning.heartbeat_ticks")
    return tuning


def _further(table: _Table) -> FurtherEntry:
    policy = table.file("policy")
    interval = {"interval_s": table.number("interval_s", 1, 86_400)} if "interval_s" in table else {}
    table.end()
    return FurtherEntry(policy, **interval)


def load_validator_config(path: str | Path) -> ValidatorConfig:
    """Read `validator.toml`. Raises ConfigError."""
    file = Path(path).resolve()
    table = _read(file)
    listen, keys = table.table("listen"), table.table("keys")
    authorities = []
    for item in table.tables("authorities"):
        named = item.digest("ca_sha256") if "ca_sha256" in item else None
        authorities.append(AuthorityEntry(item.text("name"), item.text("country"), item.file("ca_certificate"), named))
        item.end()
    peers = []
    for item in table.tables("peers"):
        peers.append(PeerEntry(item.text("name"), item.text("authority"), item.address("address")))
        item.end()
    config = ValidatorConfig(
        path=file,
        name=table.text("name"),
        authority=table.text("authority"),
        origin=table.text("origin"),
        genesis=table.file("genesis"),
        policy=table.file("policy"),
        data=table.file("data"),
        peer_address=listen.address("peers"),
        service_address=listen.address("gateways"),
        http_address=listen.address("http") if "http" in listen else None,
        certificate=keys.file("certificate"),
        certificate_key=keys.file("certificate_key"),
        cosigner_key=keys.file("cosigner") if "cosigner" in keys else None,
        log_key=keys.file("log") if "log" in keys else None,
        log_key_next=keys.file("log_next") if "log_next" in keys else None,
        authorities=tuple(authorities),
        peers=tuple(peers),
        gateways=table.texts("gateways"),
        ml_dsa_key=keys.file("ml_dsa") if "ml_dsa" in keys else None,
        further=_further(table.table("further")) if "further" in table else None,
        membership=table.file("membership") if "membership" in table else None,
        log_level=table.choice("log_level", LOG_LEVELS) if "log_level" in table else "info",
        tuning=_tuning(table.table("tuning")) if "tuning" in table else Tuning(),
    )
    for part in (listen, keys, table):
        part.end()
    _check_names(config)
    return config


def _check_names(config: ValidatorConfig) -> None:
    authorities = [authority.name for authority in config.authorities]
    validators = [config.name, *(peer.name for peer in config.peers)]
    for names, what in ((authorities, "authorities"), (validators, "peers"), (list(config.gateways), "gateways")):
        if len(set(names)) != len(names):
            raise ConfigError(f"{config.path}: {what}: a name stands there twice")
    # A peer may be of a neutral party, whose CA the genesis record or a change brings.
    if config.authority not in authorities:
        raise ConfigError(f"{config.path}: authority {config.authority!r} is not listed under authorities")


def load_gateway_config(path: str | Path) -> GatewayConfig:
    """Read `gateway.toml` into the gateway's own configuration type. Raises ConfigError."""
    from api import config as gateway

    file = Path(path).resolve()
    table = _read(file)
    listen, keys = table.table("listen"), table.table("keys")
    http, grpc = listen.address("http"), listen.address("grpc")
    metrics = listen.address("metrics") if "metrics" in listen else None
    validators = []
    for item in table.tables("validators"):
        address = item.address("address")
        validators.append(gateway.ValidatorEndpoint(item.text("name"), address.host, address.port))
        item.end()
    if not validators:
        raise ConfigError(f"{file}: validators: expected at least one")
    public_tls = None
    if "public_tls" in table:
        public = table.table("public_tls")
        public_tls = gateway.PublicTlsPaths(public.file("certificate"), public.file("certificate_key"))
        public.end()
    limits = gateway.RequestLimits()
    if "limits" in table:
        given = table.table("limits")
        names = [item.name for item in fields(gateway.RequestLimits) if item.name in given]
        limits = gateway.RequestLimits(**{name: given.number(name, 1, MAX_GATEWAY_LIMIT) for name in names})
        given.end()
    attachments = None
    if "attachments" in table:
        given = table.table("attachments")
        numbers = [item.name for item in fields(gateway.AttachmentLimits) if item.name in given]
        attachments = gateway.AttachmentLimits(
            given.file("directory"),
            **{name: given.number(name, 1, MAX_ATTACHMENT_LIMIT) for name in numbers if name != "directory"},
        )
        given.end()
    reference = None
    if "reference" in table:
        given = table.table("reference")
        reference = gateway.ReferenceFiles(
            given.files("unlocode") if "unlocode" in given else (),
            given.file("hs") if "hs" in given else None,
            given.choice("unlisted", ("refuse", "report")) == "refuse",
        )
        given.end()
    config = gateway.GatewayConfig(
        name=table.text("name"),
        authority=table.text("authority"),
        origin=table.text("origin"),
        validators=tuple(validators),
        http_host=http.host,
        http_port=http.port,
        grpc_host=grpc.host,
        grpc_port=grpc.port,
        metrics_host=metrics.host if metrics else "",
        metrics_port=metrics.port if metrics else None,
        tls=gateway.TlsPaths(keys.file("certificate"), keys.file("certificate_key"), keys.file("ca_certificate")),
        public_tls=public_tls,
        limits=limits,
        attachments=attachments,
        reference=reference,
        unbound_tokens=table.truth("unbound_tokens") if "unbound_tokens" in table else True,
        log_level=table.choice("log_level", LOG_LEVELS) if "log_level" in table else "info",
    )
    for part in (listen, keys, table):
        part.end()
    return config
