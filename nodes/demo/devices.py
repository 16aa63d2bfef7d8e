"""Those who sign: each with its own key, its own disk, and the patience to send again.

A device signs when something happens in its world, whether or not anybody can be reached; it sends what it signed about
one thing in order, oldest first, and keeps each statement until it is final. It never signs the same fact twice. What
signs, keeps and sends is `api.onboard`, as any device would run it; here is what makes it part of a story: when it
tries again, who waits for the answer, and what is told about it afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from api.exchange import ClientError, RejectedStatement
from api.onboard import OnboardDevice, Sent
from contracts.telemetry import Fix
from ledger.algorithms import PrivateKey
from ledger.cbor import Value
from ledger.statement import Statement, parse_statement
from nodes.demo.delivery import Delivery, NotNow, PostOffice, Receipt, TurnedAway

RETRY_FIRST_S: Final = 0.25
RETRY_MAX_S: Final = 3.0
BATCHES: Final = "batches"  # what the sender of batches is called beside those of the subjects

# Leaves an attachment at the gateway of an authority, in the name of a participant.
LeaveAttachment = Callable[[str, str, bytes], Awaitable[bool]]


class Records:
    """Every statement that the run signed, by id, in the order of signing."""

    def __init__(self) -> None:
        self.deliveries: dict[bytes, Delivery] = {}
        self.final = 0
        self.resent = 0
        self.failure: Exception | None = None

    @property
    def signed(self) -> int:
        return len(self.deliveries)


class PutOff(ClientError):
    """Not now: the same bytes are to be sent again."""

    def __init__(self, reason: NotNow) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Link:
    """What a device sends over: the gateway of the side on which it stands, and a note of each try."""

    def __init__(self, device: Device) -> None:
        self._device = device

    async def submit(self, raw: bytes, *, wait: str = "committed") -> Receipt:
        return await self._device.deliver(parse_statement(raw))

    async def put_attachment(self, media_type: str, data: bytes) -> bool:
        return await self._device.leave(media_type, data)


class Device:
    """One participant's signing device. `authority` is the side on whose ground it stands: that gateway it talks to."""

    def __init__(
        self,
        participant: str,
        key: PrivateKey,
        authority: str,
        offices: Mapping[str, PostOffice],
        directory: Path,
        records: Records,
        rng: random.Random,
        leave_attachment: LeaveAttachment | None = None,
    ) -> None:
        self.participant = participant
        self.authority = authority
        self._key = key
        self._offices = offices
        self._directory = directory
        self._records = records
        self._rng = rng
        self._leave_attachment = leave_attachment
        self.clock_ahead_s = 0  # of the time, while it signs
        self._onboard = self._switched_on()
        self._link = _Link(self)
        self._last_fix_ms = 0
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._waiters: dict[bytes, asyncio.Future[Delivery]] = {}

    def _switched_on(self) -> OnboardDevice:
        return OnboardDevice(self.participant, self._key, self._directory, clock_s=self._clock_s)

    def _clock_s(self) -> int:
        return int(time.time()) + self.clock_ahead_s

    @property
    def waiting(self) -> int:
        """Statements that are signed and not final, and batches that no gateway has."""
        return self._onboard.waiting

    @property
    def fixes(self) -> int:
        """Fixes of the track that no statement has signed yet."""
        return self._onboard.fixes

    def sign(self, kind: str, subject: str, payload: Mapping[str, Value]) -> Delivery:
        """Sign what happened now, keep it on disk, and let it be sent."""
        return self._signed(self._onboard.sign(kind, subject, {name: payload[name] for name in payload}))

    def record(self, subject: str, latitude_udeg: int, longitude_udeg: int, speed_mm_s: int) -> None:
        """Add where it is now to the track of a movement, on the disk."""
        self._last_fix_ms = max(time.time_ns() // 1_000_000, self._last_fix_ms + 1)
        self._onboard.record(subject, Fix(self._last_fix_ms, latitude_udeg, longitude_udeg, speed_mm_s))
        self._onboard.flush()

    def close_batch(self) -> Delivery | None:
        """Sign the track so far as one batch, and let both be sent; None where there is no track."""
        statement = self._onboard.close_batch()
        if statement is None:
            return None
        self._begin(BATCHES, self._send_batches)
        return self._signed(statement)

    def _signed(self, statement: Statement) -> Delivery:
        delivery = Delivery(statement, self.authority, time.monotonic())
        self._records.deliveries[statement.id] = delivery
        self._send_about(statement.sub)
        return delivery

    async def until_final(self, delivery: Delivery) -> Delivery:
        """Wait until it is final. Raises TurnedAway if the answer was no."""
        if delivery.turned_away is not None:
            raise delivery.turned_away
        if delivery.final:
            return delivery
        waiter = self._waiters.get(delivery.statement.id)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[delivery.statement.id] = waiter
        return await asyncio.shield(waiter)

    async def send_again(self, delivery: Delivery) -> Receipt:
        """Send what is final once more, as a device does whose answer was lost."""
        while True:
            try:
                return await self._offices[self.authority].deliver(delivery.statement, delivery.leaving)
            except NotNow as put_off:
                await asyncio.sleep(min(RETRY_MAX_S, put_off.retry_after_s + RETRY_FIRST_S))

    async def until_idle(self) -> None:
        """Wait until everything signed is final or turned away, and every batch is with a gateway."""
        while senders := list(self._senders.values()):
            await asyncio.wait(senders)
        if self._records.failure is not None:
            raise self._records.failure

    def lose_power(self) -> int:
        """Forget everything but what is on disk, and start again from there. Returns how much of it is to be sent."""
        self._stop_sending()
        self._onboard.close()
        self._onboard = self._switched_on()
        for subject in self._onboard.subjects():
            self._send_about(subject)
        if self._onboard.batches_waiting:
            self._begin(BATCHES, self._send_batches)
        return self._onboard.waiting

    def close(self) -> None:
        self._stop_sending()
        self._onboard.close()

    def _stop_sending(self) -> None:
        for sender in self._senders.values():
            sender.cancel()
        self._senders.clear()

    def _send_about(self, subject: str) -> None:
        self._begin(subject, lambda: self._send_all(subject))

    def _begin(self, name: str, send: Callable[[], Awaitable[None]]) -> None:
        """One sender for each thing, so that nothing overtakes."""
        if name not in self._senders:
            self._senders[name] = asyncio.get_running_loop().create_task(self._sending(name, send))

    async def _sending(self, name: str, send: Callable[[], Awaitable[None]]) -> None:
        try:
            await send()
        except Exception as error:
            # A device that stopped sending would look like one that waits for ever.
            self._records.failure = error
            for waiter in self._waiters.values():
                if not waiter.done():
                    waiter.set_exception(error)
        del self._senders[name]

    async def _send_all(self, subject: str) -> None:
        pause_s = RETRY_FIRST_S
        while subject in self._onboard.subjects():
            sent = await self._onboard.send_about_async(subject, self._link)
            pause_s = RETRY_FIRST_S if sent.final or sent.refused else pause_s
            if sent.last_error is not None:
                pause_s = await self._pause(sent.last_error, pause_s)

    async def _send_batches(self) -> None:
        pause_s = RETRY_FIRST_S
        while self._onboard.batches_waiting:
            sent: Sent = await self._onboard.send_batches_async(self._link)
            if sent.last_error is not None:
                pause_s = await self._pause(sent.last_error, pause_s)

    async def _pause(self, error: ClientError, pause_s: float) -> float:
        """Wait before the next try; how long the one after may wait. Jitter above what the gateway asked for, so that
        devices that were cut off together do not come back together."""
        asked_s = error.reason.retry_after_s if isinstance(error, PutOff) else pause_s
        await asyncio.sleep(min(RETRY_MAX_S, asked_s) + self._rng.uniform(0.0, pause_s))
        return min(RETRY_MAX_S, pause_s * 2)

    # ---- the link

    async def deliver(self, statement: Statement) -> Receipt:
        """One try of one statement. Raises PutOff or RejectedStatement; anything else ends the sending."""
        delivery = self._records.deliveries[statement.id]
        delivery.authority = self.authority
        self._records.resent += delivery.attempts > 0
        try:
            delivery.receipt = await self._offices[self.authority].deliver(statement, delivery.leaving)
        except NotNow as put_off:
            delivery.put_off.append(put_off)
            raise PutOff(put_off) from put_off
        except TurnedAway as no:
            delivery.turned_away = no
            self._answer(delivery)
            raise RejectedStatement("rejected", {"outcome": no.outcome, "detail": str(no)}) from no
        except ClientError as error:
            raise RuntimeError(f"{statement.kind} of {statement.sub}: {error}") from error
        delivery.final_at_s = time.monotonic()
        self._records.final += 1
        self._answer(delivery)
        return delivery.receipt

    async def leave(self, media_type: str, data: bytes) -> bool:
        """Leave an attachment at the gateway of the side on which it stands. Raises ClientError if that cannot be."""
        if self._leave_attachment is None:
            raise RuntimeError(f"{self.participant} has a batch, and no gateway to leave it at")
        return await self._leave_attachment(self.authority, media_type, data)

    def _answer(self, delivery: Delivery) -> None:
        waiter = self._waiters.pop(delivery.statement.id, None)
        if waiter is None or waiter.done():
            return
        if delivery.turned_away is not None:
            waiter.set_exception(delivery.turned_away)
        else:
            waiter.set_result(delivery)
