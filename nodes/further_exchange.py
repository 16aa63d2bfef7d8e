"""Asks everybody, now and then, for a further cosignature of what is final: see `further` for what that is.

Promises: other validators are asked over the transport that there is, witnesses in a thread; whatever goes wrong there
stands in the status and delays nobody. What one validator got, the others get as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import structlog

from ledger.chain import Chain
from ledger.note import NoteSignature
from ledger.policy import Witness
from ledger.store import Store, StoreUnavailable
from nodes import wire
from nodes.clock import Clock
from nodes.config import ValidatorConfig
from nodes.environment import Environment, Transport
from nodes.feeding import Feed, NoAnswer
from nodes.further import Draft, Further
from nodes.identity import Identity

# So often it is looked whether a witness is due again, or a draft lacks a signature.
LOOK_S = 1.0


class FurtherExchange:
    """Belongs to the event loop."""

    def __init__(
        self,
        further: Further,
        feeds: dict[str, Feed],
        interval_s: int,
        clock: Clock,
        transport: Transport,
        thread: Executor,
    ) -> None:
        """`feeds`: by the name that the policy gives each witness with a URL."""
        self.further = further
        self._feeds = feeds
        self._interval_s = interval_s
        self._clock = clock
        self._transport = transport
        self._thread = thread
        # The witnesses that are being asked, each by name; one that takes its time holds up no other.
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger().bind(part="further")

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await asyncio.sleep(min(LOOK_S, self._interval_s))
                try:
                    await self._round()
                except StoreUnavailable as error:
                    self._log.warning("further_not_kept", reason=str(error))
        finally:
            for task in self._asking.values():
                task.cancel()
            await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _round(self) -> None:
        self._end_asked()
        draft = self.further.begin(self._clock.monotonic_s(), self._clock.now_ms() // 1000, self._interval_s)
        if draft is None:
            return
        now_s = self._clock.monotonic_s()
        if draft.told_s is None or (not self.further.is_complete(draft) and now_s - draft.told_s >= self._interval_s):
            draft.told_s = now_s
            self._tell(draft)
        due = [
            each for each in self.further.unsigned(draft) if self._feeds[each.name].is_due(self._clock.monotonic_s())
        ]
        for each in due:
            if each.name not in self._asking:
                self._asking[each.name] = asyncio.create_task(self._ask(each, draft))
        if self._asking:
            await asyncio.wait(list(self._asking.values()), timeout=LOOK_S)
            self._end_asked()

    def _end_asked(self) -> None:
        """Forget who has been asked; what went wrong here, not at the witness, is raised."""
        for name, task in list(self._asking.items()):
            if task.done():
                del self._asking[name]
                task.result()

    async def _ask(self, witness: Witness, draft: Draft) -> None:
        feed, cosigner = self._feeds[witness.name], self.further.cosigners[witness.name]
        try:
            lines = await asyncio.get_running_loop().run_in_executor(self._thread, feed.ask, draft)
        except NoAnswer as error:
            feed.failed(self._clock.monotonic_s())
            if cosigner.trouble != str(error):
                self._log.warning("witness_refused", witness=witness.name, reason=str(error))
            cosigner.trouble = str(error)
            return
        if self.further.add(draft, lines):
            feed.succeeded()
            self._tell(draft)
            return
        feed.failed(self._clock.monotonic_s())
        cosigner.trouble = cosigner.trouble or "answers with no line of the key that the policy names"
        self._log.warning("witness_line_bad", witness=witness.name, reason=cosigner.trouble)

    def receive(self, size: int, root: bytes, lines: Sequence[NoteSignature]) -> None:
        """What a peer sent."""
        try:
            answer = self.further.receive(size, root, lines, self._clock.monotonic_s(), self._clock.now_ms() // 1000)
        except StoreUnavailable as error:
            self._log.warning("further_not_kept", reason=str(error))
            return
        if answer is not None:
            self._tell(answer)

    def _tell(self, draft: Draft) -> None:
        if draft.further:
            checkpoint = draft.checkpoint
            self._transport.broadcast(wire.to_cosignatures(checkpoint.size, checkpoint.root, draft.all_lines()))


def further_exchange(
    config: ValidatorConfig,
    identity: Identity,
    chain: Chain,
    store: Store,
    environment: Environment,
    transport: Transport,
) -> FurtherExchange | None:
    """As the configuration asks for; None if it asks for no further cosignatures."""
    policy, entry = identity.further_policy, config.further
    if policy is None or entry is None:
        return None
    further = Further(config.name, chain, store, policy, identity.ml_dsa_key)
    feeds = {each.name: Feed(each.url, chain, environment.post) for each in policy.witnesses if each.url is not None}
    thread = environment.executor(max(1, len(feeds)), "witnesses")
    return FurtherExchange(further, feeds, entry.interval_s, environment.clock, transport, thread)
