"""Signatures of statements, parsed and checked by a process of their own beside the validator's.

In one process, whoever parses and whoever executes hand one interpreter to each other, so the two together take as long
as one after the other. Here a validator that catches up executes with an interpreter to itself, and what comes back is
plain values that cost a quarter of parsing. `[tuning] signature_processes` says how many; none is the default, as a
process costs 30 MB and a machine without a core to spare gains nothing.

Promises: a statement is said to carry the signature of a key only if it was verified under the key whose thumbprint is
the statement's `kid`, by the same program, `ledger.statement`. Which keys there are is the validator's to say: a key
travels once, and its thumbprint is computed where it arrives. A process that ends, is killed or does not answer costs
nothing but time: `check` returns None, and whoever asked checks by themselves; another one is started, a few times.

Does not: decide anything about a statement, or keep anything but keys. The other process ends when its input does, so
none outlives a validator that was killed.

Between the two, who run the same program: frames of a length in four bytes and so many bytes of `marshal`.
A request is ``(statements, keys)``, an answer a list with a tuple for each statement. No format that anyone stores.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import structlog

from ledger.algorithms import PublicKey
from ledger.errors import Malformed, Untrue
from ledger.statement import MAX_STATEMENT_BYTES, Statement, parse_statement, verify_statement

# In one request, at most.
CHUNK_STATEMENTS: Final = 256
MAX_FRAME_BYTES: Final = 4 * CHUNK_STATEMENTS * MAX_STATEMENT_BYTES
LENGTH_BYTES: Final = 4
# Keys that the other process remembers; then it forgets them all, and is told again what it asks for.
MAX_KEYS = 50_000
# Whoever executes waits as long for a check before making it (`nodes.checking.CHECK_TIMEOUT_S`).
ANSWER_TIMEOUT_S = 5.0
# The first answer comes from an interpreter that has to start.
FIRST_ANSWER_TIMEOUT_S = 60.0
MAX_STARTS: Final = 3

FindKey = Callable[[str, bytes], PublicKey | None]

# The first element of an answer.
MALFORMED, KEY_UNKNOWN, VERIFIED, UNTRUE = range(4)


class Gone(Exception):
    """The other process has ended, or does not do what it should."""


class Looked:
    """What is known of one statement."""

    __slots__ = ("malformed", "statement", "untrue", "verified")

    def __init__(self) -> None:
        self.statement: Statement | None = None
        self.malformed: Malformed | None = None
        self.untrue: Untrue | None = None
        self.verified = False


# --- in the other process -------------------------------------------------------------------------------------------


def look(raw: bytes, keys: dict[bytes, PublicKey]) -> tuple[Any, ...]:
    """Parse one statement and verify its signature, if its key is among ``keys``."""
    try:
        statement = parse_statement(raw)
    except Malformed as error:
        return (MALFORMED, error.code, error.args[0])
    fields = (
        (statement.alg, statement.kid, statement.kind, statement.iss, statement.sub, statement.iat_s, statement.cti),
        (statement.payload, statement.signature, statement._protected_end, statement.id),
    )
    key = keys.get(statement.kid)
    if key is None:
        return (KEY_UNKNOWN, *fields)
    try:
        verify_statement(statement, key)
    except Untrue as error:
        return (UNTRUE, *fields, error.code, error.args[0])
    return (VERIFIED, *fields)


def answer_all(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    keys: dict[bytes, PublicKey] = {}
    while True:
        head = requests.read(LENGTH_BYTES)
        if len(head) < LENGTH_BYTES:
            return
        statements, cose_keys = marshal.loads(requests.read(int.from_bytes(head, "big")))
        if len(keys) + len(cose_keys) > MAX_KEYS:
            keys.clear()
        for cose_key in cose_keys:
            key = PublicKey.from_cose_key(cose_key)
            keys[key.kid] = key
        _write_frame(answers, [look(raw, keys) for raw in statements])


def _write_frame(stream: IO[bytes], value: Any) -> None:
    data = marshal.dumps(value, 2)
    stream.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    stream.flush()


def main() -> None:
    """Standard input and output are the two ends; whoever stops the validator does not stop this one by a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_all(sys.stdin.buffer, sys.stdout.buffer)


