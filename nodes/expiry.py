"""What of this validator, and of its authority on the ledger, ends by itself; and which release it is going to need.

Certificates are those that the validator presents and believes, read once at the start as TLS reads them, and those
that its peers have shown. Keys are those of the ledger that have an end: of the registrar of each authority, and of the
own authority's customs participants (`kz-kgd/…`), each by name. Everybody else of the own authority, its trucks and
terminals, may be a million: they are counted, a few at a time, in memory that does not grow with them. A key that is
suspended or revoked has ended already and is not told of; one that another replaces (its end was set by a rotation) is
told of as long as nothing else of its owner goes on without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from api.expiry import DAY_MS, WARNED_DAYS, Ending, certificate_endings, nearing
from contracts.registry import ACTIVE, Participant, decode_authority, decode_participant
from contracts.releases import Missing, missing_ahead
from contracts.working import StateView, UnreadableRecord
from ledger.errors import LedgerError
from nodes.clock import Clock
from nodes.config import ValidatorConfig
from nodes.files import Files
from nodes.records import RecordIndex

# The ledger is asked again after so long; nothing that is told 90 days ahead is in a hurry.
ASK_EVERY_S = 10.0
MAX_PARTICIPANTS = 500
# Of those that are only counted: so many each time that the ledger is asked, a few milliseconds' worth.
COUNTED_AT_ONCE = 200


def own_certificates(config: ValidatorConfig, files: Files) -> list[Ending]:
    """Of the node itself and of every CA that it believes. What cannot be read is the transport's to complain of."""
    named = [(f"certificate of {config.name}", config.certificate)]
    named += [(f"CA certificate of {each.name}", each.ca_certificate) for each in config.authorities]
    found = []
    for what, path in named:
        try:
            found += certificate_endings(what, files.read(path))
        except (OSError, ValueError, KeyError):
            continue
    return found


def key_endings(participant: Participant, now_ms: int) -> list[Ending]:
    """The last end of a participant's keys; none if one goes on without end, or all have ended for long."""
    counting = [key for key in participant.keys if key.state == ACTIVE]
    ends_ms = [key.valid_until_ms for key in counting if key.valid_until_ms is not None]
    if not ends_ms or len(ends_ms) < len(counting) or max(ends_ms) < now_ms - 90 * DAY_MS:
        return []
    return [Ending(f"key of {participant.id}", max(ends_ms))]


@dataclass(slots=True)
class Counted:
    """One walk through everybody: how many were looked at, and how many have ended or do within each warned day."""

    participants: int = 0
    within_days: dict[int, int] = field(default_factory=lambda: dict.fromkeys((0, *WARNED_DAYS), 0))

    def count(self, participant: Participant, now_ms: int) -> None:
        self.participants += 1
        for ending in key_endings(participant, now_ms):
            days = ending.within_days(now_ms)
            for band in self.within_days:
                self.within_days[band] += days is not None and days <= band


class Crowd:
    """All participants of some prefixes of names, walked a few at a time, again and again."""

    def __init__(self, records: RecordIndex, state: StateView, prefixes: Sequence[str]) -> None:
        self._records = records
        self._state = state
        self._prefixes = prefixes
        # Where the walk is: which prefix, behind which name.
        self._prefix, self._after = 0, ""
        self._counting = Counted()
        # Of the last whole walk; what is known so far before there was one.
        self.counted = self._counting

    def walk(self, now_ms: int) -> None:
        """The next few. Raises what reading raises; the same ones are read again then."""
        left = COUNTED_AT_ONCE
        while left > 0:
            after = self._after
            for name in islice(self._records.keys(self._prefixes[self._prefix], after), left):
                raw = self._state.get(name)
                if raw is not None:
                    self._counting.count(decode_participant(raw), now_ms)
                self._after = name
                left -= 1
            if left == 0:
                return
            self._prefix, self._after = self._prefix + 1, ""
            if self._prefix == len(self._prefixes):
                self.counted, self._counting = self._counting, Counted()
                self._prefix = 0
                return


class Expiry:
    """See the module. Belongs to the event loop."""

    def __init__(
        self,
        config: ValidatorConfig,
        files: Files,
        state: StateView,
        records: RecordIndex,
        clock: Clock,
        *,
        peers: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`peers`: when the certificate ends that each peer has shown, in Unix milliseconds."""
        self._config = config
        self._peers = peers
        own = next(each for each in config.authorities if each.name == config.authority)
        self._crowd = Crowd(records, state, (f"registry/{own.country.lower()}/", f"registry/{own.name}/"))
        self._state = state
        self._records = records
        self._clock = clock
        self._certificates = own_certificates(config, files)
        self._keys: list[Ending] = []
        self._releases: list[Missing] = []
        self._asked_s: float | None = None

    def endings(self) -> list[Ending]:
        """All that has an end, near or not."""
        self._ask()
        peers = [Ending(f"certificate of {name}", ends_ms) for name, ends_ms in sorted(self._peers().items())]
        return [*self._certificates, *peers, *self._keys]

    def counted(self) -> Counted:
        """How many of all the own authority's participants have keys that end soon."""
        self._ask()
        return self._crowd.counted

    def releases_needed(self) -> list[Missing]:
        """Contracts that are approved or proposed, and that this program does not have."""
        self._ask()
        return self._releases

    def _ask(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._asked_s is None or now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            now_ms = self._clock.now_ms()
            # A disk in trouble has a line of its own in the status, and so has a ledger of a later release.
            with suppress(LedgerError, UnreadableRecord):
                found = {participant.id: participant for participant in self._participants()}
                self._keys = [each for who in sorted(found) for each in key_endings(found[who], now_ms)]
                self._releases = missing_ahead(self._state)
                self._crowd.walk(now_ms)

    def nearing(self) -> list[Ending]:
        """What an operator is to be told of now."""
        return nearing(self.endings(), self._clock.now_ms())

    def _participants(self) -> Iterator[Participant]:
        for authority in self._config.authorities:
            raw = self._state.get(f"authority/{authority.name}")
            if raw is not None:
                yield from self._participant(f"registry/{decode_authority(raw).registrar}")
        names = self._records.keys(f"registry/{self._config.authority}/", "")
        for _, name in zip(range(MAX_PARTICIPANTS), names, strict=False):
            yield from self._participant(name)

    def _participant(self, key: str) -> Iterator[Participant]:
        raw = self._state.get(key)
        if raw is not None:
            yield decode_participant(raw)
