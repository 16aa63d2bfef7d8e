"""An option whose name gRPC does not know is ignored without a word: each name is looked for in the library itself."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from api.grpc_client import CHANNEL_OPTIONS
from api.serve import grpc_options
from nodes.peers import SERVER_OPTIONS


def test_every_option_that_is_set_is_one_that_the_library_reads() -> None:
    found = find_spec("grpc._cython.cygrpc")
    assert found is not None
    library = Path(str(found.origin)).read_bytes()
    names = {name for name, _ in (*CHANNEL_OPTIONS, *grpc_options(1), *SERVER_OPTIONS)}
    assert [name for name in sorted(names) if name.encode() + b"\0" not in library] == []


def test_a_gateway_bears_the_questions_that_its_devices_ask() -> None:
    asked_ms = dict(CHANNEL_OPTIONS)["grpc.keepalive_time_ms"]
    borne_ms = dict(grpc_options(1))["grpc.http2.min_ping_interval_without_data_ms"]
    assert borne_ms < asked_ms
