"""The connection of a gateway to one validator: its channel, its open stream, and what is on the way through it.

Promises: who of several lanes is best to use follows from what is known here alone (`Lane.rank`), and whoever lost a
validator comes back to it at a time of its own (`Backoff`). Does not: open streams or answer anybody; `api.streams`
does.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from api.answers import Answer
from api.config import ValidatorEndpoint
from api.proto import validator_pb2 as wire
from api.proto import validator_pb2_grpc as service

MESSAGE_MAX_BYTES = 32 * 1024 * 1024
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0
# So many times in a row without an answer to the question how it is: then it counts as away.
HEALTH_MISSES_MAX = 2

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)

Callback = Callable[[Answer], None]


class Backoff:
    """Full jitter over a doubling bound, so that many who lost one validator do not come back at one instant."""

    __slots__ = ("_bound_s", "_random")

    def __init__(self) -> None:
        self._bound_s = BACKOFF_FIRST_S
        self._random = random.Random()

    def next_s(self) -> float:
        bound_s = self._bound_s
        self._bound_s = min(BACKOFF_MAX_S, bound_s * 2)
        return self._random.uniform(bound_s / 2, bound_s)

    def reset(self) -> None:
        self._bound_s = BACKOFF_FIRST_S


@dataclass(slots=True, eq=False)
class InFlight:
    """A statement that has not been answered yet, and everyone who waits for its answer."""

    tag: int
    id: bytes
    raw: bytes
    deadline_s: float
    waiters: list[Callback]
    answered: bool = False
    tried: tuple[str, ...] = ()
    orphaned_since_s: float = 0.0


class Lane:
    """The connection to one validator: its channel, its open stream, and what is on the way through it."""

    def __init__(self, endpoint: ValidatorEndpoint, channel: grpc.aio.Channel) -> None:
        self.endpoint = endpoint
        self.channel = channel
        self.stub = service.ValidatorStub(channel)
        self.up = False
        self.misses = 0
        self.ahead = 0
        self.status: wire.ValidatorStatus | None = None
        self.queue: deque[InFlight] = deque()
        self.wake = asyncio.Event()
        self.in_flight: dict[int, InFlight] = {}
        self.submit_call: Any = None
        self.follow_call: Any = None

    @property
    def name(self) -> str:
        return self.endpoint.name

    def rank(self, position: int) -> tuple[bool, bool, bool, int]:
        """Sorts the best validator first."""
        status = self.status
        answering = self.misses < HEALTH_MISSES_MAX
        ready = status is not None and status.ready and not status.halted
        leads = status is not None and status.leader == self.name
        return (not (self.up and answering), not ready, not leads, position)


def channel_to(endpoint: ValidatorEndpoint, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    target = f"[{endpoint.host}]:{endpoint.port}" if ":" in endpoint.host else f"{endpoint.host}:{endpoint.port}"
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=list(CHANNEL_OPTIONS))
    # The certificate names the validator, not the machine it runs on today.
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", endpoint.name)]
    return grpc.aio.secure_channel(target, credentials, options=options)


def task_is_cancelled() -> bool:
    """Whether it is this task that is to end: grpc raises CancelledError for a call that was cancelled, too."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
