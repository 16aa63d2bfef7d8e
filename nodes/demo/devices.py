"""Those who sign: each with its own key, its own outbox on disk, and the patience to send again.

A device signs when something happens in its world, whether or not anybody can be reached; it sends what it signed about
one thing in order, oldest first, and keeps each statement until it is final. It never signs the same fact twice.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from api.outbox import Outbox
from ledger.algorithms import PrivateKey
from ledger.cbor import Value
from ledger.statement import Statement, sign_statement
from nodes.demo.delivery import Delivery, NotNow, PostOffice, TurnedAway

CTI_BYTES: Final = 16
RETRY_FIRST_S: Final = 0.25
RETRY_MAX_S: Final = 3.0


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

    def of_subject(self, subject: str) -> list[Delivery]:
        return [item for item in self.deliveries.values() if item.statement.sub == subject]


class Device:
    """One participant's signing device. `authority` is the side on whose ground it stands: that gateway it talks to."""

    def __init__(
        self,
        participant: str,
        key: PrivateKey,
        authority: str,
        offices: Mapping[str, PostOffice],
        outboxes: Path,
        records: Records,
        rng: random.Random,
    ) -> None:
        self.participant = participant
        self.authority = authority
        self._key = key
        self._offices = offices
        self._outboxes = outboxes
        self._records = records
        self._rng = rng
        self._outbox = Outbox(outboxes, participant)
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._waiters: dict[bytes, asyncio.Future[Delivery]] = {}

    @property
    def waiting(self) -> int:
        """Statements that are signed and not final."""
        return len(self._outbox)

    def sign(self, kind: str, subject: str, payload: Mapping[str, Value]) -> Delivery:
        """Sign what happened now, keep it on disk, and let it be sent."""
        statement = sign_statement(
            self._key,
            kind=kind,
            iss=self.participant,
            sub=subject,
            iat_s=int(time.time()),
            cti=os.urandom(CTI_BYTES),
            payload=dict(payload),
        )
        self._outbox.put(statement)
        delivery = Delivery(statement, self.authority, time.monotonic())
        self._records.deliveries[statement.id] = delivery
        self._send_about(subject)
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

    async def until_idle(self) -> None:
        """Wait until everything signed is final or turned away."""
        while senders := list(self._senders.values()):
            await asyncio.wait(senders)
        if self._records.failure is not None:
            raise self._records.failure

    def lose_power(self) -> int:
        """Forget everything but what is on disk, and start again from there. Returns how many statements came back."""
        self._stop_sending()
        self._outbox.close()
        self._outbox = Outbox(self._outboxes, self.participant)
        for subject in self._outbox.subjects():
            self._send_about(subject)
        return len(self._outbox)

    def close(self) -> None:
        self._stop_sending()
        self._outbox.close()

    def _stop_sending(self) -> None:
        for sender in self._senders.values():
            sender.cancel()
        self._senders.clear()

    def _send_about(self, subject: str) -> None:
        if subject not in self._senders:
            self._senders[subject] = asyncio.get_running_loop().create_task(self._send_all(subject))

    async def _send_all(self, subject: str) -> None:
        try:
            while (oldest := self._outbox.oldest(subject)) is not None:
                await self._send(oldest)
        except Exception as error:
            # A device that stopped sending would look like one that waits for ever.
            self._records.failure = error
            for waiter in self._waiters.values():
                if not waiter.done():
                    waiter.set_exception(error)
        del self._senders[subject]

    async def _send(self, statement: Statement) -> None:
        delivery = self._records.deliveries[statement.id]
        pause_s = RETRY_FIRST_S
        while delivery.receipt is None and delivery.turned_away is None:
            delivery.authority = self.authority
            self._records.resent += delivery.attempts > 0
            try:
                delivery.receipt = await self._offices[self.authority].deliver(statement, delivery.leaving)
                delivery.final_at_s = time.monotonic()
            except TurnedAway as no:
                delivery.turned_away = no
            except NotNow as put_off:
                delivery.put_off.append(put_off)
                # Jitter above what the gateway asked for, so that devices that were cut off together do not come back
                # together.
                await asyncio.sleep(min(RETRY_MAX_S, put_off.retry_after_s) + self._rng.uniform(0.0, pause_s))
                pause_s = min(RETRY_MAX_S, pause_s * 2)
        self._records.final += delivery.final
        self._outbox.done(statement.id)
        self._answer(delivery)

    def _answer(self, delivery: Delivery) -> None:
        waiter = self._waiters.pop(delivery.statement.id, None)
        if waiter is None or waiter.done():
            return
        if delivery.turned_away is not None:
            waiter.set_exception(delivery.turned_away)
        else:
            waiter.set_result(delivery)
