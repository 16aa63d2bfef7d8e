"""From one image of the process to the next, a signal to stop is neither lost nor an end as by a crash."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from nodes import running
from nodes.validator import EXIT_STOPPED, REOPEN


def stop_me() -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGTERM)


async def test_a_signal_that_comes_while_the_old_image_ends_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    async def serve_once(*_: Any) -> int:
        stop_me()  # its callback has not run when the validator has ended
        return REOPEN

    monkeypatch.setattr(running, "_serve_once", serve_once)
    config: Any = None
    assert await running.serve_validator(config, begin_anew=lambda: begun.append(1)) == EXIT_STOPPED
    assert not begun


async def test_a_signal_that_comes_while_the_image_is_exchanged_waits_for_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, pending = [], []

    async def serve_once(*_: Any) -> int:
        served.append(1)
        return REOPEN

    def begin_anew() -> None:
        stop_me()
        pending.extend(signal.sigpending())

    monkeypatch.setattr(running, "_serve_once", serve_once)
    config: Any = None
    await running.serve_validator(config, begin_anew=begin_anew)
    assert pending == [signal.SIGTERM]
    # The new image, had there been one: it listens first, and then lets come what was held back.
    await asyncio.sleep(0.05)
    assert signal.SIGTERM not in signal.sigpending()


@pytest.fixture(autouse=True)
def as_before() -> Any:
    before = {number: signal.getsignal(number) for number in running.STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, running.STOP_SIGNALS)
