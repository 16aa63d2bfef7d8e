"""Signatures of statements, checked once per process, in threads, ahead of their execution.

`expect` is told of statements as early as they are seen: when a gateway submits them, when another validator forwards
them, when the leader's block arrives, long before it is committed. They are parsed and checked a chunk at a time in a
thread pool, or by processes of their own (`nodes.checking_process`). Execution then asks `check`, which waits for a
check that is under way, and makes one that was not (the key was enrolled a moment ago, say).

What is remembered is a fact about bytes: "this statement carries a valid signature of the key with this kid". A kid
names one key for ever, so the fact never expires; whether the key counts is the contracts' business at execution.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
from collections.abc import Iterable, Sequence

from contracts.registry import decode_participant, participant_key
from ledger.algorithms import PublicKey
from ledger.chain import Chain
from ledger.errors import Malformed, Untrue
from ledger.statement import Statement, parse_statement, verify_statement
from nodes.checking_process import CHUNK_STATEMENTS as PROCESS_CHUNK_STATEMENTS
from nodes.checking_process import CheckingProcess, FindKey
from nodes.metrics import Metrics

CHUNK_STATEMENTS = 32
REMEMBERED_MAX_STATEMENTS = 40_000
REMEMBERED_MAX_BYTES = 64 * 1024 * 1024
CHECK_TIMEOUT_S = 5.0
KNOWN_KEYS_MAX = 50_000


class KnownKeys:
    """The keys of participants, decoded once. A kid names one key for ever, so none grows stale; whether it counts is
    for execution. Called from the threads that check.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._keys: dict[bytes, PublicKey] = {}

    def find(self, issuer: str, kid: bytes) -> PublicKey | None:
        """The key that a kid names, if its issuer has it now."""
        key = self._keys.get(kid)
        if key is None:
            record = self._chain.state.get(participant_key(issuer))
            found = decode_participant(record).key(kid) if record is not None else None
            if found is None:
                return None
            key = PublicKey.from_cose_key(found.cose_key)
            if len(self._keys) >= KNOWN_KEYS_MAX:
                self._keys.clear()
            self._keys[kid] = key
        return key


class Checked:
    """One statement and what is known of it. Written by one pool thread, read after `future` is done."""

    __slots__ = ("future", "malformed", "raw", "statement", "untrue", "verified_kid")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.future: concurrent.futures.Future[None] | None = None
        self.statement: Statement | None = None
        self.malformed: Malformed | None = None
        # None: not looked at, because the key was not known then.
        self.verified_kid: bytes | None = None
        self.untrue: Untrue | None = None

    def wait(self) -> None:
        """Until the thread is done with it; if that takes too long, whoever asks checks for themselves."""
        if self.future is not None and not self.future.done():
            with contextlib.suppress(TimeoutError):
                self.future.result(CHECK_TIMEOUT_S)


class SignatureChecks:
    """`expect`, `forget` belong to the event loop; `check` may be called from the thread that executes."""

    def __init__(
        self,
        find_key: FindKey,
        metrics: Metrics,
        pool: concurrent.futures.Executor,
        processes: Sequence[CheckingProcess] = (),
    ) -> None:
        """``processes``: as many as the pool has threads, each of which waits for one; none, and the threads check."""
        self._find_key = find_key
        self._metrics = metrics
        self._known: dict[bytes, Checked] = {}
        self._known_bytes = 0
        self._under_way: set[concurrent.futures.Future[None]] = set()
        self._pool = pool
        self._processes = processes
        self._idle_processes: queue.SimpleQueue[CheckingProcess] = queue.SimpleQueue()
        for process in processes:
            self._idle_processes.put(process)
        self._chunk_statements = PROCESS_CHUNK_STATEMENTS if processes else CHUNK_STATEMENTS

    def __len__(self) -> int:
        return len(self._known)

    def expect(self, raws: Iterable[bytes]) -> list[Checked]:
        """Begin to check what is not known yet, and return what there is on all of them, in order."""
        result: list[Checked] = []
        fresh: list[Checked] = []
        for raw in raws:
            checked = self._known.get(raw)
            if checked is None:
                checked = self._known[raw] = Checked(raw)
                self._known_bytes += len(raw)
                fresh.append(checked)
            result.append(checked)
        for start in range(0, len(fresh), self._chunk_statements):
            chunk = fresh[start : start + self._chunk_statements]
            future = self._pool.submit(self._work, chunk)
            self._under_way.add(future)
            for checked in chunk:
                checked.future = future
        while len(self._known) > REMEMBERED_MAX_STATEMENTS or self._known_bytes > REMEMBERED_MAX_BYTES:
            self.forget([next(iter(self._known))])
        return result

    def idle(self) -> bool:
        """Whether no check is under way, so that nobody who asks now would have to wait."""
        self._under_way = {future for future in self._under_way if not future.done()}
        return not self._under_way

    def known(self, raw: bytes) -> Checked | None:
        return self._known.get(raw)

    def forget(self, raws: Iterable[bytes]) -> None:
        """These were executed; nobody will ask again."""
        for raw in raws:
            if self._known.pop(raw, None) is not None:
                self._known_bytes -= len(raw)

    def _work(self, chunk: Sequence[Checked]) -> None:
        if not self._processes or not self._work_elsewhere(chunk):
            self._work_here(chunk)

    def _work_elsewhere(self, chunk: Sequence[Checked]) -> bool:
        """Have a process look at the chunk; whether one did."""
        try:
            process = self._idle_processes.get_nowait()
        except queue.Empty:
            return False
        try:
            found = process.check([checked.raw for checked in chunk], self._find_key)
        finally:
            self._idle_processes.put(process)
        if found is None:
            return False
        for checked, looked in zip(chunk, found, strict=True):
            checked.statement, checked.malformed, checked.untrue = looked.statement, looked.malformed, looked.untrue
            if looked.verified and looked.statement is not None:
                checked.verified_kid = looked.statement.kid
        self._metrics.signature_checks.labels("ahead").inc(sum(each.verified or bool(each.untrue) for each in found))
        return True

    def _work_here(self, chunk: Sequence[Checked]) -> None:
        looked_at = 0
        for checked in chunk:
            try:
                statement = checked.statement = parse_statement(checked.raw)
            except Malformed as error:
                checked.malformed = error
                continue
            key = self._find_key(statement.iss, statement.kid)
            if key is None:
                continue
            looked_at += 1
            try:
                verify_statement(statement, key)
            except Untrue as error:
                checked.untrue = error
            else:
                checked.verified_kid = key.kid
        self._metrics.signature_checks.labels("ahead").inc(looked_at)

    def statement(self, raw: bytes) -> Statement:
        """The parsed statement. Raises Malformed."""
        checked = self._known.get(raw)
        if checked is None:
            return parse_statement(raw)
        checked.wait()
        if checked.malformed is not None:
            raise checked.malformed
        return checked.statement or parse_statement(raw)

    def check(self, statement: Statement, key: PublicKey) -> None:
        """What `contracts` calls at execution. Raises Untrue."""
        checked = self._known.get(statement.raw)
        if checked is not None:
            checked.wait()
            if checked.verified_kid == key.kid:
                return
            if checked.untrue is not None and statement.kid == key.kid:
                raise checked.untrue
        self._metrics.signature_checks.labels("at_execution").inc()
        verify_statement(statement, key)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.stop()
