"""What another process says of a statement is what this one would say, and without the other nothing is lost."""

from __future__ import annotations

import io
import marshal
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.algorithms import PublicKey
from ledger.statement import Statement
from nodes import checking_process
from nodes.checking import Checked, SignatureChecks
from nodes.checking_process import (
    KEY_UNKNOWN,
    MALFORMED,
    MAX_STARTS,
    UNTRUE,
    VERIFIED,
    CheckingProcess,
    answer_all,
    look,
)
from nodes.metrics import Metrics
from tests.nodes.world import World

WORLD = World()
KEY = WORLD.registrars["kz-kgd"].public
OTHER = WORLD.registrars["cn-gacc"].public
GOOD = [WORLD.enrol() for _ in range(3)]


def find_key(issuer: str, kid: bytes) -> PublicKey | None:
    return KEY if kid == KEY.kid else None


def checks(*processes: CheckingProcess, find: checking_process.FindKey = find_key) -> SignatureChecks:
    return SignatureChecks(find, Metrics("kz-kgd-1"), ThreadPoolExecutor(1), processes)


def done(checked: Checked) -> Checked:
    """When it has been looked at, however busy the machine: `Checked.wait` gives up, for whoever would rather look."""
    if checked.future is not None:
        checked.future.result(120)
    return checked


def known(checked: Checked) -> tuple[object, ...]:
    """All that is known of a statement, to be compared."""
    statement = checked.statement
    said = None if statement is None else {name: getattr(statement, name) for name in Statement.__slots__}
    if statement is not None and said is not None:
        said["_id"] = statement.id
    errors = [None if e is None else (type(e), e.code, str(e)) for e in (checked.malformed, checked.untrue)]
    return said, *errors, checked.verified_kid


@pytest.fixture(scope="module")
def process() -> Iterator[CheckingProcess]:
    made = CheckingProcess()
    yield made
    made.close()


def flipped(raw: bytes, bit: int) -> bytes:
    altered = bytearray(raw)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


altered = st.builds(
    flipped, st.sampled_from([each.raw for each in GOOD]), st.integers(0, 8 * min(len(e.raw) for e in GOOD) - 1)
)
# The last is signed by somebody whose key nobody finds.
anything = st.sampled_from([each.raw for each in (*GOOD, WORLD.enrol("cn-gacc"))]) | altered | st.binary(max_size=40)


@settings(max_examples=40)
@given(st.lists(anything, max_size=6, unique=True))
def test_the_other_process_says_what_this_one_does(process: CheckingProcess, raws: list[bytes]) -> None:
    here, there = checks(), checks(process)
    for one, other in zip(here.expect(raws), there.expect(raws), strict=True):
        assert known(done(one)) == known(done(other))
    assert process.pid is not None or not raws
    here.close()


@pytest.mark.parametrize(
    ("raw", "keys", "expected"),
    [
        (GOOD[0].raw, {KEY.kid: KEY}, VERIFIED),
        (GOOD[0].raw, {}, KEY_UNKNOWN),
        (GOOD[0].raw, {OTHER.kid: OTHER}, KEY_UNKNOWN),
        (flipped(GOOD[0].raw, 8 * len(GOOD[0].raw) - 9), {KEY.kid: KEY}, UNTRUE),
        # A key under a name that is not its own: nothing is verified under it.
        (GOOD[0].raw, {KEY.kid: OTHER}, UNTRUE),
        (b"garbage", {KEY.kid: KEY}, MALFORMED),
    ],
    ids=["good", "no key", "another key", "forged", "key under a false name", "no statement"],
)
def test_what_is_said_of_a_statement(raw: bytes, keys: dict[bytes, PublicKey], expected: int) -> None:
    assert look(raw, keys)[0] == expected


def frame(value: Any) -> bytes:
    data = marshal.dumps(value, 2)
    return len(data).to_bytes(4, "big") + data


def answers_to(*requests: tuple[Sequence[bytes], Sequence[bytes]]) -> list[list[int]]:
    output = io.BytesIO()
    answer_all(io.BytesIO(b"".join(frame((list(raws), list(keys))) for raws, keys in requests)), output)
    data, found = output.getvalue(), []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        found.append([answer[0] for answer in marshal.loads(data[4:end])])
        data = data[end:]
    return found


def test_a_key_travels_once_and_is_known_by_the_thumbprint_that_it_has() -> None:
    raw = GOOD[0].raw
    assert answers_to(([raw], []), ([raw], [OTHER.cose_key]), ([raw], [KEY.cose_key]), ([raw, b""], [])) == [
        [KEY_UNKNOWN],
        [KEY_UNKNOWN],
        [VERIFIED],
        [VERIFIED, MALFORMED],
    ]


def test_more_keys_than_are_remembered_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking_process, "MAX_KEYS", 1)
    raw = GOOD[0].raw
    assert answers_to(([raw], [KEY.cose_key]), ([], [OTHER.cose_key]), ([raw], [])) == [[VERIFIED], [], [KEY_UNKNOWN]]


def test_who_is_killed_is_replaced_and_what_it_had_is_checked_here() -> None:
    process = CheckingProcess()
    made = checks(process)
    for number in range(MAX_STARTS):
        (checked,) = made.expect([WORLD.enrol().raw])
        done(checked)
        assert checked.verified_kid == KEY.kid
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        (checked,) = made.expect([WORLD.enrol().raw])
        done(checked)
        assert checked.verified_kid == KEY.kid, f"after {number + 1} deaths"
    # It was started as often as it may be: from now on this process checks.
    assert process.check([GOOD[0].raw], find_key) is None
    (checked,) = made.expect([WORLD.enrol().raw])
    done(checked)
    assert (checked.verified_kid, process.pid) == (KEY.kid, None)
    made.close()


REPLY = "import sys, marshal; d = marshal.dumps({}, 2); sys.stdout.buffer.write(len(d).to_bytes(4, 'big') + d)"


@pytest.mark.parametrize(
    "program",
    [
        "pass",
        REPLY.format("[]"),
        REPLY.format("[()]"),
        REPLY.format("7"),
        REPLY.format("[(2, 3, 4)]"),
        "print('not a frame')",
        "import sys; sys.stdout.buffer.write(bytes(4))",
        "import sys; sys.stdout.buffer.write(b'\\xff' * 5)",
        "import time; time.sleep(60)",
    ],
    ids=["ends", "too few", "empty", "no list", "wrong fields", "text", "nothing in it", "too long", "silent"],
)
def test_who_does_not_answer_as_it_should_is_ended_and_nothing_it_said_is_believed(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(checking_process, "FIRST_ANSWER_TIMEOUT_S", 0.05)
    process = CheckingProcess((sys.executable, "-S", "-c", program))
    made = checks(process)
    (checked,) = made.expect([GOOD[0].raw])
    done(checked)
    assert (checked.verified_kid, process.pid) == (KEY.kid, None)
    made.close()


def test_it_ends_when_its_input_does(process: CheckingProcess) -> None:
    process.check([GOOD[0].raw], find_key)
    other = process._process
    assert other is not None
    assert other.stdin is not None
    other.stdin.close()
    assert other.wait(timeout=30) == 0


def test_who_was_stopped_is_not_started_again() -> None:
    process = CheckingProcess()
    made = checks(process)
    (checked,) = made.expect([GOOD[0].raw])
    done(checked)
    other = process._process
    assert other is not None
    made.close()
    assert other.poll() is not None
    assert process.check([GOOD[0].raw], find_key) is None
    assert process.pid is None
