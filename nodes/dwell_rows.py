"""What the index of the log keeps for dwell times: each passage under way, and each interval that ended.

Derived from the entries in order, by `contracts.dwell`; `nodes.log_index` says when, and keeps it in step with the log.

    index/p/ MRN                                                       -> the passage, until it is over
    index/d/ post NUL end of the interval in ms, entry, number         -> interval, side, ms that it took

The entry is the one that showed the interval to have ended: with only those below a size, the figures are of the log
as it was at that size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from contracts.dwell import DAY_MS, FOLLOWED, INTERVALS, Measured, Passage, follow
from ledger.chain import Chain
from ledger.errors import LedgerError, UnknownDurableState
from ledger.statement import Statement
from ledger.store import Store

PASSAGE = b"index/p/"
INTERVAL = b"index/d/"
_TIME_AND_ENTRY_BYTES = 16


class TooMany(Exception):
    """More intervals were measured than are counted at once."""


def dwell_writes(
    get: Callable[[bytes], bytes | None], first: int, statements: Sequence[Statement], time_ms: int
) -> dict[bytes, bytes | None]:
    """What the statements of one block change; `get` sees what the blocks before have written."""
    writes: dict[bytes, bytes | None] = {}
    for index, statement in enumerate(statements, first):
        if statement.kind not in FOLLOWED:
            continue
        key = PASSAGE + statement.sub.encode()
        stored = writes[key] if key in writes else get(key)
        try:
            before = None if stored is None else Passage.decode(stored)
        except LedgerError as error:
            raise UnknownDurableState(f"passage {statement.sub} in the index cannot be read: {error}") from error
        after, measured = follow(before, statement.kind, statement.iss, statement.payload, time_ms)
        if after != before:
            writes[key] = None if after is None else after.encode()
        for number, each in enumerate(measured):
            place = each.ended_ms.to_bytes(8, "big") + index.to_bytes(8, "big") + bytes((number,))
            row = f"{each.interval} {each.side} {each.took_ms}"
            writes[INTERVAL + each.post.encode() + b"\x00" + place] = row.encode()
    return writes


def measured_in(store: Store, post: str, first_day: int, last_day: int, size: int, most: int) -> Iterator[Measured]:
    """The intervals that ended on these UTC days, as the first `size` entries show them.

    At one post, or at every one if none is named. Raises TooMany beyond `most`.
    """
    start = (first_day * DAY_MS).to_bytes(8, "big")
    stop = ((last_day + 1) * DAY_MS).to_bytes(8, "big")
    count = 0
    for name in [post.encode()] if post else list(_posts(store)):
        prefix = INTERVAL + name + b"\x00"
        for key, value in store.iterate(prefix + start, prefix + stop):
            place = key[len(prefix) :]
            if int.from_bytes(place[8:_TIME_AND_ENTRY_BYTES], "big") >= size:
                continue
            count += 1
            if count > most:
                raise TooMany(f"more than {most} intervals were measured: ask for one post, or for fewer days")
            interval, side, took_ms = _row(value)
            yield Measured(name.decode(), side, interval, int.from_bytes(place[:8], "big"), took_ms)


def whole_blocks(chain: Chain, size: int) -> tuple[int, int]:
    """How many of the first `size` entries are in whole blocks, and the time of the last of these."""
    if size <= 1:
        return 1, chain.genesis.time_ms
    record = chain.block_of(size - 1)
    if record.first + record.count + 1 <= size:
        return size, record.time_ms
    return whole_blocks(chain, record.first)


def _posts(store: Store) -> Iterator[bytes]:
    """Every post of which there is an interval, by jumping from one to the next."""
    start = INTERVAL
    while (found := next(store.iterate(start, INTERVAL + b"\xff"), None)) is not None:
        name = found[0][len(INTERVAL) :].partition(b"\x00")[0]
        yield name
        start = INTERVAL + name + b"\x01"


def _row(value: bytes) -> tuple[str, str, int]:
    interval, _, rest = value.decode(errors="replace").partition(" ")
    side, _, took_ms = rest.partition(" ")
    if interval not in INTERVALS or not took_ms.isdecimal():
        raise UnknownDurableState(f"an interval in the index cannot be read: {value[:80]!r}")
    return interval, side, int(took_ms)
