"""Running one validator in this process: from the configuration to the exit status.

A validator that has caught up by a snapshot is taken apart and begins anew from the new ledger: every part of it starts
from what is on the disk, as after any start. The process stays the same to whoever watches over it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable

import structlog

import consensus
from api.logs import configure_logs
from ledger.errors import LedgerError, UnknownDurableState, WriteFailed
from ledger.store import StoreUnavailable
from nodes.config import ConfigError, ValidatorConfig
from nodes.identity import load_identity
from nodes.validator import EXIT_CONFIG, EXIT_DURABLE_STATE, EXIT_STOPPED, EXIT_UNAVAILABLE, REOPEN, Validator

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNAL_ON_ITS_WAY_S = 0.01
# What the stores, the peers and the gateways of one validator may have open together, where the machine allows it.
OPEN_FILES = 65_536


async def serve_validator(
    config: ValidatorConfig,
    *,
    on_started: Callable[[Validator], None] | None = None,
    begin_anew: Callable[[], None] | None = None,
) -> int:
    """Run one validator until a signal or until it can no longer be trusted. Returns the exit status.

    `begin_anew`: how a validator that has caught up by a snapshot exchanges the process image, and does not come back;
    without it, it begins anew in this event loop.
    """
    present: list[Validator] = []
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        if present:
            present[-1].finish()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    # What came while this process exchanged its image was held back, and comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    while True:
        code = await _serve_once(config, present, on_started)
        if code != REOPEN:
            return code
        if stopping.is_set():
            return EXIT_STOPPED
        if begin_anew is not None:
            # From here on until the new image listens, a signal waits: it would end the process as if it had crashed.
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            # One that came before is on its way to `stop`: through a pipe, and then as a callback.
            await asyncio.sleep(SIGNAL_ON_ITS_WAY_S)
            if not stopping.is_set():
                begin_anew()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            return EXIT_STOPPED


async def _serve_once(
    config: ValidatorConfig, present: list[Validator], on_started: Callable[[Validator], None] | None
) -> int:
    log = structlog.get_logger().bind(part="validator")
    present.clear()
    try:
        validator = Validator(config, load_identity(config))
    except ConfigError as error:
        log.error("bad_configuration", reason=str(error))
        return EXIT_CONFIG
    except (StoreUnavailable, WriteFailed, OSError) as error:
        log.error("unavailable", reason=str(error))
        return EXIT_UNAVAILABLE
    except (LedgerError, consensus.UnknownDurableState) as error:
        # A final note that our own policy does not accept is one of these.
        return _damaged(config, error)
    present.append(validator)
    try:
        await validator.start()
    except OSError as error:
        log.error("unavailable", reason=str(error))
        return EXIT_UNAVAILABLE
    except UnknownDurableState as error:
        return _damaged(config, error)
    if on_started is not None:
        on_started(validator)
    code = await validator.run()
    await validator.stop()
    return code


def _damaged(config: ValidatorConfig, error: Exception) -> int:
    structlog.get_logger().bind(part="validator").error(
        "durable_state_unknown", reason=str(error), remedy=f"look with: comity storage check {config.data}"
    )
    return EXIT_DURABLE_STATE


def _raise_file_limit() -> None:
    """As many file descriptors as are allowed: connections of others must not take those that the stores need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_validator(config: ValidatorConfig) -> int:
    """Run one validator in this process until SIGTERM or SIGINT. Returns the exit status (see `nodes.validator`)."""
    configure_logs(config.log_level, validator=config.name)
    _raise_file_limit()
    sys.setswitchinterval(config.tuning.switch_interval_us / 1_000_000)
    return _run_until_it_ends(config)


def _exchange_the_image() -> None:
    """The same process id, and nothing of what was in it. Beginning anew beside the remains of a gRPC server that was
    stopped has ended in an abort inside gRPC (a reference count below zero), some tenths of a second later.

    While the event loop still runs: once it is closed, a signal to stop would be nobody's.
    """
    sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)


def _run_until_it_ends(config: ValidatorConfig) -> int:
    serving = serve_validator(config, begin_anew=_exchange_the_image)
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serving)
    except ImportError:
        return asyncio.run(serving)
