"""Final entries, read once for everyone who listens.

What is final never changes, so a page that was read stays true; it may only be short of what came later. Listeners who
stand at the same place share one request and one parse.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from api.validators import ValidatorPool
from ledger.entry import parse_entry
from ledger.errors import Malformed
from ledger.statement import Statement

PAGE_MAX_ENTRIES = 256
CACHED_PAGES_MAX = 64


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One accepted statement on the log."""

    index: int
    height: int
    block_time_ms: int
    statement: Statement


class FeedPage(NamedTuple):
    """Statements from a position on, and the position after them; block records are passed over."""

    entries: tuple[FeedEntry, ...]
    next: int


class EntryFeed:
    """Pages of final entries, of the whole log or of one subject."""

    def __init__(self, pool: ValidatorPool) -> None:
        self._pool = pool
        self._pages: OrderedDict[tuple[int, str], asyncio.Task[FeedPage]] = OrderedDict()

    async def page(self, first: int, subject: str) -> FeedPage:
        """The page that begins at `first`; empty, with `next` equal to `first`, if nothing is known beyond."""
        key = (first, subject)
        task = self._pages.get(key)
        if task is None:
            task = asyncio.create_task(self._read(first, subject))
            self._pages[key] = task
            if len(self._pages) > CACHED_PAGES_MAX:
                self._pages.popitem(last=False)
        try:
            # One listener who leaves must not take the page away from the others.
            page = await asyncio.shield(task)
        except BaseException:
            if task.done() and self._pages.get(key) is task:
                del self._pages[key]
            raise
        if page.next <= first:
            self._pages.pop(key, None)
        return page

    async def _read(self, first: int, subject: str) -> FeedPage:
        final_size = self._pool.finality.size
        reply = await self._pool.entries(first, PAGE_MAX_ENTRIES, subject)
        entries = []
        after = first
        for entry in reply.entries:
            after = entry.index + 1
            try:
                parsed = parse_entry(entry.raw)
            except Malformed:
                continue  # a validator that serves this is caught by the audit; the stream has nothing to show for it
            if isinstance(parsed, Statement):
                entries.append(FeedEntry(entry.index, entry.height, entry.block_time_ms, parsed))
        if subject:
            # Between two entries of one subject lie others: only the validator knows how far it has looked. But it may
            # lag behind the one we follow, and must not carry us past what was final when we asked.
            after = max(after, min(reply.next, final_size))
        return FeedPage(tuple(entries), after)
