"""A gateway's reference tables at work: what is not listed is refused or reported; files that change are read again.

Does not touch what is on the ledger already: a statement that was accepted is answered as ever, whatever the tables say
by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from api.config import ReferenceFiles
from api.problems import Problem
from api.reference import TableError, Tables, read_tables
from api.submission import Signed

CHECK_FILES_S = 5.0
MAX_NAMED = 10

log = structlog.get_logger("api.listing")


class Listing:
    """See the module. `is_on_log`: whether a statement of this id is on the ledger."""

    def __init__(
        self,
        files: ReferenceFiles | None,
        is_on_log: Callable[[bytes], Awaitable[bool]],
        registry: CollectorRegistry,
    ) -> None:
        """Raises TableError: a gateway that was told to refuse by a table does not start without it."""
        self._files = files
        self._is_on_log = is_on_log
        self._seen = self._stamps()
        self.tables = Tables() if files is None else read_tables(files.unlocode, files.hs)
        self.fault = ""
        self._count = Counter(
            "comity_gateway_unlisted", "Statements with a code in no reference table", ["how"], registry=registry
        )
        for how in ("refused", "reported"):
            self._count.labels(how)
        Gauge(
            "comity_gateway_reference_fault", "1 while a reference table cannot be read again", registry=registry
        ).set_function(lambda: float(bool(self.fault)))

    async def require(self, signed: Signed) -> None:
        """Raise if a code in a statement is in no table, unless the statement is on the log already."""
        if not signed.unlisted:
            return
        named = "; ".join(str(each) for each in signed.unlisted[:MAX_NAMED])
        if self._files is None or not self._files.refuse:
            self._count.labels("reported").inc()
            log.warning("unlisted", statement=signed.id.hex(), fields=named)
            return
        if await self._is_on_log(signed.id):
            return
        self._count.labels("refused").inc()
        raise Problem("not_listed", named, statement_id=signed.id.hex(), field=signed.unlisted[0].path)

    async def keep_fresh(self) -> None:
        """Read the files again when they have changed, for as long as the gateway runs."""
        while self._files is not None:
            await asyncio.sleep(CHECK_FILES_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the files again if they have changed; what was there before stays if they cannot be used."""
        if self._files is None:
            return
        stamps = await asyncio.to_thread(self._stamps)
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self.tables = await asyncio.to_thread(read_tables, self._files.unlocode, self._files.hs)
        except TableError as error:
            self.fault = str(error)
            log.error("reference_not_read", error=self.fault, instead="what was read before")
            return
        self.fault = ""
        log.info("reference_read", places=len(self.tables.locodes), goods=len(self.tables.goods))

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        if self._files is None:
            return ()
        paths = (*self._files.unlocode, *((self._files.hs,) if self._files.hs is not None else ()))
        return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
