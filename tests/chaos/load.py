"""The clients: what a border does all day, bounded in rate, each operation in the history.

- *lanes*: trucks that cross again and again (`tests.benchmarks.workload`), one statement after the other. A truck sends
  a statement until the answer settles it, now through one gateway, now through the other, as devices do. Every
  statement must be accepted, for everything before it was acknowledged.
- *registrars*: enrol somebody new with every statement, send it once and never again, some through both gateways at
  the same moment. What became of those that were not answered shows in the archives alone.
- *readers*: checkpoints, statements, records, proofs (verified offline on arrival) and an event stream from each
  gateway.

Everything runs in one event loop and reads one monotonic clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from api.client import (
    AsyncClient,
    ClientError,
    MalformedStatement,
    NotFinal,
    NotFound,
    ProblemError,
    Receipt,
    RejectedStatement,
    Retry,
    TokenSigner,
    Unreachable,
    UntrueStatement,
)
from ledger.algorithms import EDDSA, PrivateKey, eddsa
from ledger.errors import LedgerError
from ledger.merkle import leaf_hash
from ledger.policy import Policy, parse_policy, verify_checkpoint
from ledger.proof import parse_proof, verify_proof
from ledger.statement import parse_statement, sign_statement
from tests.benchmarks.workload import STEPS_PER_PASS, Workload
from tests.chaos.cluster import Cluster
from tests.chaos.history import (
    ABSENT,
    ACKNOWLEDGED,
    COMMITTED,
    FINAL,
    FOUND,
    READ_CHECKPOINT,
    READ_EVENT,
    READ_NOW,
    READ_PROOF,
    READ_RECORD,
    READ_STATEMENT,
    REFUSED,
    REJECTED,
    SUBMIT,
    UNKNOWN,
    History,
    Operation,
)

LANES: Final = 6
ANSWER_TIMEOUT_S: Final = 12.0
SETUP_TIMEOUT_S: Final = 120.0
RETRY_PAUSE_S: Final = (0.2, 0.8)
OTHER_GATEWAY_PERCENT: Final = 20
FINAL_PERCENT: Final = 50
BOTH_AT_ONCE_PERCENT: Final = 20
REGISTRARS_SHARE: Final = 0.25
READ_EVERY_S: Final = 0.25
CHECKPOINT_EVERY_S: Final = 0.5
STREAM_PAUSE_S: Final = 0.5
OPEN_AT_ONCE_MAX: Final = 64
REMEMBERED_STATEMENTS: Final = 400
CONNECTIONS_MAX: Final = 128


def fingerprint(view: Any) -> str:
    """A record's view in few characters, the same here and after a replay."""
    return hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement that was acknowledged: what readers ask for."""

    id: str
    raw: bytes
    key: str


class Load:
    """Use `prepare`, then `run` until cancelled or `stop`ped. `began_s` is the zero of all times in the history."""

    def __init__(self, cluster: Cluster, history: History, seed: int, rate: float) -> None:
        self._cluster = cluster
        self.history = history
        self._rng = random.Random(f"load/{seed}")
        self._seed = seed
        self._rate = rate
        self.began_s = time.monotonic()
        self.stopping = False
        self.counts: Counter[str] = Counter()
        self.acknowledged_at: list[float] = []
        self._workload = Workload(cluster.network, LANES, seed)
        self._acknowledged: deque[Sent] = deque(maxlen=REMEMBERED_STATEMENTS)
        self._serial = 0
        self._registrars: dict[str, PrivateKey] = {}
        self._policies: dict[tuple[str, int], Policy] = {}
        self._senders: dict[str, AsyncClient] = {}
        self._readers: dict[str, AsyncClient] = {}
        self._now: dict[str, httpx.AsyncClient] = {}
        self._signers: dict[str, TokenSigner] = {}
        for authority in cluster.network.authorities:
            key = PrivateKey.from_pem(authority.key("registrar").read_bytes())
            self._registrars[authority.name] = key
            url = cluster.gateway_url(authority.name)
            once = Retry(attempts=1)
            self._now[authority.name] = httpx.AsyncClient(base_url=url, timeout=ANSWER_TIMEOUT_S)
            signer = self._signers[authority.name] = TokenSigner(
                key, participant=f"{authority.name}/registrar", origin=cluster.network.origin
            )
            self._senders[authority.name] = AsyncClient(url, retry=once, connections_max=CONNECTIONS_MAX)
            self._readers[authority.name] = AsyncClient(url, retry=once, signer=signer, connections_max=CONNECTIONS_MAX)

    def now_s(self) -> float:
        return time.monotonic() - self.began_s

    async def close(self) -> None:
        for client in (*self._senders.values(), *self._readers.values()):
            await client.close()
        for plain in self._now.values():
            await plain.aclose()

    def _policy(self, authority: str) -> Policy:
        """Changes with the membership."""
        key = (authority, self._cluster.newcomers)
        if key not in self._policies:
            self._policies[key] = parse_policy(self._cluster.policy(authority))
        return self._policies[key]

    # ---- submitting

    def _gateway(self, authority: str) -> str:
        gateway = next(item.name for item in self._cluster.network.gateways if item.authority == authority)
        return self._cluster.label(gateway)

    async def _submit(self, client: str, authority: str, raw: bytes, wait: str) -> Operation:
        """One attempt, in the history with whatever became of it."""
        statement_id = leaf_hash(raw).hex()
        gateway, invoked_s = self._gateway(authority), self.now_s()
        result, receipt, detail = UNKNOWN, None, ""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                receipt = await self._senders[authority].submit(raw, wait=wait)
                result = FINAL if receipt.final else COMMITTED
        except RejectedStatement as error:
            result, detail = REJECTED, error.outcome
        except (MalformedStatement, UntrueStatement) as error:
            result, detail = REFUSED, str(error)
        except (ClientError, TimeoutError) as error:
            detail = f"{type(error).__name__}: {error}"[:200]
        except asyncio.CancelledError:
            self._record(client, gateway, statement_id, invoked_s, UNKNOWN, None, "the run ended")
            raise
        return self._record(client, gateway, statement_id, invoked_s, result, receipt, detail)

    def _record(
        self,
        client: str,
        gateway: str,
        statement_id: str,
        invoked_s: float,
        result: str,
        receipt: Receipt | None,
        detail: str,
    ) -> Operation:
        index = receipt.index if receipt else None
        height = receipt.height if receipt else None
        operation = Operation(
            SUBMIT,
            client,
            gateway,
            receipt.id if receipt else statement_id,
            invoked_s,
            self.now_s(),
            result,
            index=index,
            height=height,
            detail=detail,
        )
        self._add(operation)
        if operation.acknowledged:
            self.acknowledged_at.append(operation.returned_s)
        return operation

    def _add(self, operation: Operation) -> None:
        self.history.add(operation)
        self.counts[f"{operation.kind} {operation.result}"] += 1

    async def _until_settled(self, client: str, home: str, raw: bytes) -> Operation:
        """Send the same bytes until the answer is one."""
        authorities = self._cluster.authorities
        authority = home
        while True:
            if self._rng.randrange(100) < OTHER_GATEWAY_PERCENT:
                authority = self._rng.choice(authorities)
            wait = FINAL if self._rng.randrange(100) < FINAL_PERCENT else COMMITTED
            operation = await self._submit(client, authority, raw, wait)
            if operation.result != UNKNOWN:
                return operation
            await asyncio.sleep(self._rng.uniform(*RETRY_PAUSE_S))
            authority = self._rng.choice(authorities)

    async def prepare(self) -> None:
        """Enrol everybody. Raises TimeoutError if the network does not take it."""
        async with asyncio.timeout(SETUP_TIMEOUT_S):
            for wave in self._workload.enrolments():
                homes = self._cluster.authorities
                await asyncio.gather(*(self._until_settled("setup", homes[0], raw) for raw in wave))

    async def _lane(self, lane: int) -> None:
        home = self._cluster.authorities[lane % 2]
        pause_s = LANES / (self._rate * (1 - REGISTRARS_SHARE))
        steps: deque[bytes] = deque()
        while not self.stopping:
            if not steps:
                steps = self._more(lane)
            began_s = self.now_s()
            raw = steps.popleft()
            operation = await self._until_settled(f"lane-{lane}", home, raw)
            if operation.result not in ACKNOWLEDGED:
                return  # a violation already: what follows in this lane would only repeat it
            self._remember(raw)
            await asyncio.sleep(max(0.0, pause_s * self._rng.uniform(0.5, 1.5) - (self.now_s() - began_s)))

    def _more(self, lane: int) -> deque[bytes]:
        """The next pass of this lane; all lanes are signed together."""
        if not self._signed[lane]:
            for number, signed in enumerate(self._workload.lanes(STEPS_PER_PASS)):
                self._signed[number].append(signed)
        return deque(self._signed[lane].popleft())

    def _remember(self, raw: bytes) -> None:
        statement = parse_statement(raw)
        prefix = {"escort": "movements", "declaration": "declarations", "registry": "participants"}
        contract = statement.kind.partition(".")[0]
        self._acknowledged.append(Sent(leaf_hash(raw).hex(), raw, f"{prefix[contract]} {statement.sub}"))

    async def _enrol_somebody(self, authority: str) -> None:
        self._serial += 1
        serial, country = self._serial, authority.partition("-")[0]
        digest = hashlib.sha256(f"{self._seed}/somebody/{serial}".encode()).digest()
        key = PrivateKey(EDDSA, eddsa.Signer(digest))
        raw = sign_statement(
            self._registrars[authority],
            kind="registry.enrol",
            iss=f"{authority}/registrar",
            sub=f"{country}/carrier/chaos-{serial:06}",
            iat_s=int(time.time()),
            cti=hashlib.sha256(digest).digest()[:16],
            payload={"key": key.public.cose_key, "roles": ["carrier"]},
        ).raw
        both = self._rng.randrange(100) < BOTH_AT_ONCE_PERCENT
        through = self._cluster.authorities if both else [authority]
        wait = FINAL if self._rng.randrange(100) < FINAL_PERCENT else COMMITTED
        done = await asyncio.gather(*(self._submit(f"registrar-{serial}", name, raw, wait) for name in through))
        if any(operation.acknowledged for operation in done):
            self._remember(raw)

    async def _registrars_work(self) -> None:
        """An open loop: new ones are sent whether or not the last ones were answered, up to a bound."""
        open_now: set[asyncio.Task[None]] = set()
        try:
            while not self.stopping:
                if len(open_now) < OPEN_AT_ONCE_MAX:
                    task = asyncio.create_task(self._enrol_somebody(self._rng.choice(self._cluster.authorities)))
                    open_now.add(task)
                    task.add_done_callback(open_now.discard)
                await asyncio.sleep(self._rng.expovariate(self._rate * REGISTRARS_SHARE))
            await asyncio.gather(*open_now)
        finally:
            for task in open_now:
                task.cancel()

    # ---- reading

    async def _read(
        self, kind: str, authority: str, about: str, ask: Callable[[], Awaitable[dict[str, Any]]]
    ) -> Operation:
        """One read; `ask` returns the fields of the operation that the answer fills."""
        gateway, invoked_s = self._gateway(authority), self.now_s()
        values: dict[str, Any]
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                values = {"result": FOUND} | await ask()
        except NotFound:
            values = {"result": ABSENT}
        except LedgerError as error:
            values = {"result": REJECTED, "detail": f"does not verify: {error}"}
        except NotFinal as error:
            values = {"result": COMMITTED, "detail": error.detail}
        except (ClientError, TimeoutError) as error:
            code = error.code if isinstance(error, ProblemError) else type(error).__name__
            values = {"result": UNKNOWN, "detail": code}
        operation = Operation(
            kind=kind,
            client=f"reader-{authority}",
            gateway=gateway,
            about=about,
            invoked_s=invoked_s,
            returned_s=self.now_s(),
            **values,
        )
        self._add(operation)
        return operation

    async def _checkpoints(self, authority: str) -> None:
        async def ask() -> dict[str, Any]:
            note = await self._senders[authority].checkpoint()
            checkpoint = verify_checkpoint(note, self._policy(authority))
            return {"size": checkpoint.size, "value": checkpoint.root.hex()}

        while not self.stopping:
            await self._read(READ_CHECKPOINT, authority, "", ask)
            await asyncio.sleep(CHECKPOINT_EVERY_S)

    async def _reads(self, authority: str) -> None:
        reader = self._readers[authority]
        while not self.stopping:
            await asyncio.sleep(READ_EVERY_S * self._rng.uniform(0.5, 1.5))
            if not self._acknowledged:
                continue
            # Half of them just now acknowledged: where a stale answer would show.
            recent = list(self._acknowledged)[-3:] if self._rng.randrange(2) else self._acknowledged
            sent = self._rng.choice(recent)
            what = self._rng.randrange(5)
            if what == 0:
                await self._read(READ_STATEMENT, authority, sent.id, lambda s=sent: _statement(reader, s))  # type: ignore[misc]
            elif what == 1:
                await self._read(
                    READ_PROOF,
                    authority,
                    sent.id,
                    lambda s=sent: _proof(reader, s, self._policy(authority)),  # type: ignore[misc]
                )
            elif what == 2:
                await self._read(READ_NOW, authority, sent.id, lambda s=sent: self._read_now(authority, s))  # type: ignore[misc]
            else:
                await self._read(READ_RECORD, authority, sent.key, lambda s=sent: _record_of(reader, s))  # type: ignore[misc]

    async def _read_now(self, authority: str, sent: Sent) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._signers[authority].token()}"}
        url = f"/v1/statements/{sent.id}?consistency=linearizable"
        try:
            reply = await self._now[authority].get(url, headers=headers)
        except httpx.HTTPError as error:
            raise Unreachable(str(error)) from error
        if reply.status_code == httpx.codes.NOT_FOUND:
            return {"result": ABSENT}
        if reply.status_code != httpx.codes.OK:
            return {"result": UNKNOWN, "detail": reply.text[:120]}
        document = reply.json()
        return {"index": document["index"], "height": document["height"], "value": document["state"]}

    async def _events(self, authority: str) -> None:
        """A stream that is taken up again where it broke, for ever: from the first entry on, without a gap."""
        first = 0
        while not self.stopping:
            try:
                async for event in self._readers[authority].events(first=first):
                    now_s, first = self.now_s(), event.index + 1
                    self._add(
                        Operation(
                            READ_EVENT,
                            f"events-{authority}",
                            self._gateway(authority),
                            event.id,
                            now_s,
                            now_s,
                            FOUND,
                            index=event.index,
                            height=event.height,
                            value=FINAL,
                        )
                    )
            except ClientError:
                await asyncio.sleep(STREAM_PAUSE_S)

    # ---- all of it

    async def run(self) -> None:
        """Runs until `stopping`; then returns once every statement on its way is settled."""
        self._signed: list[deque[list[bytes]]] = [deque() for _ in range(LANES)]
        streams = [asyncio.create_task(self._events(name)) for name in self._cluster.authorities]
        try:
            async with asyncio.TaskGroup() as group:
                for lane in range(LANES):
                    group.create_task(self._lane(lane))
                group.create_task(self._registrars_work())
                for name in self._cluster.authorities:
                    group.create_task(self._checkpoints(name))
                    group.create_task(self._reads(name))
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)


async def _statement(reader: AsyncClient, sent: Sent) -> dict[str, Any]:
    record = await reader.statement(sent.id)
    return {"index": record.index, "height": record.height, "value": record.state}


async def _proof(reader: AsyncClient, sent: Sent, policy: Policy) -> dict[str, Any]:
    proof = parse_proof(await reader.proof(sent.id))
    checkpoint = verify_proof(proof, leaf_hash(sent.raw), policy)
    return {"index": proof.index, "size": checkpoint.size, "value": checkpoint.root.hex()}


async def _record_of(reader: AsyncClient, sent: Sent) -> dict[str, Any]:
    collection, _, name = sent.key.partition(" ")
    ask = {"movements": reader.movement, "declarations": reader.declaration, "participants": reader.participant}
    document = await ask[collection](name)
    return {"size": document["size"], "value": fingerprint(document["record"])}