# --- in the validator -----------------------------------------------------------------------------------------------


class CheckingProcess:
    """The other process, from here. For one thread at a time; started when it is first asked."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "nodes.checking_process")) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._answered = False
        self._log = structlog.get_logger().bind(part="signatures")

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def check(self, raws: Sequence[bytes], find_key: FindKey) -> list[Looked] | None:
        """Parse and check statements, at most `CHUNK_STATEMENTS`; None if nobody answers.

        ``find_key(issuer, kid)`` gives a key, or None: then a statement is parsed and no more.
        """
        if self._starts >= MAX_STARTS and self._process is None:
            return None
        try:
            looked, unknown = self._ask(raws, [])
            cose_keys = self._find(looked, unknown, find_key)
            if cose_keys:
                again, _ = self._ask([raws[number] for number in unknown], cose_keys)
                for number, each in zip(unknown, again, strict=True):
                    looked[number] = each
        except (Gone, OSError, ValueError, EOFError, TypeError, LookupError) as error:
            self._log.warning("checking_process_gone", reason=str(error), starts=self._starts)
            self.close()
            return None
        return looked

    def _find(self, looked: Sequence[Looked], unknown: Sequence[int], find_key: FindKey) -> list[bytes]:
        found: dict[bytes, PublicKey] = {}
        for number in unknown:
            statement = looked[number].statement
            if statement is not None and statement.kid not in found:
                key = find_key(statement.iss, statement.kid)
                if key is not None:
                    found[statement.kid] = key
        return [key.cose_key for key in found.values()]

    def _ask(self, raws: Sequence[bytes], cose_keys: list[bytes]) -> tuple[list[Looked], list[int]]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise Gone("it has no pipes")
        _write_frame(process.stdin, (list(raws), cose_keys))
        timeout_s = ANSWER_TIMEOUT_S if self._answered else FIRST_ANSWER_TIMEOUT_S
        answers = marshal.loads(_read_frame(process.stdout.fileno(), timeout_s))
        self._answered = True
        if type(answers) is not list or len(answers) != len(raws):
            raise Gone(f"expected {len(raws)} answers")
        looked, unknown = [], []
        for number, (raw, answer) in enumerate(zip(raws, answers, strict=True)):
            each = Looked()
            if answer[0] == MALFORMED:
                each.malformed = Malformed(answer[1], answer[2])
            else:
                each.statement = Statement(raw, *answer[1], *answer[2])
                each.verified = answer[0] == VERIFIED
                if answer[0] == UNTRUE:
                    each.untrue = Untrue(answer[3], answer[4])
                elif answer[0] == KEY_UNKNOWN:
                    unknown.append(number)
            looked.append(each)
        return looked, unknown

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            if self._starts >= MAX_STARTS:
                raise Gone("it was started as often as it may be")
            self._starts += 1
            self._answered = False
            root = str(Path(__file__).resolve().parents[1])
            path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
            )
            self._log.info("checking_process_started", process_id=self._process.pid)
        return self._process

    def stop(self) -> None:
        """End the other process for good; from any thread. Whoever is being answered checks by themselves."""
        self._starts = MAX_STARTS
        self.close()

    def close(self) -> None:
        """End the other process; `check` starts another one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was still to be written has nobody to read it
                    stream.close()
        process.wait()


def _read_frame(descriptor: int, timeout_s: float) -> bytes:
    """Read one frame, or raise `Gone`: waiting is done without the interpreter."""
    deadline_s = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data, wanted = bytearray(), LENGTH_BYTES
    while len(data) < wanted:
        left_ms = (deadline_s - time.monotonic()) * 1000
        if left_ms <= 0 or not poll.poll(left_ms):
            raise Gone(f"no answer within {timeout_s:g} s")
        piece = os.read(descriptor, wanted - len(data))
        if not piece:
            raise Gone("it has ended")
        data += piece
        if wanted == LENGTH_BYTES == len(data):
            wanted += int.from_bytes(data, "big")
            if wanted > MAX_FRAME_BYTES:
                raise Gone(f"answer is too long: expected at most {MAX_FRAME_BYTES} bytes, got {wanted}")
    return bytes(data[LENGTH_BYTES:])


if __name__ == "__main__":
    main()
