"""Structured logs: one JSON object a line on standard error, so that standard output stays the program's own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure_logs(level: str, **always: str) -> None:
    """Set structlog up for this process: `level` is debug, info, warning or error; `always` stands in every line."""
    # The gRPC core writes lines of its own to standard error, which are not JSON; what matters of them reaches us
    # as status codes.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    def add_always(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**always, **event}

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_always,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
